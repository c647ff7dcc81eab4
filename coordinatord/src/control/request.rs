//! What the API asks of the coordinator's loop.
//!
//! A handler turns an HTTP request into one of these, sends it to the loop and waits for the reply.
//! The loop alone touches the state; a dropped reply means that the daemon is stopping.

use everwrite_protocol::control::{
    AcknowledgeAnswer, AnnounceRequest, ApiError, Coverage, Explanation, OffRequest, PairAnswer,
    PairRequest, PathText, ProtectRequest, ReconcileAnswer, ReconcileRequest, RootStatus, Status,
    SyncAnswer, SyncRequest,
};
use everwrite_protocol::ids::Timestamp;
use tokio::sync::oneshot;

/// loop --answer--> handler.
pub type Reply<A> = oneshot::Sender<Result<A, ApiError>>;

/// API handlers --requests--> coordinator's loop.
#[derive(Debug)]
pub enum ControlRequest {
    /// What is going on.
    Status {
        /// Everything that is shown.
        reply: Reply<Status>,
    },
    /// Protect a directory from now on.
    Protect {
        /// Which, how and where to.
        request: ProtectRequest,
        /// The root as it now is.
        reply: Reply<RootStatus>,
    },
    /// Stop protecting a root; its history stays.
    Unprotect {
        /// Root's name.
        root: String,
        /// Done once the configuration is written.
        reply: Reply<()>,
    },
    /// The switch: capture, after a reconcile.
    On {
        /// The state right after.
        reply: Reply<Status>,
    },
    /// The switch: do not capture.
    Off {
        /// For how long.
        request: OffRequest,
        /// The state right after.
        reply: Reply<Status>,
    },
    /// Barrier, or named checkpoint.
    Sync {
        /// How far, how long, which name.
        request: SyncRequest,
        /// Where each receiver stands.
        reply: Reply<SyncAnswer>,
    },
    /// Compare disk and index now.
    Reconcile {
        /// Which root.
        request: ReconcileRequest,
        /// What was found.
        reply: Reply<ReconcileAnswer>,
    },
    /// Why a path is, or is not, protected.
    Explain {
        /// Absolute path.
        path: PathText,
        /// The reason.
        reply: Reply<Explanation>,
    },
    /// Who tells of its changes, and who told of them until now.
    Coverage {
        /// Processes, programs, misses.
        reply: Reply<Coverage>,
    },
    /// Bursts have been seen.
    Acknowledge {
        /// Those that were noticed until then.
        until: Timestamp,
        /// How many.
        reply: Reply<AcknowledgeAnswer>,
    },
    /// Look at paths that a command has changed.
    Announce {
        /// Which.
        request: AnnounceRequest,
        /// Done once they are queued.
        reply: Reply<()>,
    },
    /// Trust a receiver that the command line has just paired with.
    Pair {
        /// Its address and fingerprint.
        request: PairRequest,
        /// Its name.
        reply: Reply<PairAnswer>,
    },
}

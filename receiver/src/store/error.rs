//! What can go wrong with a store, and whose fault it is.

use std::path::PathBuf;

use everwrite_protocol::ids::SequenceNumber;

/// Why a store did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The peer broke a rule; the batch is not taken. End the connection.
    #[error("batch {} refused: {reason}", sequence.0)]
    Rejected {
        /// The batch, as far as it could be read (0: not at all).
        sequence: SequenceNumber,
        /// What it broke.
        reason: Rejection,
    },
    /// Our disk, or its permissions.
    #[error("{}: can't {action}: {source}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// The catalog's database failed.
    #[error("{}: catalog: {source}", path.display())]
    Catalog {
        /// The database.
        path: PathBuf,
        /// Why.
        source: rusqlite::Error,
    },
    /// The log holds a damaged frame where no torn end can be. Nothing is changed or cut off.
    #[error("{}: damaged at byte {offset}: {what}; the log is left as it is: restore the segment from a copy", path.display())]
    Damaged {
        /// The segment.
        path: PathBuf,
        /// Where.
        offset: u64,
        /// What is wrong there.
        what: String,
    },
    /// A writer was killed while it changed the mirror, and nobody has recovered it yet.
    #[error("{}: the mirror is between two recovery points; start the receiver (or run this again with no receiver running) to recover it", .0.display())]
    InBetween(PathBuf),
    /// Another process has the store open for writing.
    #[error("{}: in use by another process (a running `everwrite-receiver serve`?)", .0.display())]
    InUse(PathBuf),
    /// Our own fault; the panic's message is in the log of the process.
    #[error("internal error while {0}; please report it with the process's log")]
    Bug(&'static str),
    /// A sync of the log failed earlier; nothing is taken until the store is opened anew.
    #[error("the log's disk failed: {0}; open the store anew once the disk is well")]
    Latched(String),
}

/// Which rule a batch broke.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Rejection {
    /// The encoded part is not a part.
    #[error("{0}")]
    Malformed(String),
    /// Not the next batch.
    #[error("expected batch {}", expected.0)]
    Sequence {
        /// The next one.
        expected: SequenceNumber,
    },
    /// Not the next part, or a cut that counts other parts than came.
    #[error("expected part {expected}")]
    PartNumber {
        /// The next one, or how many came.
        expected: u32,
    },
    /// All of a batch is in memory when it is applied.
    #[error("too many parts in one batch")]
    TooMuch,
    /// The payload does not decompress to its declared length.
    #[error("payload does not decompress to {0} bytes")]
    Payload(usize),
    /// A command that can't be meant.
    #[error("command {index}: {rule}")]
    Command {
        /// Which, in its part.
        index: usize,
        /// The rule it breaks.
        rule: &'static str,
    },
}

//! Daemon ↔ command line: the structures of `/api/v1`, as JSON.

mod account;

use serde::{Deserialize, Serialize};

pub use account::{
    AcknowledgeAnswer, AcknowledgeRequest, Burst, CaptureGap, Changes, GapCause, Lately, Miss,
    MissCause, ProgramChanges,
};

use crate::ids::{SequenceNumber, Timestamp};

/// The one state word, worst root first.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum State {
    /// The switch is off: nothing is captured.
    Off,
    /// Off for a while.
    Paused,
    /// First copy under way.
    InitialSync,
    /// All is stored, or will be within the lag shown.
    Continuous,
    /// More is waiting than the promise allows.
    Backlog,
    /// Comparing disk and index after a gap.
    Reconcile,
    /// The receiver can't store (disk full).
    Stalled,
    /// No connection to the receiver.
    Disconnected,
    /// Something is not captured as it should be.
    Degraded,
    /// Halted; needs a person.
    Error,
}

impl std::fmt::Display for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Off => "OFF",
            Self::Paused => "PAUSED",
            Self::InitialSync => "INITIAL_SYNC",
            Self::Continuous => "CONTINUOUS",
            Self::Backlog => "BACKLOG",
            Self::Reconcile => "RECONCILE",
            Self::Stalled => "STALLED",
            Self::Disconnected => "DISCONNECTED",
            Self::Degraded => "DEGRADED",
            Self::Error => "ERROR",
        })
    }
}

/// `GET /api/v1/status`.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Status {
    /// Worst of all roots.
    pub state: State,
    /// The switch: `on` or `off`.
    pub switch: Switch,
    /// Since when the state is what it is.
    pub since: Timestamp,
    /// When a timed pause ends.
    pub resumes_at: Option<Timestamp>,
    /// The protected roots.
    pub roots: Vec<RootStatus>,
    /// Who sees what.
    pub capture: Capture,
    /// The line to the receiver of the first root.
    pub uplink: UplinkStatus,
    /// All lines, one per receiver.
    pub uplinks: Vec<UplinkStatus>,
    /// What looked like a disaster in the last day and nobody has acknowledged, the newest first.
    #[serde(default)]
    pub bursts: Vec<Burst>,
}

/// The switch.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Switch {
    /// Capturing.
    On,
    /// Not capturing.
    Off,
}

/// One protected root.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct RootStatus {
    /// Name given by `protect --name`.
    pub name: String,
    /// Absolute path.
    pub path: String,
    /// Its state.
    pub state: State,
    /// Why, in a sentence; empty when there is nothing to say.
    pub reason: String,
    /// Measured: age of the newest state that is stored, behind the disk; milliseconds.
    pub lag_ms: u64,
    /// Age of the oldest change that is not stored; milliseconds, 0 when there is none.
    pub oldest_unstored_ms: u64,
    /// Bytes known to be waiting.
    pub backlog_bytes: u64,
    /// Files and names known to be waiting.
    pub backlog_files: u64,
    /// Last stored recovery point.
    pub recovery_point: Option<SequenceNumber>,
    /// Its kind: `crash-consistent`, `fsync-point`, `fuzzy`, `partial`.
    pub recovery_point_kind: Option<String>,
    /// When it was cut.
    pub stored_at: Option<Timestamp>,
    /// Last stored recovery point that is crash-consistent.
    #[serde(default)]
    pub consistent_point: Option<SequenceNumber>,
    /// When it was cut.
    #[serde(default)]
    pub consistent_at: Option<Timestamp>,
    /// Changes that the scan found and nobody had announced.
    pub misses: u64,
    /// Unprotected since then, while the switch is off.
    pub unprotected_since: Option<Timestamp>,
    /// Files looked at by the running scan, while there is one.
    pub scan_files: u64,
    /// Files in the index.
    pub files: u64,
    /// Receiver's name.
    pub receiver: String,
    /// Paths that could not be read, with the cause; the first few.
    pub unreadable: Vec<Unreadable>,
    /// How many could not be read.
    pub unreadable_count: u64,
}

/// A path that could not be read.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Unreadable {
    /// Path.
    pub path: String,
    /// Cause.
    pub error: String,
}

/// Who sees what.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Capture {
    /// The shim.
    pub shim: ShimCapture,
    /// The witness: programs in the kernel, for ranges.
    pub ebpf: EbpfCapture,
    /// The witness: fanotify, for names.
    #[serde(default)]
    pub names: NamesCapture,
    /// The reconcile scan.
    pub scan: ScanCapture,
    /// Changes since start, by who had announced them.
    #[serde(default)]
    pub changes: Changes,
    /// The same of the last hour and day, whoever was started when.
    #[serde(default)]
    pub lately: Lately,
    /// Contents since start that were told of and gone before they could be read: they are in no recovery point.
    #[serde(default)]
    pub gaps: u64,
}

/// The shim's part.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct ShimCapture {
    /// Processes attached now.
    pub processes: u64,
    /// Hints taken since start.
    pub hints: u64,
    /// Hints that had to be widened to a rescan.
    pub lost: u64,
    /// Calls of `fsync` that did not wait until the receiver had stored, though a root asks for that; since
    /// start.
    #[serde(default)]
    pub late_syncs: u64,
}

/// The witness's part.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct EbpfCapture {
    /// `on`, `off`, `absent` (from this build) or `unavailable` (here).
    pub state: String,
    /// Why.
    pub reason: String,
    /// Events told since it was turned on.
    pub hints: u64,
    /// Files of which the kernel had to drop events since start; they were looked at whole.
    pub drops: u64,
    /// It hears system calls, too: there is a root on a file system that has no hooks of its own.
    #[serde(default)]
    pub calls: bool,
}

/// The part of fanotify.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct NamesCapture {
    /// `on`, `partial` (not everywhere), `off` or `unavailable`.
    pub state: String,
    /// Why, and where not.
    pub reason: String,
    /// Hints taken since start.
    pub hints: u64,
    /// Times that the kernel's queue was full, and everything was looked at.
    pub overflows: u64,
}

/// The scan's part.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct ScanCapture {
    /// End of the last full scan.
    pub last_at: Option<Timestamp>,
    /// Misses since start.
    pub misses: u64,
}

/// One line to a receiver.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct UplinkStatus {
    /// Receiver's name.
    pub receiver: String,
    /// Address, or `dir:PATH`.
    pub address: String,
    /// Connected now?
    pub connected: bool,
    /// Why not.
    pub error: String,
    /// Bytes sent since start, as on the line (before TLS).
    pub bytes_sent: u64,
    /// Batches stored since start.
    pub batches_stored: u64,
    /// Last batch stored.
    pub stored: SequenceNumber,
    /// Last batch in the mirror.
    pub applied: SequenceNumber,
    /// Bytes read from protected files since start.
    pub bytes_read: u64,
    /// What its recovery points are worth, and what that cost.
    #[serde(default)]
    pub cuts: CutFigures,
}

/// Cuts since start.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct CutFigures {
    /// Recovery points proven to be states that the disk really had.
    pub consistent: u64,
    /// Others.
    pub fuzzy: u64,
    /// How often programs were made to wait for one.
    pub holds: u64,
    /// For how long, microseconds: half of the last 4,096 were shorter.
    pub hold_us_p50: u64,
    /// 99 in 100 were shorter.
    pub hold_us_p99: u64,
    /// The longest.
    pub hold_us_max: u64,
    /// Why the last that was not proven was not.
    pub last_doubt: String,
}

/// Body of `POST /api/v1/protect`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ProtectRequest {
    /// Absolute path, bytes in lossless form (see [`PathText`]).
    pub path: PathText,
    /// Root's name; made from the path when not given.
    pub name: Option<String>,
    /// Receiver's name, or `dir:PATH`; the only one paired when not given.
    pub to: Option<String>,
    /// Promise, milliseconds.
    pub rpo_ms: Option<u64>,
    /// Programs' `fsync` waits for the receiver.
    #[serde(default)]
    pub durable_fsync: bool,
}

/// A path in JSON: text where it is UTF-8, otherwise its bytes as hexadecimal.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(untagged)]
pub enum PathText {
    /// UTF-8.
    Text(String),
    /// Anything else.
    Bytes {
        /// The bytes, two hexadecimal digits each.
        hex: String,
    },
}

impl PathText {
    /// From bytes.
    pub fn from_bytes(bytes: &[u8]) -> Self {
        match std::str::from_utf8(bytes) {
            Ok(text) => Self::Text(text.to_owned()),
            Err(_) => Self::Bytes {
                hex: bytes.iter().map(|byte| format!("{byte:02x}")).collect(),
            },
        }
    }

    /// To bytes; `None` when the hexadecimal digits are not any.
    pub fn to_bytes(&self) -> Option<Vec<u8>> {
        match self {
            Self::Text(text) => Some(text.clone().into_bytes()),
            Self::Bytes { hex } if hex.len() % 2 == 0 && hex.is_ascii() => (0..hex.len())
                .step_by(2)
                .map(|at| u8::from_str_radix(&hex[at..at + 2], 16).ok())
                .collect(),
            Self::Bytes { .. } => None,
        }
    }
}

/// An error as the API gives it, with any status that is not 2xx.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ApiError {
    /// What went wrong: path, cause.
    pub error: String,
    /// What to do next.
    pub hint: String,
    /// Exit code for the command line: 1 negative answer, 2 usage, 4 refused for safety.
    pub exit: u8,
}

/// Body of `POST /api/v1/sync` and of a checkpoint.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct SyncRequest {
    /// Also wait for the mirror.
    pub applied: bool,
    /// Give up after so many milliseconds.
    pub timeout_ms: u64,
    /// Name the recovery point.
    pub checkpoint: Option<String>,
}

/// Answer to it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct SyncAnswer {
    /// Last stored recovery point, for each receiver.
    pub points: Vec<SyncPoint>,
    /// What it took, milliseconds.
    pub took_ms: u64,
}

/// Where one receiver stood at the end of a barrier.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct SyncPoint {
    /// Receiver's name.
    pub receiver: String,
    /// Last stored batch.
    pub stored: SequenceNumber,
}

/// Body of `POST /api/v1/off`.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct OffRequest {
    /// Turn on again after so many milliseconds.
    pub for_ms: Option<u64>,
}

/// Body of `POST /api/v1/reconcile`.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct ReconcileRequest {
    /// Root's name; all when not given.
    pub root: Option<String>,
    /// Also when the root is suddenly empty: its files were meant to go.
    pub accept_empty: bool,
    /// Give up waiting after so many milliseconds.
    pub timeout_ms: u64,
}

/// Answer to it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ReconcileAnswer {
    /// Files and directories compared.
    pub compared: u64,
    /// Changes found that no hint had announced.
    pub misses: u64,
    /// The first of them.
    pub missed_paths: Vec<PathText>,
}

/// Why a path is, or is not, protected: `GET /api/v1/explain`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Explanation {
    /// The path.
    pub path: PathText,
    /// Protected?
    pub protected: bool,
    /// Because.
    pub reason: String,
    /// Root that holds it.
    pub root: Option<String>,
    /// Is it in the index, and in which batch was it last stored?
    pub last_stored: Option<SequenceNumber>,
}

/// Body of `POST /api/v1/unprotect`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct UnprotectRequest {
    /// Root's name.
    pub root: String,
}

/// Body of `POST /api/v1/pair`: a receiver that the command line has paired with.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct PairRequest {
    /// Receiver's name; made from the address when not given.
    pub name: Option<String>,
    /// `HOST:PORT`.
    pub address: String,
    /// SHA-256 of its certificate, 64 hexadecimal digits.
    pub fingerprint: String,
}

/// Answer to it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct PairAnswer {
    /// Receiver's name from now on.
    pub name: String,
}

/// `GET /api/v1/coverage`: who tells of its changes now.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Coverage {
    /// The processes that have a segment. A program attaches at its first change on a file system with
    /// protected files.
    #[serde(default)]
    pub attached: Vec<AttachedProcess>,
    /// Who sees what, in figures.
    #[serde(default)]
    pub capture: Capture,
    /// Changes since start, by program.
    #[serde(default)]
    pub programs: Vec<ProgramChanges>,
    /// The misses of the last day, the newest first; at most 500 for each receiver.
    #[serde(default)]
    pub misses: Vec<Miss>,
    /// The capture gaps of the last day, the newest first; at most 500 for each receiver.
    #[serde(default)]
    pub gaps: Vec<CaptureGap>,
}

/// A process that has a segment.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct AttachedProcess {
    /// Process id.
    pub pid: u32,
    /// Clock ticks since boot at its start (`/proc/pid/stat`, field 22): tells it apart from another
    /// of the same number.
    pub started_ticks: u64,
    /// Effective user when it attached.
    pub uid: u32,
    /// Its short name then.
    pub program: String,
    /// Its executable then.
    pub executable: String,
    /// Hints taken from it since.
    pub hints: u64,
    /// Its shim says that it does not see all that the process does.
    pub blind: bool,
}

/// Body of `POST /api/v1/announce`: paths that a command has just changed, to be looked at.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct AnnounceRequest {
    /// Absolute paths, at most [`ANNOUNCED_PATHS_MAX`].
    pub paths: Vec<PathText>,
}

/// Most paths in one [`AnnounceRequest`].
pub const ANNOUNCED_PATHS_MAX: usize = 1024;

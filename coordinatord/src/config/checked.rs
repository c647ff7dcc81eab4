//! The configuration once it is known to be right: what the rest of the source works with.

use std::path::PathBuf;
use std::time::Duration;

use everwrite_protocol::wire::Fingerprint;

use crate::account::Limits;
use crate::intake::DurableFsync;
use crate::network_backup::Target;
use crate::pipeline::CutSettings;
use crate::witness;

/// All settings, checked: names are unique and usable, every root's receiver exists.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Config {
    /// Receivers that are trusted.
    pub receivers: Vec<Receiver>,
    /// Directories that are protected.
    pub roots: Vec<Root>,
    /// Patterns excluded in every root, gitignore syntax.
    pub exclude: Vec<String>,
    /// How the queue is paced.
    pub schedule: Schedule,
    /// How often the whole tree is compared without being asked.
    pub scan: Scan,
    /// What listens in the kernel.
    pub witness: witness::Settings,
    /// When deletes and overwrites look like a disaster.
    pub brakes: Brakes,
    /// How often a recovery point is to be crash-consistent, and what that may cost programs.
    pub cuts: Cuts,
    /// What `fsync` waits for in roots that ask for it.
    pub durable_fsync: DurableSettings,
}

/// A destination.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Receiver {
    /// Name for people, unique, a plain file name.
    pub name: String,
    /// Where it is.
    pub place: Place,
}

/// Where a receiver is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Place {
    /// A daemon, on this machine or another.
    Network {
        /// `HOST:PORT`.
        address: String,
        /// SHA-256 of its certificate: the only one that is trusted.
        fingerprint: Fingerprint,
    },
    /// The embedded receiver: the same store, in the coordinator's own process.
    Directory(PathBuf),
}

impl Place {
    /// As the network backup unit takes it.
    pub fn target(&self) -> Target {
        match self {
            Self::Network {
                address,
                fingerprint,
            } => Target::Tcp {
                address: address.clone(),
                fingerprint: *fingerprint,
            },
            Self::Directory(path) => Target::Directory(path.clone()),
        }
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Network { address, .. } => f.write_str(address),
            Self::Directory(path) => write!(f, "dir:{}", path.display()),
        }
    }
}

/// A protected directory.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Root {
    /// Name, unique; the first component of its paths at the receiver.
    pub name: String,
    /// Absolute path; bytes, maybe not UTF-8.
    pub path: PathBuf,
    /// Name of its receiver.
    pub to: String,
    /// The promise: no change waits longer than this, in milliseconds.
    pub rpo_ms: u64,
    /// A program's `fsync` returns when the receiver has stored what it covers.
    pub durable_fsync: bool,
    /// Patterns excluded in this root, gitignore syntax.
    pub exclude: Vec<String>,
}

/// How the queue is paced. The units that manage and process the schedule use the same rule.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Schedule {
    /// Shortest interval between two batches, milliseconds; 0: each change as soon as it is seen.
    pub interval_ms_min: u64,
    /// Longest interval that load may stretch it to, milliseconds.
    pub interval_ms_max: u64,
}

/// The background comparison of disk and index.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Scan {
    /// From the end of one full scan to the start of the next, seconds; 0: only when needed.
    pub interval_s: u64,
}

/// How much one process may delete or overwrite before it is told of as a burst.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Brakes {
    /// At least so many files; 0: nothing is a burst.
    pub burst_files: u64,
    /// And more than this part of the root's files, in percent.
    pub burst_percent: u64,
    /// Within so many seconds.
    pub burst_s: u64,
}

/// Crash-consistent recovery points.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Cuts {
    /// Shortest time from one attempt to the next, milliseconds.
    pub interval_ms: u64,
    /// Longest that programs with the shim are made to wait for one, milliseconds; 0: not at all.
    pub hold_ms_max: u64,
}

/// Promise of a root that names none, milliseconds.
pub const RPO_MS_DEFAULT: u64 = 1_000;
/// Shortest promise that can be asked for, milliseconds.
pub const RPO_MS_MIN: u64 = 10;

impl Default for Schedule {
    fn default() -> Self {
        Self {
            interval_ms_min: 1,
            interval_ms_max: 500,
        }
    }
}

impl Default for Scan {
    fn default() -> Self {
        Self { interval_s: 60 }
    }
}

impl Default for Brakes {
    fn default() -> Self {
        Self {
            burst_files: 500,
            burst_percent: 25,
            burst_s: 60,
        }
    }
}

/// How long `fsync` waits for the receiver, and what happens then.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DurableSettings {
    /// Milliseconds.
    pub timeout_ms: u64,
    /// It fails with `EIO`; otherwise it succeeds, and the root is DEGRADED.
    pub fails: bool,
}

impl Default for DurableSettings {
    fn default() -> Self {
        Self {
            timeout_ms: 1000,
            fails: false,
        }
    }
}

impl Default for Cuts {
    fn default() -> Self {
        Self {
            interval_ms: 50,
            hold_ms_max: 20,
        }
    }
}

impl Cuts {
    /// As the pipeline takes them.
    pub fn settings(self) -> CutSettings {
        CutSettings {
            shortest: Duration::from_millis(self.interval_ms),
            hold_max: Duration::from_millis(self.hold_ms_max),
        }
    }
}

impl Brakes {
    /// As the account takes them.
    pub fn limits(self) -> Limits {
        Limits {
            files: self.burst_files,
            percent: self.burst_percent,
            window: Duration::from_secs(self.burst_s),
        }
    }
}

impl Config {
    /// What shims are told of it: nothing, unless some root asks for it.
    pub fn durable_fsync(&self) -> Option<DurableFsync> {
        let wanted = self.roots.iter().any(|root| root.durable_fsync);
        wanted.then(|| DurableFsync {
            longest: Duration::from_millis(self.durable_fsync.timeout_ms),
            fails: self.durable_fsync.fails,
        })
    }

    /// The root of that name.
    pub fn root(&self, name: &str) -> Option<&Root> {
        self.roots.iter().find(|root| root.name == name)
    }

    /// The receiver of that name.
    pub fn receiver(&self, name: &str) -> Option<&Receiver> {
        self.receivers.iter().find(|receiver| receiver.name == name)
    }

    /// The innermost root that holds `path` (absolute, without `..`).
    pub fn root_of(&self, path: &std::path::Path) -> Option<&Root> {
        let holding = self
            .roots
            .iter()
            .filter(|root| path.starts_with(&root.path));
        holding.max_by_key(|root| root.path.as_os_str().len())
    }
}

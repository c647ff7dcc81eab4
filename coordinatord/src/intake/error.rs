//! Why the intake can't start.

use std::io;
use std::path::PathBuf;

/// Longest path of a local socket in bytes (`sun_path` less its closing NUL, `unix(7)`).
pub const SOCKET_PATH_BYTES_MAX: usize = 107;

/// Why the intake can't start. Every message names the path and what to do next.
#[derive(Debug, thiserror::Error)]
pub enum IntakeError {
    /// The run directory can't be made or used.
    #[error(
        "can't use run directory {path}: {source}; check that it exists and belongs to this user, or give another home with --home"
    )]
    RunDirectory {
        /// The run directory.
        path: PathBuf,
        /// Cause.
        source: io::Error,
    },
    /// Another coordinator holds the run directory.
    #[error(
        "another coordinator already uses {path}; stop it first, or give this one another home with --home"
    )]
    AlreadyRunning {
        /// The lock file that is held.
        path: PathBuf,
    },
    /// The socket's path does not fit the kernel's address.
    #[error(
        "path of local socket {path} has {bytes} bytes, the kernel takes at most {SOCKET_PATH_BYTES_MAX}; use a shorter home (--home or EVERWRITE_HOME)"
    )]
    SocketPathTooLong {
        /// The path.
        path: PathBuf,
        /// Its length in bytes.
        bytes: usize,
    },
    /// Something that is not a socket lies where the socket goes.
    #[error("{path} is in the way: it is not a socket; move it elsewhere and start again")]
    SocketInTheWay {
        /// The path.
        path: PathBuf,
    },
    /// The socket can't be made.
    #[error("can't listen on local socket {path}: {source}; check the rights of its directory")]
    Socket {
        /// The path.
        path: PathBuf,
        /// Cause.
        source: io::Error,
    },
    /// The policy page can't be made.
    #[error(
        "can't make policy page {path}: {source}; check the rights and free space of its directory"
    )]
    Policy {
        /// The path.
        path: PathBuf,
        /// Cause.
        source: io::Error,
    },
    /// The kernel refuses shared memory, a thread or a descriptor.
    #[error(
        "can't {doing}: {source}; check the limits of this service (memory, open files, tasks)"
    )]
    Resources {
        /// What was tried.
        doing: &'static str,
        /// Cause.
        source: io::Error,
    },
}

/// More file systems are protected than a policy page can name.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error(
    "{wanted} file systems hold protected files, the shim can watch {} at once; changes on the others are found by scans only",
    everwrite_protocol::local::POLICY_DEVICES_MAX
)]
pub struct TooManyDevices {
    /// File systems asked for.
    pub wanted: usize,
}

//! Why a restore was not done, or not finished.

use std::path::PathBuf;

use super::history::HistoryError;

/// What can go wrong. Nothing that was there before has been touched, unless `in place` was asked
/// for; what was restored so far stays, and the same restore goes on from there.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// The past can't be told.
    #[error(transparent)]
    History(#[from] HistoryError),
    /// It was not there at that moment.
    #[error("{path}: nothing is stored there as of @{at}")]
    NotStored {
        /// As it was asked for.
        path: String,
        /// Recovery point.
        at: u64,
    },
    /// Files are in the way that nobody said may go.
    #[error("{} is in the way", in_the_way.first().map(|path| path.display().to_string()).unwrap_or_default())]
    InTheWay {
        /// All of them.
        in_the_way: Vec<PathBuf>,
    },
    /// Another restore to the same place was not finished.
    #[error("{} belongs to a restore that was not finished ({of})", marker.display())]
    Unfinished {
        /// Its mark.
        marker: PathBuf,
        /// What it restores.
        of: String,
    },
    /// The local file system.
    #[error("{what} {}: {source}", path.display())]
    Local {
        /// What was tried.
        what: &'static str,
        /// On which file.
        path: PathBuf,
        /// Cause.
        source: std::io::Error,
    },
    /// What was read back is not what was written.
    #[error("{} reads back differently from what was restored: the disk, or another program that writes there", path.display())]
    ReadBack {
        /// The file.
        path: PathBuf,
    },
}

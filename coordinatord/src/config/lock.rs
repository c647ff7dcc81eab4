//! One coordinator per home: the lock that says which process may write its files.

use std::fs::{File, OpenOptions};
use std::io;
use std::path::PathBuf;

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use super::paths::Paths;

/// Held for as long as it lives; the kernel lets go of it when the process dies, however it dies.
#[derive(Debug)]
pub struct HomeLock {
    _file: File,
}

/// Why the lock was not had.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Somebody has it.
    #[error("another coordinator is running (it holds {}); stop it first, or choose another home", .0.display())]
    Held(PathBuf),
    /// The file can't be made.
    #[error("lock {}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Cause.
        source: io::Error,
    },
}

impl HomeLock {
    /// Takes the lock, or says who has it. Never waits.
    pub fn take(paths: &Paths) -> Result<Self, LockError> {
        let path = paths.lock_file();
        let failed = |source| LockError::Io {
            path: path.clone(),
            source,
        };
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path);
        let file = file.map_err(failed)?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Self { _file: file }),
            Err(Errno::WOULDBLOCK) => Err(LockError::Held(path)),
            Err(error) => Err(failed(error.into())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_one_at_a_time() {
        let home = tempfile::tempdir().unwrap();
        let paths = Paths::at_home(home.path()).unwrap();
        paths.create().unwrap();
        let first = HomeLock::take(&paths).unwrap();
        assert!(matches!(HomeLock::take(&paths), Err(LockError::Held(_))));
        drop(first);
        HomeLock::take(&paths).unwrap();
    }
}

//! Who may look at the mirror and who may change it, across processes.
//!
//! `apply.lock` is held exclusively while the mirror is between two recovery points, shared while a
//! piece is read. Its first byte is 1 meanwhile: a writer killed in the middle leaves it so, and the
//! next reader knows that the mirror has to be recovered before it can be trusted.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::FlockOperation;
use rustix::io::Errno;

use super::StoreError;

/// The lock between readers and apply.
#[derive(Debug)]
pub struct ApplyLock {
    file: File,
    path: PathBuf,
}

/// Holds a lock; dropping it gives it back.
#[derive(Debug)]
pub struct Held<'l>(&'l ApplyLock);

impl Drop for Held<'_> {
    fn drop(&mut self) {
        // Unlocking a lock that is held does not fail; closing the file would do it, too.
        let _ = rustix::fs::flock(&self.0.file, FlockOperation::Unlock);
    }
}

impl ApplyLock {
    /// Opens for the one who applies; made if need be.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        let mut options = OpenOptions::new();
        let opened = options
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(path);
        Self::with(opened, path)
    }

    /// Opens for a reader.
    pub fn open_reader(path: &Path) -> Result<Self, StoreError> {
        Self::with(File::open(path), path)
    }

    fn with(opened: io::Result<File>, path: &Path) -> Result<Self, StoreError> {
        match opened {
            Ok(file) => Ok(Self {
                file,
                path: path.to_owned(),
            }),
            Err(error) => Err(io_error("open the lock", path, error)),
        }
    }

    /// Waits for all readers. The mirror counts as in between until [`Self::settled`].
    pub fn exclusive(&self) -> Result<Held<'_>, StoreError> {
        self.lock(FlockOperation::LockExclusive)?;
        let held = Held(self);
        self.mark(1)?;
        Ok(held)
    }

    /// The mirror is at a recovery point again. The exclusive lock must be held.
    pub fn settled(&self) -> Result<(), StoreError> {
        self.mark(0)
    }

    /// For reading a piece; an error if a writer was killed while the mirror was in between.
    pub fn shared(&self) -> Result<Held<'_>, StoreError> {
        self.lock(FlockOperation::LockShared)?;
        let held = Held(self);
        let mut byte = [0u8];
        match self.file.read_at(&mut byte, 0) {
            Ok(1) if byte == [1] => Err(StoreError::InBetween(self.path.clone())),
            Ok(_) => Ok(held),
            Err(error) => Err(io_error("read the lock", &self.path, error)),
        }
    }

    fn mark(&self, byte: u8) -> Result<(), StoreError> {
        let written = self.file.write_all_at(&[byte], 0);
        written.map_err(|error| io_error("write the lock", &self.path, error))
    }

    fn lock(&self, operation: FlockOperation) -> Result<(), StoreError> {
        loop {
            match rustix::fs::flock(&self.file, operation) {
                Ok(()) => return Ok(()),
                Err(Errno::INTR) => {}
                Err(error) => return Err(io_error("take the lock", &self.path, error.into())),
            }
        }
    }
}

/// Makes this process the one that writes; `None`: another one is.
pub fn writer_lock(path: &Path) -> Result<Option<File>, StoreError> {
    let mut options = OpenOptions::new();
    options
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600);
    let file = options
        .open(path)
        .map_err(|error| io_error("open the lock", path, error))?;
    match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(Some(file)),
        Err(Errno::WOULDBLOCK) => Ok(None),
        Err(error) => Err(io_error("take the lock", path, error.into())),
    }
}

fn io_error(action: &'static str, path: &Path, source: io::Error) -> StoreError {
    StoreError::Io {
        action,
        path: path.to_owned(),
        source,
    }
}

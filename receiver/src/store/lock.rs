//! Who may look at the mirror and who may change it, across processes.
//!
//! `apply.lock` is held exclusively while the mirror is between two recovery points, shared while a
//! piece is read. Its first byte is 1 meanwhile: a writer killed in the middle leaves it so, and the
//! next reader knows that the mirror has to be recovered before it can be trusted.
//!
//! The kernel is not fair: while readers overlap, one who wants the lock alone waits for ever. So the
//! way to the lock leads through a gate (`apply.gate`, a lock, too), which readers hold for the moment
//! of passing and the writer while it waits.

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
    /// `None`: a store that nobody has written to since there are gates.
    gate: Option<File>,
    path: PathBuf,
}

/// Holds a lock; dropping it gives it back.
#[derive(Debug)]
pub struct Held<'l>(&'l File);

impl Drop for Held<'_> {
    fn drop(&mut self) {
        // Unlocking a lock that is held does not fail; closing the file would do it, too.
        let _ = rustix::fs::flock(self.0, FlockOperation::Unlock);
    }
}

impl ApplyLock {
    /// Opens for the one who applies; made if need be.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        let open = |path: &Path| made(path).map_err(|error| io_error("open the lock", path, error));
        Ok(Self {
            file: open(path)?,
            gate: Some(open(&gate(path))?),
            path: path.to_owned(),
        })
    }

    /// Opens for a reader.
    pub fn open_reader(path: &Path) -> Result<Self, StoreError> {
        let open = |path: &Path| match File::open(path) {
            Ok(file) => Ok(Some(file)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(io_error("open the lock", path, error)),
        };
        let missing = || io_error("open the lock", path, io::ErrorKind::NotFound.into());
        Ok(Self {
            file: open(path)?.ok_or_else(missing)?,
            gate: open(&gate(path))?,
            path: path.to_owned(),
        })
    }

    /// Waits for all readers. The mirror counts as in between until [`Self::settled`].
    pub fn exclusive(&self) -> Result<Held<'_>, StoreError> {
        let held = self.lock(FlockOperation::LockExclusive)?;
        self.mark(1)?;
        Ok(held)
    }

    /// The mirror is at a recovery point again. The exclusive lock must be held.
    pub fn settled(&self) -> Result<(), StoreError> {
        self.mark(0)
    }

    /// For reading a piece; an error if a writer was killed while the mirror was in between.
    pub fn shared(&self) -> Result<Held<'_>, StoreError> {
        let held = self.lock(FlockOperation::LockShared)?;
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

    /// Through the gate, which closes behind us.
    fn lock(&self, operation: FlockOperation) -> Result<Held<'_>, StoreError> {
        let locked = || {
            let gate = self.gate.as_ref();
            let _passing = gate.map(|gate| lock(gate, operation)).transpose()?;
            lock(&self.file, operation)
        };
        locked().map_err(|error| io_error("take the lock", &self.path, error.into()))
    }
}

fn lock(file: &File, operation: FlockOperation) -> Result<Held<'_>, Errno> {
    loop {
        match rustix::fs::flock(file, operation) {
            Err(Errno::INTR) => {}
            locked => return locked.map(|()| Held(file)),
        }
    }
}

fn gate(path: &Path) -> PathBuf {
    path.with_extension("gate")
}

/// Opens a lock for writing, made if need be.
fn made(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    options.mode(0o600).open(path)
}

/// Makes this process the one that writes; `None`: another one is.
pub fn writer_lock(path: &Path) -> Result<Option<File>, StoreError> {
    let file = made(path).map_err(|error| io_error("open the lock", path, error))?;
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

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
    use std::sync::mpsc::{Receiver, Sender, channel};
    use std::time::{Duration, Instant};

    use super::*;

    /// Longer than it takes to get a lock that is free.
    const MOMENT: Duration = Duration::from_millis(200);

    /// Two readers, one of which always has the lock.
    struct Relay<'p> {
        path: &'p Path,
        handed: AtomicU64,
        over: AtomicBool,
    }

    impl Relay<'_> {
        /// Holds the lock until the other reader has it, too, again and again.
        fn run(&self, got: Sender<()>, other_got: Receiver<()>) {
            let lock = ApplyLock::open_reader(self.path).unwrap();
            while !self.over.load(Ordering::Relaxed) {
                let _held = lock.shared().unwrap();
                self.handed.fetch_add(1, Ordering::Relaxed);
                // Nobody listens any more: it is over.
                let _ = got.send(());
                let _ = other_got.recv_timeout(MOMENT);
            }
        }

        /// A writer that never gets its turn would hold the test up for ever.
        fn end_at(&self, deadline: Instant) {
            while Instant::now() < deadline && !self.over.load(Ordering::Relaxed) {
                std::thread::yield_now();
            }
            self.over.store(true, Ordering::Relaxed);
        }

        fn write(&self, writer: &ApplyLock) {
            while self.handed.load(Ordering::Relaxed) < 10 {
                std::thread::yield_now();
            }
            for _ in 0..5 {
                let _held = writer.exclusive().unwrap();
                writer.settled().unwrap();
            }
        }
    }

    #[test]
    fn the_writer_gets_its_turn_though_readers_overlap() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("apply.lock");
        let writer = ApplyLock::open(&path).unwrap();
        let (handed, over) = (AtomicU64::new(0), AtomicBool::new(false));
        let relay = &Relay {
            path: &path,
            handed,
            over,
        };
        let ((one, one_got), (other, other_got)) = (channel(), channel());
        std::thread::scope(|scope| {
            scope.spawn(move || relay.run(one, other_got));
            scope.spawn(move || {
                one_got.recv().unwrap();
                relay.run(other, one_got);
            });
            scope.spawn(move || relay.end_at(Instant::now() + 50 * MOMENT));
            relay.write(&writer);
            let in_time = !relay.over.swap(true, Ordering::Relaxed);
            assert!(in_time, "only when the readers were sent away");
        });
    }
}

//! A temporary directory for one test.

use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::Seed;

/// What a tree of a hundred thousand files, its mirror and its history may take.
const ROOM_BYTES: u64 = 4 << 30;

/// Where everything of one test lies, and its chance. Removed at the end, unless the test failed: then
/// the path is printed and all stays to be looked at.
#[derive(Debug)]
pub struct Place {
    directory: Option<TempDir>,
    path: PathBuf,
    /// What the test leaves to chance.
    pub seed: Seed,
}

impl Place {
    /// An empty directory. Its path is short: Unix sockets below it have 108 bytes for theirs.
    pub fn new() -> Self {
        Self::below(&std::env::temp_dir())
    }

    /// The same in memory, if there is enough: for very many files, which some disks take a minute to
    /// remove.
    pub fn in_memory() -> Self {
        let memory = Path::new("/dev/shm");
        match has_room(memory) {
            true => Self::below(memory),
            false => Self::new(),
        }
    }

    fn below(directory: &Path) -> Self {
        let directory = tempfile::Builder::new().prefix("ew").tempdir_in(directory);
        let directory = directory.expect("make a temporary directory");
        let path = directory.path().canonicalize().expect("its path");
        Self {
            directory: Some(directory),
            path,
            seed: Seed::from_environment(),
        }
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A new directory in it.
    pub fn directory(&self, name: &str) -> PathBuf {
        let path = self.path.join(name);
        std::fs::create_dir_all(&path)
            .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        path
    }
}

/// Space for large trees, and extended attributes, which not every kernel has in memory.
fn has_room(directory: &Path) -> bool {
    let Ok(probe) = tempfile::tempdir_in(directory) else {
        return false;
    };
    let flags = rustix::fs::XattrFlags::empty();
    let knows = rustix::fs::setxattr(probe.path(), "user.test", b"", flags).is_ok();
    let space = rustix::fs::statvfs(directory).map(|space| space.f_bavail * space.f_frsize);
    knows && space.is_ok_and(|space| space >= ROOM_BYTES)
}

impl Default for Place {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if std::thread::panicking()
            && let Some(directory) = self.directory.take()
        {
            println!("kept: {}", directory.keep().display());
        }
    }
}

//! Where the parts of a source's store are.
//!
//! ```text
//! STORE/src/<source>/
//!   mirror/<root>/…      plain files, the newest applied recovery point
//!   objects/<xx>/<file>  dead files and trees that are kept, by id
//!   staging/<file>       files without a name yet, and on their way from one name to another
//!   log/                 segments
//!   catalog.db           SQLite
//!   apply.lock           held shared by readers, exclusively while the mirror changes
//!   apply.gate           the way to it, so that everybody gets it in turn
//!   writer.lock          held by the one process that writes
//! ```

use std::fs::{DirBuilder, File};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use everwrite_protocol::ids::{FileId, SourceId};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use super::beneath::open_directory;
use crate::store::StoreError;

/// Paths of a source's store.
#[derive(Clone, Debug)]
pub struct Layout {
    /// `STORE/src/<source>`.
    pub root: PathBuf,
}

impl Layout {
    /// Of this source in this store.
    pub fn new(store: &Path, source: SourceId) -> Self {
        Self {
            root: store.join("src").join(source.to_string()),
        }
    }

    /// The plain files.
    pub fn mirror(&self) -> PathBuf {
        self.root.join("mirror")
    }

    /// The log's segments.
    pub fn log(&self) -> PathBuf {
        self.root.join("log")
    }

    /// The catalog.
    pub fn catalog(&self) -> PathBuf {
        self.root.join("catalog.db")
    }

    /// Readers against apply.
    pub fn apply_lock(&self) -> PathBuf {
        self.root.join("apply.lock")
    }

    /// One writer.
    pub fn writer_lock(&self) -> PathBuf {
        self.root.join("writer.lock")
    }

    /// Makes the directories. Others may not look in: the mirror holds other people's files, with
    /// their set-user-id bits. Their names are then on the disk, also those that one has made that was killed.
    pub fn create(&self) -> Result<(), StoreError> {
        let failed = |action, path: &Path, source| StoreError::Io {
            action,
            path: path.to_owned(),
            source,
        };
        for name in ["mirror", "objects", "staging", "log"] {
            let path = self.root.join(name);
            let made = DirBuilder::new().recursive(true).mode(0o700).create(&path);
            made.map_err(|error| failed("make the directory", &path, error))?;
        }
        // STORE/src/<source>, STORE/src, STORE.
        for path in self.root.ancestors().take(3) {
            let synced = File::open(path).and_then(|directory| directory.sync_all());
            synced.map_err(|error| failed("sync the directory", path, error))?;
        }
        Ok(())
    }
}

/// The open directories of a source's store.
#[derive(Debug)]
pub struct SourceDirectory {
    mirror: OwnedFd,
    staging: OwnedFd,
    objects: OwnedFd,
}

impl SourceDirectory {
    /// Opens them.
    pub fn open(layout: &Layout) -> Result<Self, StoreError> {
        let open = |name: &str| {
            let path = layout.root.join(name);
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
            rustix::fs::open(&path, flags, Mode::empty()).map_err(|error| StoreError::Io {
                action: "open the directory",
                path,
                source: error.into(),
            })
        };
        Ok(Self {
            mirror: open("mirror")?,
            staging: open("staging")?,
            objects: open("objects")?,
        })
    }

    /// `mirror/`.
    pub fn mirror(&self) -> &OwnedFd {
        &self.mirror
    }

    /// `staging/`.
    pub fn staging(&self) -> &OwnedFd {
        &self.staging
    }

    /// The directory of `objects/` that holds `file`, made if need be.
    pub fn objects(&self, file: FileId) -> io::Result<OwnedFd> {
        let shard = format!("{:02x}", file.0 & 0xff);
        match rustix::fs::mkdirat(&self.objects, &shard, Mode::RWXU) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(error) => return Err(error.into()),
        }
        Ok(open_directory(self.objects.as_fd(), shard.as_bytes())?)
    }
}

//! Makes what was done durable: a few files one by one, many by the whole file system.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{Mode, OFlags};

use crate::mirror::{SourceDirectory, Spot};
use crate::store::StoreError;

/// With more steps than this the whole file system is synced: each fsync of its own costs a commit of
/// the journal.
const ONE_BY_ONE_MAX: usize = 8;

/// What has to be made durable.
#[derive(Debug)]
pub(super) enum Sync {
    /// These.
    Each(Vec<OwnedFd>),
    /// Everything.
    FileSystem,
}

impl Sync {
    pub(super) fn for_steps(count: usize) -> Self {
        if count <= ONE_BY_ONE_MAX {
            Self::Each(Vec::new())
        } else {
            Self::FileSystem
        }
    }

    /// A file's content and attributes.
    pub(super) fn file(&mut self, file: impl AsFd) -> io::Result<()> {
        if let Self::Each(each) = self {
            each.push(file.as_fd().try_clone_to_owned()?);
        }
        Ok(())
    }

    /// A directory's entries and attributes.
    pub(super) fn directory(&mut self, directory: impl AsFd) -> io::Result<()> {
        if let Self::Each(each) = self {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
            each.push(rustix::fs::openat(directory, c".", flags, Mode::empty())?);
        }
        Ok(())
    }

    /// A directory that is at a place.
    pub(super) fn node(&mut self, spot: &Spot) -> io::Result<()> {
        match self {
            Self::Each(_) => self.directory(crate::mirror::open_directory(
                spot.directory.as_fd(),
                &spot.name,
            )?),
            Self::FileSystem => Ok(()),
        }
    }

    /// All that was noted is durable after this; then it begins anew.
    pub(super) fn finish(&mut self, base: &SourceDirectory) -> Result<(), StoreError> {
        let done = match self {
            Self::Each(each) => each.drain(..).try_for_each(rustix::fs::fsync),
            Self::FileSystem => rustix::fs::syncfs(base.mirror()),
        };
        done.map_err(|error| StoreError::Io {
            action: "sync",
            path: "mirror".into(),
            source: error.into(),
        })
    }
}

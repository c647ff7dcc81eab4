//! Makes what was done durable: a few files one by one, many by the whole file system.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{Mode, OFlags};

use crate::mirror::{SourceDirectory, Spot};
use crate::store::StoreError;

/// With more steps than this the whole file system is synced: each fsync of its own costs a commit of
/// the journal.
const ONE_BY_ONE_MAX: usize = 8;
/// Descriptors that wait to be synced. One step may be a file that gets thousands of names.
const EACH_MAX: usize = 64;

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
        if let Some(each) = self.each() {
            each.push(file.as_fd().try_clone_to_owned()?);
        }
        Ok(())
    }

    /// A directory's entries and attributes.
    pub(super) fn directory(&mut self, directory: impl AsFd) -> io::Result<()> {
        if let Some(each) = self.each() {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
            each.push(rustix::fs::openat(directory, c".", flags, Mode::empty())?);
        }
        Ok(())
    }

    /// Where one more waits, if they go one by one.
    fn each(&mut self) -> Option<&mut Vec<OwnedFd>> {
        if matches!(self, Self::Each(each) if each.len() >= EACH_MAX) {
            *self = Self::FileSystem;
        }
        match self {
            Self::Each(each) => Some(each),
            Self::FileSystem => None,
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    /// As many as a file may have names, and more than a process may have descriptors.
    #[test]
    fn few_descriptors_wait() {
        let directory = std::fs::File::open("/").unwrap();
        let mut sync = Sync::for_steps(1);
        for name in 0..65_000 {
            sync.directory(&directory).unwrap();
            let waiting = match &sync {
                Sync::Each(each) => each.len(),
                Sync::FileSystem => 0,
            };
            assert!(waiting <= EACH_MAX, "{waiting} at {name}");
        }
        assert!(
            matches!(sync, Sync::FileSystem),
            "they are synced all the same"
        );
    }
}

//! Directories of the roots, opened by identity.

use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::rc::Rc;

use everwrite_protocol::ids::{FileId, Name};
use rustix::fs::{CWD, Mode, OFlags, openat};

use super::stat::stat_descriptor;
use crate::index::Index;

/// Directories kept open at once.
const OPEN_MAX: usize = 256;

/// Where a directory is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Place {
    /// The root's directory.
    pub root: FileId,
    /// Names below it joined by slashes; empty for the root itself.
    pub relative: Vec<u8>,
}

impl Place {
    /// The relative path of a name in this directory.
    pub fn join(&self, name: &Name) -> Vec<u8> {
        let mut path = self.relative.clone();
        if !path.is_empty() {
            path.push(b'/');
        }
        path.extend_from_slice(name.as_bytes());
        path
    }
}

/// An open directory that is, for certain, the one that was asked for.
#[derive(Clone, Debug)]
pub struct OpenDirectory {
    descriptor: Rc<OwnedFd>,
    /// Where it is.
    pub place: Rc<Place>,
}

impl AsFd for OpenDirectory {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}

/// Why a directory could not be opened.
#[derive(Debug)]
pub enum DirectoryGone {
    /// The root's own path does not lead to the root's directory.
    Root(FileId),
    /// This directory is not (any more) where the index has it.
    Elsewhere(FileId),
    /// It hangs under a root that is not protected (any more), or halted.
    Unprotected,
    /// It, or a directory above it, has no name in the index: in the middle of a round it may have
    /// lost one and not got the other yet.
    Nameless,
    /// It can't be opened.
    Failed(io::Error),
}

/// Open directories of one round, by id. A descriptor stays right even when the directory moves.
#[derive(Default)]
pub struct Directories {
    open: HashMap<FileId, OpenDirectory>,
}

impl Directories {
    /// Opens a directory, walking down from its root one name at a time and never through a
    /// symbolic link. `root_path` gives the path of a root.
    pub fn open<'p>(
        &mut self,
        index: &Index,
        directory: FileId,
        root_path: impl Fn(FileId) -> Option<&'p Path>,
    ) -> anyhow::Result<Result<OpenDirectory, DirectoryGone>> {
        if let Some(open) = self.open.get(&directory) {
            return Ok(Ok(open.clone()));
        }
        let Some((root, names)) = index.way_to(directory)? else {
            return Ok(Err(DirectoryGone::Nameless));
        };
        let Some(path) = root_path(root) else {
            return Ok(Err(DirectoryGone::Unprotected));
        };
        let mut at = match self.enter(
            index,
            root,
            CWD,
            path,
            Place {
                root,
                relative: Vec::new(),
            },
        )? {
            Ok(open) => open,
            Err(DirectoryGone::Elsewhere(_)) => return Ok(Err(DirectoryGone::Root(root))),
            Err(gone) => return Ok(Err(gone)),
        };
        let mut file = root;
        for name in names {
            let Some(next) = index.child(file, &name)? else {
                return Ok(Err(DirectoryGone::Elsewhere(file)));
            };
            let place = Place {
                root,
                relative: at.place.join(&name),
            };
            at = match self.enter(index, next, at.as_fd(), name.as_ref(), place)? {
                Ok(open) => open,
                Err(gone) => return Ok(Err(gone)),
            };
            file = next;
        }
        Ok(Ok(at))
    }

    fn enter(
        &mut self,
        index: &Index,
        directory: FileId,
        parent: BorrowedFd<'_>,
        name: &Path,
        place: Place,
    ) -> anyhow::Result<Result<OpenDirectory, DirectoryGone>> {
        if let Some(open) = self.open.get(&directory) {
            return Ok(Ok(open.clone()));
        }
        let Some(row) = index.file(directory)? else {
            return Ok(Err(DirectoryGone::Elsewhere(directory)));
        };
        let descriptor = match openat(parent, name, FLAGS, Mode::empty()) {
            Ok(descriptor) => descriptor,
            Err(error) => return Ok(Err(gone(directory, error))),
        };
        let stat = stat_descriptor(&descriptor)?;
        if !stat.is_file(row.inode, row.birth) {
            return Ok(Err(DirectoryGone::Elsewhere(directory)));
        }
        if self.open.len() >= OPEN_MAX {
            self.open.clear();
        }
        let open = OpenDirectory {
            descriptor: Rc::new(descriptor),
            place: Rc::new(place),
        };
        self.open.insert(directory, open.clone());
        Ok(Ok(open))
    }
}

const FLAGS: OFlags = OFlags::PATH
    .union(OFlags::DIRECTORY)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC);

fn gone(directory: FileId, error: rustix::io::Errno) -> DirectoryGone {
    use rustix::io::Errno;
    match error {
        Errno::NOENT | Errno::NOTDIR | Errno::LOOP => DirectoryGone::Elsewhere(directory),
        error => DirectoryGone::Failed(error.into()),
    }
}

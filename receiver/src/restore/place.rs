//! Places at the destination: a directory's descriptor and one name. Nothing is reached through a
//! link, so a link that somebody puts in the way leads nowhere.

use std::collections::HashMap;
use std::fs::Metadata;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileTypeExt;
use std::path::Path;
use std::rc::Rc;

use everwrite_protocol::wire::Kind;
use rustix::fs::{AtFlags, Dir, Mode, OFlags};
use rustix::io::Errno;

use crate::mirror::{open_directory, open_node};

/// Descriptors kept open.
const OPEN_MAX: usize = 128;

/// A name in an open directory.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) directory: Rc<OwnedFd>,
    /// `.` for the base itself.
    pub(super) name: Vec<u8>,
}

/// Finds places below one base.
#[derive(Debug)]
pub(super) struct Places {
    base: Rc<OwnedFd>,
    open: HashMap<Vec<u8>, Rc<OwnedFd>>,
}

impl Places {
    pub(super) fn below(base: &Path) -> io::Result<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let base = rustix::fs::open(base, flags, Mode::empty())?;
        Ok(Self {
            base: Rc::new(base),
            open: HashMap::new(),
        })
    }

    /// The place of a path. Its parents exist.
    pub(super) fn find(&mut self, relative: &[u8]) -> io::Result<Place> {
        let (parent, name) = match relative.iter().rposition(|byte| *byte == b'/') {
            Some(slash) => (&relative[..slash], &relative[slash + 1..]),
            None => (&b""[..], relative),
        };
        let name = if name.is_empty() { b"." } else { name };
        Ok(Place {
            directory: self.directory(parent)?,
            name: name.to_owned(),
        })
    }

    /// Whatever was opened may be another directory now.
    pub(super) fn forget(&mut self) {
        self.open.clear();
    }

    fn directory(&mut self, relative: &[u8]) -> io::Result<Rc<OwnedFd>> {
        if relative.is_empty() {
            return Ok(Rc::clone(&self.base));
        }
        if let Some(open) = self.open.get(relative) {
            return Ok(Rc::clone(open));
        }
        let mut at = Rc::clone(&self.base);
        for name in relative.split(|byte| *byte == b'/') {
            at = Rc::new(open_directory(at.as_fd(), name)?);
        }
        if self.open.len() >= OPEN_MAX {
            self.open.clear();
        }
        self.open.insert(relative.to_owned(), Rc::clone(&at));
        Ok(at)
    }
}

impl Place {
    /// Opens whatever is there, to look at it and set its attributes.
    pub(super) fn node(&self) -> Result<OwnedFd, Errno> {
        open_node(self.directory.as_fd(), &self.name)
    }

    /// Removes whatever is there, and all below it.
    pub(super) fn remove(&self) -> io::Result<()> {
        match rustix::fs::unlinkat(&*self.directory, self.name.as_slice(), AtFlags::empty()) {
            Err(Errno::ISDIR) => remove_directory(self.directory.as_fd(), &self.name),
            Err(Errno::NOENT) => Ok(()),
            done => done.map_err(Into::into),
        }
    }
}

fn remove_directory(parent: impl AsFd, name: &[u8]) -> io::Result<()> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let directory = rustix::fs::openat(&parent, name, flags, Mode::empty())?;
    for entry in Dir::read_from(&directory)? {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if name == b"." || name == b".." {
            continue;
        }
        match rustix::fs::unlinkat(&directory, name, AtFlags::empty()) {
            Err(Errno::ISDIR) => remove_directory(&directory, name)?,
            done => done?,
        }
    }
    Ok(rustix::fs::unlinkat(parent, name, AtFlags::REMOVEDIR)?)
}

/// Kind of a local file.
pub(super) fn kind(found: &Metadata) -> Kind {
    let kind = found.file_type();
    match () {
        () if kind.is_dir() => Kind::Directory,
        () if kind.is_symlink() => Kind::Symlink,
        () if kind.is_fifo() => Kind::Fifo,
        () if kind.is_socket() => Kind::Socket,
        () if kind.is_char_device() => Kind::CharacterDevice,
        () if kind.is_block_device() => Kind::BlockDevice,
        () => Kind::Regular,
    }
}

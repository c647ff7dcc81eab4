//! Finds and opens directories by id, and keeps some open.

use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;

use everwrite_protocol::ids::FileId;
use rustix::fs::Mode;
use rustix::io::Errno;

use super::beneath::open_directory;
use super::layout::SourceDirectory;
use crate::apply::plan::steps::{Home, Homes};

/// Descriptors kept open.
const OPEN_MAX: usize = 256;

/// Who knows where files are.
pub trait Homing {
    /// Where `file` is; `None`: nowhere.
    fn home(&self, file: FileId) -> io::Result<Option<Home>>;
}

impl Homing for Homes {
    fn home(&self, file: FileId) -> io::Result<Option<Home>> {
        Ok(self.get(&file).cloned())
    }
}

/// A directory and a name in it.
#[derive(Clone, Debug)]
pub struct Spot {
    /// The directory.
    pub directory: Rc<OwnedFd>,
    /// The name.
    pub name: Vec<u8>,
}

/// Directories of a source's store, by id.
#[derive(Debug)]
pub struct Directories<'a, H> {
    base: &'a SourceDirectory,
    homes: &'a H,
    open: HashMap<FileId, Rc<OwnedFd>>,
    /// A directory that is missing is made: the mirror has been meddled with, and mends.
    make_missing: bool,
}

impl<'a, H: Homing> Directories<'a, H> {
    /// Of this store, at these homes.
    pub fn new(base: &'a SourceDirectory, homes: &'a H, make_missing: bool) -> Self {
        Self {
            base,
            homes,
            open: HashMap::new(),
            make_missing,
        }
    }

    /// Opens a directory.
    pub fn open(&mut self, directory: FileId) -> io::Result<Rc<OwnedFd>> {
        let mut missing = Vec::new();
        let mut at = directory;
        let mut fd = loop {
            if let Some(open) = self.open.get(&at) {
                break Rc::clone(open);
            }
            if at == FileId::TOP {
                break Rc::new(self.base.mirror().try_clone()?);
            }
            match self.homes.home(at)? {
                Some(Home::In(parent, name)) => {
                    missing.push((at, name.as_bytes().to_vec()));
                    at = parent;
                }
                Some(Home::Staging) => {
                    missing.push((at, id_name(at)));
                    break Rc::new(self.base.staging().try_clone()?);
                }
                Some(Home::Object) => {
                    missing.push((at, id_name(at)));
                    break Rc::new(self.base.objects(at)?);
                }
                None => return Err(io::ErrorKind::NotFound.into()),
            }
        };
        if self.open.len() + missing.len() > OPEN_MAX {
            self.open.clear();
        }
        for (file, name) in missing.into_iter().rev() {
            fd = Rc::new(self.step(&fd, &name)?);
            self.open.insert(file, Rc::clone(&fd));
        }
        Ok(fd)
    }

    fn step(&self, parent: &OwnedFd, name: &[u8]) -> Result<OwnedFd, Errno> {
        match open_directory(parent.as_fd(), name) {
            Err(Errno::NOENT) if self.make_missing => {
                rustix::fs::mkdirat(parent, name, Mode::RWXU)?;
                tracing::warn!(
                    name = %String::from_utf8_lossy(name),
                    "a directory of the mirror is missing; made it anew (did something else change the mirror?)"
                );
                open_directory(parent.as_fd(), name)
            }
            opened => opened,
        }
    }

    /// The place of a home.
    pub fn spot(&mut self, file: FileId, home: &Home) -> io::Result<Spot> {
        Ok(match home {
            Home::In(parent, name) => Spot {
                directory: self.open(*parent)?,
                name: name.as_bytes().to_vec(),
            },
            Home::Staging => Spot {
                directory: Rc::new(self.base.staging().try_clone()?),
                name: id_name(file),
            },
            Home::Object => Spot {
                directory: Rc::new(self.base.objects(file)?),
                name: id_name(file),
            },
        })
    }

    /// The place of a file, as the homes know it.
    pub fn find(&mut self, file: FileId) -> io::Result<Spot> {
        match self.homes.home(file)? {
            Some(home) => self.spot(file, &home),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }
}

/// Name of a file in `staging/` and `objects/`.
fn id_name(file: FileId) -> Vec<u8> {
    format!("{:016x}", file.0).into_bytes()
}

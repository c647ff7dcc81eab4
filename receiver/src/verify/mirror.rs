//! The mirror: names, attributes and content, against the catalog.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::rc::Rc;

use everwrite_protocol::ids::{FileId, Name};
use everwrite_protocol::wire::{Attributes, Kind};
use rustix::fs::{Dir, Mode, OFlags};
use rustix::io::Errno;

use super::attributes::unexpected;
use super::content::Comparison;
use super::{Part, Report};
use crate::apply::plan::before::Before;
use crate::catalog::{Catalog, CatalogRead};
use crate::history::{joined, open_inode};
use crate::log::Segments;
use crate::mirror::{Directories, Layout, Node, SourceDirectory, open_node, read_attributes};
use crate::store::{ApplyLock, StoreError};

/// Content compared within one hold of the lock, in bytes.
const PIECE_BYTES: u64 = 8 << 20;

pub(super) fn verify(layout: &Layout, report: &mut Report) -> Result<(), StoreError> {
    let catalog = Catalog::open_reader(&layout.catalog())?;
    let mut walk = Walk {
        lock: Rc::new(ApplyLock::open_reader(&layout.apply_lock())?),
        directory: SourceDirectory::open(layout)?,
        comparison: Comparison::new(Segments::new(layout.log())),
        linked: HashMap::new(),
        waiting: vec![(FileId::TOP, Vec::new())],
        report,
        catalog: &catalog,
    };
    while let Some((directory, path)) = walk.waiting.pop() {
        for (file, path) in walk.directory(directory, &path)? {
            walk.content(file, &path)?;
        }
    }
    report.unset = catalog.read()?.count("unset")?;
    Ok(())
}

/// A walk over the tree as the catalog has it.
struct Walk<'w> {
    catalog: &'w Catalog,
    lock: Rc<ApplyLock>,
    directory: SourceDirectory,
    comparison: Comparison,
    /// Inodes of files that have several names, by the first that was met.
    linked: HashMap<FileId, u64>,
    waiting: Vec<(FileId, Vec<u8>)>,
    report: &'w mut Report,
}

impl Walk<'_> {
    /// Compares the names in a directory and their attributes. Its regular files, each once.
    fn directory(
        &mut self,
        directory: FileId,
        path: &[u8],
    ) -> Result<Vec<(FileId, Vec<u8>)>, StoreError> {
        let lock = Rc::clone(&self.lock);
        let _held = lock.shared()?;
        let read = self.catalog.read()?;
        if !is_alive(&read, directory)? {
            return Ok(Vec::new());
        }
        let opened = Directories::new(&self.directory, &read, false).open(directory);
        let listed = opened.and_then(|fd| Ok((list(fd.as_fd())?, fd)));
        let (found, fd) = match listed {
            Ok(listed) => listed,
            Err(error) => {
                self.differs(path, format!("can't be listed: {error}"));
                return Ok(Vec::new());
            }
        };
        let expected = children(&read, directory)?;
        for name in found.iter().filter(|name| !expected.contains_key(*name)) {
            self.differs(&joined(path, name), "is not in the catalog");
        }
        let mut regular = Vec::new();
        for (name, file) in expected {
            let path = joined(path, &name);
            if self.name(&read, file, fd.as_fd(), &name, &path)? == Some(Kind::Regular) {
                regular.push((file, path));
            }
        }
        Ok(regular)
    }

    /// Compares a name. Its kind, unless there is nothing to go on with or it was met before.
    fn name(
        &mut self,
        read: &CatalogRead<'_>,
        file: FileId,
        directory: BorrowedFd<'_>,
        name: &[u8],
        path: &[u8],
    ) -> Result<Option<Kind>, StoreError> {
        let named = Named::look(read, file, directory, name)?;
        let Some((kind, inode)) = named.compare(path, self.report) else {
            return Ok(None);
        };
        if kind == Kind::Directory {
            self.waiting.push((file, path.to_owned()));
            return Ok(Some(kind));
        }
        match self.first_name(read, file, inode)? {
            Some(first) if first != inode => {
                self.differs(path, "is no hard link of the file's other names");
                Ok(None)
            }
            Some(_) => Ok(None),
            None => Ok(Some(kind)),
        }
    }

    /// Inode by the name of the file that was met first; `None`: this is it.
    fn first_name(
        &mut self,
        read: &CatalogRead<'_>,
        file: FileId,
        inode: u64,
    ) -> Result<Option<u64>, StoreError> {
        if !read.has_several_names(file)? {
            return Ok(None);
        }
        Ok(match self.linked.entry(file) {
            Entry::Occupied(first) => Some(*first.get()),
            Entry::Vacant(first) => {
                first.insert(inode);
                None
            }
        })
    }

    /// Compares a file's content, piece by piece.
    fn content(&mut self, file: FileId, path: &[u8]) -> Result<(), StoreError> {
        let mut at = 0;
        loop {
            match self.piece(file, at) {
                Ok(Compared::Same(end)) => at = end,
                Ok(Compared::End) => return Ok(()),
                Ok(Compared::Differs(byte)) => {
                    self.differs(path, format!("content differs from byte {byte} on"));
                    return Ok(());
                }
                Err(error @ StoreError::InBetween(_)) => return Err(error),
                Err(error) => {
                    self.differs(path, format!("content can't be told: {error}"));
                    return Ok(());
                }
            }
        }
    }

    fn piece(&mut self, file: FileId, at: u64) -> Result<Compared, StoreError> {
        let lock = Rc::clone(&self.lock);
        let _held = lock.shared()?;
        let read = self.catalog.read()?;
        let size = match read.file(file)? {
            Some(before) if is_alive(&read, file)? => before.attributes.size,
            _ => return Ok(Compared::End),
        };
        let range = at..size.min(at + PIECE_BYTES);
        if range.is_empty() {
            return Ok(Compared::End);
        }
        let inode = open_inode(&self.directory, &read, file)?;
        let comparison = &mut self.comparison;
        let differs = comparison.range(&read, file, &inode, &range, self.report)?;
        Ok(differs.map_or(Compared::Same(range.end), Compared::Differs))
    }

    fn differs(&mut self, path: &[u8], what: impl Into<String>) {
        self.report.differs(Part::Mirror, path, what);
    }
}

/// A piece of content.
enum Compared {
    /// Up to this byte.
    Same(u64),
    /// From this byte on.
    Differs(u64),
    /// The file has no more, or is gone.
    End,
}

/// Whether the file has a name now: it may have gone while others were compared.
fn is_alive(read: &CatalogRead<'_>, file: FileId) -> Result<bool, StoreError> {
    Ok(file == FileId::TOP || read.first_name(file)?.is_some())
}

fn children(
    read: &CatalogRead<'_>,
    directory: FileId,
) -> Result<BTreeMap<Vec<u8>, FileId>, StoreError> {
    let all = read.children_at(directory, b"", read.applied(), i64::MAX as usize)?;
    let bytes = |(name, file): (Name, FileId)| (name.as_bytes().to_vec(), file);
    Ok(all.into_iter().map(bytes).collect())
}

/// Names in a directory on the disk.
fn list(directory: BorrowedFd<'_>) -> io::Result<Vec<Vec<u8>>> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let readable = rustix::fs::openat(directory, c".", flags, Mode::empty())?;
    let mut names = Vec::new();
    for entry in Dir::read_from(&readable)? {
        let name = entry?.file_name().to_bytes().to_vec();
        if name != b"." && name != b".." {
            names.push(name);
        }
    }
    Ok(names)
}

/// A name as the catalog and the disk have it.
struct Named {
    expected: Attributes,
    unset: Option<String>,
    /// With the number of the inode.
    found: io::Result<(Attributes, u64)>,
}

impl Named {
    fn look(
        read: &CatalogRead<'_>,
        file: FileId,
        directory: BorrowedFd<'_>,
        name: &[u8],
    ) -> Result<Self, StoreError> {
        let before = read.file(file)?.ok_or_else(|| StoreError::Io {
            action: "find the attributes in the catalog",
            path: format!("mirror file {}", file.0).into(),
            source: io::ErrorKind::NotFound.into(),
        })?;
        Ok(Self {
            expected: before.attributes,
            unset: read.unset_of(file)?,
            found: found(directory, name),
        })
    }

    /// Reports differences. Kind and inode where there is something to go on with.
    fn compare(self, path: &[u8], report: &mut Report) -> Option<(Kind, u64)> {
        report.files += 1;
        let unset = self.unset.as_deref();
        let (found, inode) = match self.found {
            Ok(found) => found,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                if !unset.is_some_and(|unset| unset.contains("the device node itself")) {
                    report.differs(Part::Mirror, path, "is missing");
                }
                return None;
            }
            Err(error) => {
                report.differs(Part::Mirror, path, format!("can't be looked at: {error}"));
                return None;
            }
        };
        let words = unexpected(&found, &self.expected, unset);
        if !words.is_empty() {
            let what = format!("differs in {}", words.join(", "));
            report.differs(Part::Mirror, path, what);
        }
        (found.kind == self.expected.kind).then_some((found.kind, inode))
    }
}

fn found(directory: BorrowedFd<'_>, name: &[u8]) -> io::Result<(Attributes, u64)> {
    let node = open_node(directory, name)?;
    let target = match rustix::fs::readlinkat(&node, c"", Vec::new()) {
        Ok(target) => target.into_bytes(),
        // It is no link.
        Err(Errno::INVAL | Errno::NOENT) => Vec::new(),
        Err(error) => return Err(error.into()),
    };
    let inode = rustix::fs::fstat(&node)?.st_ino;
    let attributes = read_attributes(Node::Path(node.as_fd()), target)?;
    Ok((attributes, inode))
}

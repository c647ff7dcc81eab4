//! From paths to files and back, at any moment.

use std::collections::HashMap;

use everwrite_protocol::ids::{FileId, Name, SequenceNumber};

use crate::apply::plan::before::Placed;
use crate::apply::plan::steps::Home;
use crate::catalog::CatalogRead;
use crate::mirror::Homing;
use crate::store::StoreError;

/// Deepest directory that a path is made for; beyond, the catalog is damaged.
pub(super) const DEPTH_MAX: usize = 4096;

/// Names of a path; empty ones (doubled or outer slashes) are left out.
pub(crate) fn components(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    path.split(|byte| *byte == b'/')
        .filter(|name| !name.is_empty())
}

/// The file at a path at a moment; the empty path is the top.
pub(crate) fn find(
    read: &CatalogRead<'_>,
    path: &[u8],
    at: SequenceNumber,
) -> Result<Option<FileId>, StoreError> {
    let mut file = FileId::TOP;
    for name in components(path) {
        match read.child_at(file, name, at)? {
            Some(child) => file = child,
            None => return Ok(None),
        }
    }
    Ok(Some(file))
}

/// Paths of directories, remembered.
pub(crate) struct Paths<'r, 'c> {
    read: &'r CatalogRead<'c>,
    known: HashMap<(FileId, SequenceNumber), Option<Vec<u8>>>,
}

impl<'r, 'c> Paths<'r, 'c> {
    pub(crate) fn new(read: &'r CatalogRead<'c>) -> Self {
        Self {
            read,
            known: HashMap::new(),
        }
    }

    /// The path of a file at a moment by its first name; `None`: it was not in the tree.
    pub(crate) fn of(
        &mut self,
        file: FileId,
        at: SequenceNumber,
    ) -> Result<Option<Vec<u8>>, StoreError> {
        if file == FileId::TOP {
            return Ok(Some(Vec::new()));
        }
        for (parent, name) in self.read.names_at(file, at)? {
            if let Some(path) = self.below(parent, &name, at)? {
                return Ok(Some(path));
            }
        }
        Ok(None)
    }

    /// The path of a name in a directory at a moment.
    pub(crate) fn below(
        &mut self,
        parent: FileId,
        name: &Name,
        at: SequenceNumber,
    ) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self
            .directory(parent, at)?
            .map(|path| joined(&path, name.as_bytes())))
    }

    fn directory(
        &mut self,
        directory: FileId,
        at: SequenceNumber,
    ) -> Result<Option<Vec<u8>>, StoreError> {
        if let Some(known) = self.known.get(&(directory, at)) {
            return Ok(known.clone());
        }
        let path = self.walk(directory, at)?;
        if self.known.len() > 10_000 {
            self.known.clear();
        }
        self.known.insert((directory, at), path.clone());
        Ok(path)
    }

    fn walk(&self, directory: FileId, at: SequenceNumber) -> Result<Option<Vec<u8>>, StoreError> {
        let mut names = Vec::new();
        let mut file = directory;
        while file != FileId::TOP {
            let Some((parent, name)) = self.read.names_at(file, at)?.into_iter().next() else {
                return Ok(None);
            };
            names.push(name);
            if names.len() > DEPTH_MAX {
                return Ok(None);
            }
            file = parent;
        }
        let path = names
            .iter()
            .rev()
            .fold(Vec::new(), |path, name| joined(&path, name.as_bytes()));
        Ok(Some(path))
    }
}

/// `directory/name`; the top has no name.
pub(crate) fn joined(directory: &[u8], name: &[u8]) -> Vec<u8> {
    let mut path = directory.to_vec();
    if !path.is_empty() {
        path.push(b'/');
    }
    path.extend_from_slice(name);
    path
}

/// Is `path` `top` or below it?
pub(crate) fn is_below(path: &[u8], top: &[u8]) -> bool {
    let mut path = components(path);
    components(top).all(|name| path.next() == Some(name))
}

impl Homing for CatalogRead<'_> {
    fn home(&self, file: FileId) -> std::io::Result<Option<Home>> {
        let home = || -> Result<Option<Home>, StoreError> {
            if let Some((parent, name)) = self.first_name(file)? {
                return Ok(Some(Home::In(parent, name)));
            }
            Ok(match self.placed(file)? {
                Some(Placed::Staged) => Some(Home::Staging),
                Some(Placed::Object) => Some(Home::Object),
                Some(Placed::Named | Placed::Log) | None => None,
            })
        };
        home().map_err(std::io::Error::other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn below_is_by_whole_names() {
        let cases: [(&str, &str, bool); 6] = [
            ("r/a/b", "r/a", true),
            ("r/a", "r/a/", true),
            ("r/ab", "r/a", false),
            ("r", "r/a", false),
            ("r/a", "", true),
            ("", "", true),
        ];
        for (path, top, below) in cases {
            assert_eq!(
                is_below(path.as_bytes(), top.as_bytes()),
                below,
                "{path} {top}"
            );
        }
    }
}

//! Entries: of a path, of a directory, of everything.

use std::collections::HashMap;

use everwrite_protocol::ids::{FileId, Name, SequenceNumber, Timestamp};
use everwrite_protocol::wire::{Answer, Attributes, Kind, PAGE_ENTRIES_MAX, QueryError, TreeEntry};

use super::path::{DEPTH_MAX, components, find};
use super::{Answered, Session, invalid};
use crate::apply::plan::before::Before;
use crate::catalog::CatalogRead;
use crate::store::StoreError;

/// Encoded bytes after which a page is full; the limit of a frame is 1 MiB.
const PAGE_BYTES: usize = 800 << 10;

impl Session {
    pub(super) fn stat(&self, path: &[u8], at: SequenceNumber) -> Answered {
        let read = self.catalog.read()?;
        Ok((Answer::Stat(entry_at(&read, path, at)?), Vec::new()))
    }

    pub(super) fn list(&self, path: &[u8], at: SequenceNumber, after: Option<&Name>) -> Answered {
        let read = self.catalog.read()?;
        let directory = entry_at(&read, path, at)?;
        if directory.attributes.kind != Kind::Directory {
            let entries = vec![directory];
            return Ok((
                Answer::List {
                    entries,
                    more: false,
                },
                Vec::new(),
            ));
        }
        let after = after.map_or(&b""[..], Name::as_bytes);
        let children = read.children_at(directory.file, after, at, PAGE_ENTRIES_MAX + 1)?;
        let mut page = Page::default();
        for (name, file) in children {
            let Some(entry) = entry(&read, directory.file, name, file, at)? else {
                continue;
            };
            if !page.add(entry) {
                break;
            }
        }
        Ok((
            Answer::List {
                entries: page.entries,
                more: page.full,
            },
            Vec::new(),
        ))
    }

    pub(super) fn tree(&self, cursor: Option<&[u8]>) -> Answered {
        let read = self.catalog.read()?;
        let (mut parent, mut name) = from_cursor(cursor)?;
        let mut alive = Alive {
            read: &read,
            known: HashMap::new(),
        };
        let mut page = Page::default();
        while !page.full {
            let names = read.open_names_after(parent, &name, PAGE_ENTRIES_MAX)?;
            let Some(last) = names.last() else { break };
            (parent, name) = (last.parent, last.name.as_bytes().to_vec());
            for record in names {
                if !alive.is(record.parent)? {
                    continue;
                }
                let at = (record.parent, record.name.as_bytes().to_vec());
                let entry = entry(
                    &read,
                    record.parent,
                    record.name,
                    record.file,
                    read.applied(),
                )?;
                if entry.is_some_and(|entry| !page.add(entry)) {
                    break;
                }
                page.last = Some(at);
            }
        }
        let last = page.last.filter(|_| page.full);
        let cursor = last.map(|(parent, name)| to_cursor(parent, &name));
        let highest_file = read.highest_file();
        Ok((
            Answer::Tree {
                entries: page.entries,
                cursor,
                highest_file,
            },
            Vec::new(),
        ))
    }
}

/// The entry of a path at a moment.
pub(crate) fn entry_at(
    read: &CatalogRead<'_>,
    path: &[u8],
    at: SequenceNumber,
) -> Result<TreeEntry, QueryError> {
    let names: Vec<&[u8]> = components(path).collect();
    let Some((name, above)) = names.split_last() else {
        return top();
    };
    let parent = find(read, &above.join(&b'/'), at)?.ok_or(QueryError::NotFound)?;
    let file = read
        .child_at(parent, name, at)?
        .ok_or(QueryError::NotFound)?;
    let name = Name::new(*name).map_err(|error| invalid(&error.to_string()))?;
    entry(read, parent, name, file, at)?.ok_or(QueryError::NotFound)
}

/// The parent of all roots: a directory that no source has.
fn top() -> Result<TreeEntry, QueryError> {
    let name = Name::new("everwrite").map_err(|error| invalid(&error.to_string()))?;
    Ok(TreeEntry {
        file: FileId::TOP,
        parent: FileId::TOP,
        name,
        attributes: Attributes {
            kind: Kind::Directory,
            mode: 0o755,
            uid: 0,
            gid: 0,
            user: None,
            group: None,
            modified: Timestamp(0),
            size: 0,
            device_number: 0,
            target: Vec::new(),
            xattrs: Vec::new(),
        },
        changed: SequenceNumber(0),
    })
}

fn entry(
    read: &CatalogRead<'_>,
    parent: FileId,
    name: Name,
    file: FileId,
    at: SequenceNumber,
) -> Result<Option<TreeEntry>, StoreError> {
    let found = read.attributes_at(file, at)?;
    Ok(found.map(|(attributes, changed)| TreeEntry {
        file,
        parent,
        name,
        attributes,
        changed,
    }))
}

/// Entries up to what one answer holds.
#[derive(Debug, Default)]
struct Page {
    entries: Vec<TreeEntry>,
    bytes: usize,
    full: bool,
    last: Option<(FileId, Vec<u8>)>,
}

impl Page {
    /// Adds an entry, or says that there is no room.
    fn add(&mut self, entry: TreeEntry) -> bool {
        let bytes = encoded_bytes(&entry);
        let room = self.entries.len() < PAGE_ENTRIES_MAX && self.bytes + bytes <= PAGE_BYTES;
        if !room && !self.entries.is_empty() {
            self.full = true;
            return false;
        }
        self.bytes += bytes;
        self.entries.push(entry);
        true
    }
}

/// About what an entry takes when encoded, rather too much.
fn encoded_bytes(entry: &TreeEntry) -> usize {
    let attributes = &entry.attributes;
    let xattrs: usize = attributes
        .xattrs
        .iter()
        .map(|x| x.name.len() + x.value.len() + 12)
        .sum();
    let names = [&attributes.user, &attributes.group]
        .into_iter()
        .flatten()
        .map(String::len);
    let variable = entry.name.as_bytes().len() + attributes.target.len() + xattrs;
    128 + variable + names.sum::<usize>()
}

/// Which directories are in the tree.
struct Alive<'r, 'c> {
    read: &'r CatalogRead<'c>,
    known: HashMap<FileId, bool>,
}

impl Alive<'_, '_> {
    fn is(&mut self, directory: FileId) -> Result<bool, StoreError> {
        let mut chain = Vec::new();
        let mut at = directory;
        let alive = loop {
            if at == FileId::TOP {
                break true;
            }
            if let Some(known) = self.known.get(&at) {
                break *known;
            }
            chain.push(at);
            // A damaged catalog may go round in a circle.
            if chain.len() > DEPTH_MAX {
                break false;
            }
            match self.read.first_name(at)? {
                Some((parent, _)) => at = parent,
                None => break false,
            }
        };
        self.known
            .extend(chain.into_iter().map(|file| (file, alive)));
        Ok(alive)
    }
}

fn to_cursor(parent: FileId, name: &[u8]) -> Vec<u8> {
    let mut cursor = parent.0.to_be_bytes().to_vec();
    cursor.extend_from_slice(name);
    cursor
}

fn from_cursor(cursor: Option<&[u8]>) -> Result<(FileId, Vec<u8>), QueryError> {
    let Some(cursor) = cursor else {
        return Ok((FileId::TOP, Vec::new()));
    };
    let (parent, name) = cursor
        .split_first_chunk::<8>()
        .ok_or_else(|| invalid("no such cursor"))?;
    Ok((FileId(u64::from_be_bytes(*parent)), name.to_vec()))
}

//! A tree as it can be seen: on the source's disk, in the mirror, in the history.

use std::collections::{BTreeMap, HashMap};
use std::ffi::OsStr;
use std::fmt::Write as _;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;
use std::sync::Arc;

use everwrite_protocol::ids::{FileId, Name, SequenceNumber};
use everwrite_protocol::wire::{Answer, Kind, Query, QueryError, TreeEntry};
use everwrite_receiver::store::SourceStore;

/// All that is promised to come back, but owners: everything here belongs to whoever runs the test.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Entry {
    pub(crate) kind: Kind,
    mode: u32,
    modified: i64,
    target: Vec<u8>,
    note: Option<Vec<u8>>,
    pub(crate) content: Option<Arc<Vec<u8>>>,
    /// First of the paths of the same file.
    first: Vec<u8>,
}

/// By path; the empty one is the root's own.
pub(crate) type Tree = BTreeMap<Vec<u8>, Entry>;

/// Contents that need not be read again.
pub(crate) type Known = HashMap<(u64, i64, i64, u64), Arc<Vec<u8>>>;

pub(crate) const NOTE: &str = "user.note";

/// What lies on a disk.
pub(crate) fn on_disk(top: &Path, known: &mut Known) -> Tree {
    let mut tree = Tree::new();
    let mut firsts = HashMap::new();
    read(top, b"", &mut tree, &mut firsts, known);
    tree
}

fn read(
    top: &Path,
    path: &[u8],
    tree: &mut Tree,
    firsts: &mut HashMap<u64, Vec<u8>>,
    known: &mut Known,
) {
    let at = top.join(OsStr::from_bytes(path));
    let metadata = at.symlink_metadata().unwrap();
    let directory = metadata.is_dir();
    let first = firsts.entry(metadata.ino());
    let first = first.or_insert_with(|| path.to_owned()).clone();
    let entry = entry_of(&at, &metadata, first, known);
    tree.insert(path.to_owned(), entry);
    if directory {
        let names = std::fs::read_dir(&at).unwrap();
        let mut names: Vec<_> = names.map(|name| name.unwrap().file_name()).collect();
        names.sort();
        for name in names {
            read(top, &joined(path, name.as_bytes()), tree, firsts, known);
        }
    }
}

fn entry_of(at: &Path, metadata: &std::fs::Metadata, first: Vec<u8>, known: &mut Known) -> Entry {
    let kind = kind_of(metadata);
    let modified = metadata.mtime() * 1_000_000_000 + metadata.mtime_nsec();
    let changed = metadata.ctime() * 1_000_000_000 + metadata.ctime_nsec();
    let key = (metadata.ino(), modified, changed, metadata.size());
    let content = (kind == Kind::Regular).then(|| {
        let read = || Arc::new(std::fs::read(at).unwrap());
        Arc::clone(known.entry(key).or_insert_with(read))
    });
    let link = kind == Kind::Symlink;
    let target = match link {
        true => std::fs::read_link(at).unwrap().into_os_string().into_vec(),
        false => Vec::new(),
    };
    Entry {
        kind,
        mode: if link { 0 } else { metadata.mode() & 0o7777 },
        modified,
        target,
        note: note_of(at, kind),
        content,
        first,
    }
}

fn note_of(at: &Path, kind: Kind) -> Option<Vec<u8>> {
    if !matches!(kind, Kind::Regular | Kind::Directory) {
        return None;
    }
    let mut value = vec![0; 256];
    let length = rustix::fs::getxattr(at, NOTE, &mut value[..]).ok()?;
    value.truncate(length);
    Some(value)
}

fn kind_of(metadata: &std::fs::Metadata) -> Kind {
    let kind = metadata.file_type();
    if kind.is_dir() {
        Kind::Directory
    } else if kind.is_symlink() {
        Kind::Symlink
    } else if kind.is_fifo() {
        Kind::Fifo
    } else {
        Kind::Regular
    }
}

pub(crate) fn joined(path: &[u8], name: &[u8]) -> Vec<u8> {
    let mut joined = path.to_owned();
    if !joined.is_empty() {
        joined.push(b'/');
    }
    joined.extend_from_slice(name);
    joined
}

/// What the history has of the root at a batch; `None`: the root is not there.
pub(crate) fn in_history(store: &SourceStore, root: &str, at: SequenceNumber) -> Option<Tree> {
    let stat = Query::Stat {
        path: root.as_bytes().to_vec(),
        at,
    };
    let top = match store.answer(&stat).0 {
        Answer::Stat(entry) => entry,
        Answer::Failed(QueryError::NotFound) => return None,
        other => panic!("{other:?}"),
    };
    let mut tree = Tree::new();
    let mut firsts = HashMap::new();
    past(
        store,
        root.as_bytes(),
        at,
        &top,
        b"",
        &mut tree,
        &mut firsts,
    );
    Some(tree)
}

fn past(
    store: &SourceStore,
    root: &[u8],
    at: SequenceNumber,
    entry: &TreeEntry,
    path: &[u8],
    tree: &mut Tree,
    firsts: &mut HashMap<FileId, Vec<u8>>,
) {
    let first = firsts.entry(entry.file).or_insert_with(|| path.to_owned());
    let attributes = &entry.attributes;
    let regular = attributes.kind == Kind::Regular;
    let content = regular.then(|| Arc::new(content(store, entry.file, at, attributes.size)));
    let link = attributes.kind == Kind::Symlink;
    let note = attributes
        .xattrs
        .iter()
        .find(|it| it.name == NOTE.as_bytes());
    let found = Entry {
        kind: attributes.kind,
        mode: if link { 0 } else { attributes.mode },
        modified: attributes.modified.0,
        target: attributes.target.clone(),
        note: note.map(|xattr| xattr.value.clone()),
        content,
        first: first.clone(),
    };
    tree.insert(path.to_owned(), found);
    if attributes.kind == Kind::Directory {
        for child in list(store, joined(root, path), at) {
            let path = joined(path, child.name.as_bytes());
            past(store, root, at, &child, &path, tree, firsts);
        }
    }
}

fn list(store: &SourceStore, mut path: Vec<u8>, at: SequenceNumber) -> Vec<TreeEntry> {
    if path.last() == Some(&b'/') {
        path.pop();
    }
    let (mut all, mut after) = (Vec::new(), None::<Name>);
    loop {
        let query = Query::List {
            path: path.clone(),
            at,
            after: after.clone(),
        };
        let (entries, more) = match store.answer(&query).0 {
            Answer::List { entries, more } => (entries, more),
            other => panic!("{other:?}"),
        };
        after = entries.last().map(|entry| entry.name.clone());
        all.extend(entries);
        if !more {
            return all;
        }
    }
}

fn content(store: &SourceStore, file: FileId, at: SequenceNumber, size: u64) -> Vec<u8> {
    let mut content = vec![0; size as usize];
    let mut offset = 0;
    while offset < size {
        let (answer, payload) = store.answer(&Query::Read { file, at, offset });
        let Answer::Read { extents, end, .. } = answer else {
            panic!("{answer:?}")
        };
        let mut from = 0;
        for extent in extents {
            let (start, length) = (extent.offset as usize, extent.length as usize);
            content[start..start + length].copy_from_slice(&payload[from..from + length]);
            from += length;
        }
        assert!(end > offset, "an answer brings us further");
        offset = end;
    }
    content
}

/// Where they differ; empty: nowhere.
pub(crate) fn differences(found: &Tree, expected: &Tree) -> String {
    let mut said = String::new();
    for (path, entry) in found {
        let shown = String::from_utf8_lossy(path);
        let _ = match expected.get(path) {
            None => writeln!(said, "{shown}: should not be there ({:?})", entry.kind),
            Some(right) if right != entry => {
                writeln!(said, "{shown}: {}", difference(entry, right))
            }
            Some(_) => Ok(()),
        };
    }
    for path in expected.keys().filter(|path| !found.contains_key(*path)) {
        let _ = writeln!(said, "{}: is missing", String::from_utf8_lossy(path));
    }
    said
}

fn difference(found: &Entry, right: &Entry) -> String {
    if found.content != right.content {
        let (found, right) = (found.content.as_deref(), right.content.as_deref());
        let (found, right) = (
            found.map_or(&[][..], |it| it),
            right.map_or(&[][..], |it| it),
        );
        let at = found.iter().zip(right).position(|(a, b)| a != b);
        return format!(
            "content: {} bytes, should be {}; first differs at {at:?}",
            found.len(),
            right.len()
        );
    }
    let without = |entry: &Entry| Entry {
        content: None,
        ..entry.clone()
    };
    format!("{:?}, should be {:?}", without(found), without(right))
}

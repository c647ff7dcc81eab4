//! Is what the store shows what the model says?

use std::collections::BTreeMap;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use everwrite_protocol::ids::{FileId, Name, SequenceNumber};
use everwrite_protocol::wire::{Answer, Attributes, Kind, Query, QueryError, TreeEntry};
use everwrite_receiver::catalog::Catalog;
use everwrite_receiver::store::SourceStore;

use super::model::{File, Tree};

/// The plain files below `mirror` are the model's.
pub(crate) fn mirror(mirror: &Path, tree: &Tree) {
    let mut found = BTreeMap::new();
    walk(mirror, mirror, &mut found);
    let paths = |bytes: &Vec<u8>| String::from_utf8_lossy(bytes).into_owned();
    let root = rustix::process::geteuid().is_root();
    // Without privileges devices are in the catalog alone.
    let tree: Tree = tree
        .iter()
        .filter(|(_, (_, file))| root || file.attributes.kind != Kind::CharacterDevice)
        .map(|(path, file)| (path.clone(), file.clone()))
        .collect();
    let expected: Vec<String> = tree.keys().map(paths).collect();
    assert_eq!(found.keys().map(paths).collect::<Vec<_>>(), expected);
    let mut inodes = BTreeMap::new();
    for (path, (id, file)) in &tree {
        let shown = String::from_utf8_lossy(path).into_owned();
        let on_disk = mirror.join(std::ffi::OsStr::from_bytes(path));
        let inode = found[path];
        assert_eq!(
            *inodes.entry(inode).or_insert(*id),
            *id,
            "{shown}: hard links"
        );
        same_metadata(&on_disk, &file.attributes, &shown);
        if file.attributes.kind == Kind::Regular {
            same_bytes(&std::fs::read(&on_disk).unwrap(), &file.content, &shown);
        }
    }
    let ids: std::collections::BTreeSet<FileId> = tree.values().map(|(id, _)| *id).collect();
    assert_eq!(inodes.len(), ids.len(), "as many inodes as files");
}

fn walk(top: &Path, directory: &Path, found: &mut BTreeMap<Vec<u8>, u64>) {
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let metadata = path.symlink_metadata().unwrap();
        let relative = path
            .strip_prefix(top)
            .unwrap()
            .as_os_str()
            .as_bytes()
            .to_vec();
        found.insert(relative, metadata.ino());
        if metadata.is_dir() {
            walk(top, &path, found);
        }
    }
}

fn same_metadata(path: &Path, attributes: &Attributes, shown: &str) {
    let metadata = path.symlink_metadata().unwrap();
    let root = rustix::process::geteuid().is_root();
    if root {
        assert_eq!(
            (metadata.uid(), metadata.gid()),
            (attributes.uid, attributes.gid),
            "{shown}"
        );
    }
    if attributes.kind != Kind::Symlink {
        // Without privileges we must be able to get in again.
        let ours = match (root, attributes.kind) {
            (true, _) => 0,
            (false, Kind::Directory) => 0o700,
            (false, _) => 0o600,
        };
        assert_eq!(
            metadata.mode() & 0o7777,
            attributes.mode | ours,
            "{shown}: mode"
        );
    }
    let modified = metadata.mtime() * 1_000_000_000 + metadata.mtime_nsec();
    assert_eq!(modified, attributes.modified.0, "{shown}: time");
    if attributes.kind == Kind::Symlink {
        let target = std::fs::read_link(path)
            .unwrap()
            .into_os_string()
            .into_vec();
        assert_eq!(target, attributes.target, "{shown}");
    } else if let Some(xattr) = attributes.xattrs.first() {
        let mut value = [0; 100];
        let length = rustix::fs::getxattr(path, "user.test", &mut value[..]).unwrap();
        assert_eq!(&value[..length], xattr.value, "{shown}: xattr");
    } else if matches!(attributes.kind, Kind::Regular | Kind::Directory) {
        assert!(
            rustix::fs::getxattr(path, "user.test", &mut [0u8; 1][..]).is_err(),
            "{shown}"
        );
    }
}

/// History shows the model's tree at a moment.
pub(crate) fn history(store: &SourceStore, at: u64, tree: &Tree) {
    let mut found = Vec::new();
    list(store, at, b"", &mut found);
    let mut found: BTreeMap<Vec<u8>, TreeEntry> = found.into_iter().collect();
    for (path, (id, file)) in tree {
        let shown = format!("{} at {at}", String::from_utf8_lossy(path));
        let entry = found
            .remove(path)
            .unwrap_or_else(|| panic!("{shown}: missing"));
        assert_eq!(entry.file, *id, "{shown}");
        assert_eq!(entry.attributes, file.attributes, "{shown}");
        if entry.attributes.kind == Kind::Regular {
            content_is(store, *id, at, file);
        }
    }
    assert!(found.is_empty(), "at {at}: too much: {:?}", found.keys());
}

fn list(store: &SourceStore, at: u64, path: &[u8], found: &mut Vec<(Vec<u8>, TreeEntry)>) {
    let mut after: Option<Name> = None;
    loop {
        let at_sequence = SequenceNumber(at);
        let query = Query::List {
            path: path.to_vec(),
            at: at_sequence,
            after: after.clone(),
        };
        let (entries, more) = match store.answer(&query).0 {
            Answer::List { entries, more } => (entries, more),
            Answer::Failed(QueryError::NotFound) => return,
            other => panic!("{other:?}"),
        };
        after = entries.last().map(|entry| entry.name.clone());
        for entry in entries {
            let mut child = path.to_vec();
            if !child.is_empty() {
                child.push(b'/');
            }
            child.extend_from_slice(entry.name.as_bytes());
            let directory = entry.attributes.kind == Kind::Directory;
            found.push((child.clone(), entry));
            if directory {
                list(store, at, &child, found);
            }
        }
        if !more {
            return;
        }
    }
}

/// History shows the model's content of a file at a moment.
pub(crate) fn content_is(store: &SourceStore, file: FileId, at: u64, model: &File) {
    let shown = format!("file {} at {at}", file.0);
    same_bytes(&content(store, file, at, model), &model.content, &shown);
}

fn content(store: &SourceStore, file: FileId, at: u64, model: &File) -> Vec<u8> {
    let mut content = vec![0; model.content.len()];
    let mut offset = 0;
    loop {
        let query = Query::Read {
            file,
            at: SequenceNumber(at),
            offset,
        };
        let (answer, payload) = store.answer(&query);
        let Answer::Read { extents, end, size } = answer else {
            panic!("{answer:?}")
        };
        assert_eq!(size, model.content.len() as u64);
        let mut from = 0;
        for extent in extents {
            let to = extent.offset as usize..extent.offset as usize + extent.length as usize;
            content[to].copy_from_slice(&payload[from..from + extent.length as usize]);
            from += extent.length as usize;
        }
        if end >= size {
            return content;
        }
        assert!(end > offset, "an answer brings us further");
        offset = end;
    }
}

fn same_bytes(found: &[u8], expected: &[u8], shown: &str) {
    assert_eq!(found.len(), expected.len(), "{shown}: size");
    if found == expected {
        return;
    }
    let differs = found.iter().zip(expected).position(|(a, b)| a != b);
    panic!("{shown}: differs from byte {differs:?} on");
}

/// Every command made sense to the store.
pub(crate) fn nothing_refused(source: &Path) {
    let catalog = Catalog::open_reader(&source.join("catalog.db")).unwrap();
    let refused = catalog.read().unwrap().refused(10).unwrap();
    assert!(refused.is_empty(), "{refused:?}");
}

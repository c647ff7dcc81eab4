//! Restores from a history in memory, which is taken from real directories.

use std::collections::BTreeMap;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, symlink};
use std::path::Path;

use everwrite_protocol::ids::{FileId, Name, SequenceNumber, Timestamp};
use everwrite_protocol::wire::{
    Answer, At, ContentExtent, CutKind, Kind, Point, Query, QueryError, TreeEntry,
};
use tempfile::TempDir;

use super::place::Places;
use super::*;
use crate::mirror::{Node, read_attributes};

/// Path at the receiver → entry and content.
type Tree = BTreeMap<Vec<u8>, (TreeEntry, Vec<u8>)>;

/// Recovery points 1, 2, …
#[derive(Default)]
struct Memory(Vec<Tree>);

impl Memory {
    /// Adds a recovery point: root `r` as `directory` is now.
    fn remember(&mut self, directory: &Path) {
        let mut tree = Tree::new();
        capture(directory, b"r", &mut tree);
        self.0.push(tree);
    }

    fn tree(&self, at: SequenceNumber) -> Result<&Tree, HistoryError> {
        self.0
            .get(at.0 as usize - 1)
            .ok_or(HistoryError::Failed(QueryError::TooEarly))
    }
}

fn capture(path: &Path, name: &[u8], tree: &mut Tree) {
    let (above, last) = (path.parent().unwrap(), path.file_name().unwrap());
    let place = Places::below(above).unwrap().find(last.as_bytes()).unwrap();
    let target = std::fs::read_link(path).map(|target| target.as_os_str().as_bytes().to_vec());
    let node = place.node().unwrap();
    let attributes = read_attributes(Node::Path(node.as_fd()), target.unwrap_or_default()).unwrap();
    let content = match attributes.kind {
        Kind::Regular => std::fs::read(path).unwrap(),
        _ => Vec::new(),
    };
    let kind = attributes.kind;
    let last = name.rsplit(|byte| *byte == b'/').next().unwrap();
    let entry = TreeEntry {
        file: FileId(path.symlink_metadata().unwrap().ino()),
        parent: FileId::TOP,
        name: Name::new(last).unwrap(),
        attributes,
        changed: SequenceNumber(1),
    };
    tree.insert(name.to_vec(), (entry, content));
    if kind == Kind::Directory {
        for entry in std::fs::read_dir(path).unwrap() {
            let entry = entry.unwrap();
            capture(
                &entry.path(),
                &[name, entry.file_name().as_bytes()].join(&b'/'),
                tree,
            );
        }
    }
}

impl History for Memory {
    fn ask(&self, query: Query) -> Result<(Answer, Vec<u8>), HistoryError> {
        let newest = SequenceNumber(self.0.len() as u64);
        Ok(match query {
            Query::Resolve { at } => {
                let sequence = match at {
                    At::Sequence(sequence) => sequence,
                    _ => newest,
                };
                let (time, kind) = (Timestamp(0), CutKind::Fuzzy);
                let point = Point {
                    sequence,
                    time,
                    stored: time,
                    kind,
                    checkpoint: None,
                };
                (Answer::Resolved(point), vec![])
            }
            Query::Stat { path, at } => {
                let found = self.tree(at)?.get(&path).ok_or(QueryError::NotFound)?;
                (Answer::Stat(found.0.clone()), vec![])
            }
            Query::List { path, at, after } => {
                let below = |full: &[u8]| {
                    let rest = full.strip_prefix(path.as_slice())?.strip_prefix(b"/")?;
                    (!rest.contains(&b'/')).then(|| rest.to_vec())
                };
                let tree = self.tree(at)?;
                let names = tree.iter().filter(|(full, _)| {
                    below(full).is_some_and(|name| {
                        after
                            .as_ref()
                            .is_none_or(|after| name.as_slice() > after.as_bytes())
                    })
                });
                // Pages of two, so that paging is always under test.
                let entries: Vec<_> = names.map(|(_, (entry, _))| entry.clone()).take(2).collect();
                let more = entries.len() == 2;
                (Answer::List { entries, more }, vec![])
            }
            Query::Read { file, at, offset } => read(self.tree(at)?, file, offset)?,
            _ => return Err(HistoryError::Nonsense),
        })
    }
}

/// Pieces of 100 kB, in which long runs of zeros are holes.
fn read(tree: &Tree, file: FileId, offset: u64) -> Result<(Answer, Vec<u8>), HistoryError> {
    let found = tree
        .values()
        .find(|(entry, _)| entry.file == file)
        .ok_or(QueryError::NotFound)?;
    let size = found.1.len() as u64;
    let end = size.min(offset + 100_000);
    let (mut extents, mut payload) = (Vec::new(), Vec::new());
    let mut at = offset;
    while at < end {
        let next = end.min((at / 4096 + 1) * 4096);
        let block = &found.1[at as usize..next as usize];
        if block.iter().any(|byte| *byte != 0) {
            extents.push(ContentExtent {
                offset: at,
                length: block.len() as u32,
            });
            payload.extend_from_slice(block);
        }
        at = next;
    }
    Ok((Answer::Read { extents, end, size }, payload))
}

struct World {
    directory: TempDir,
    history: Memory,
}

impl World {
    /// A root `r` with one of each, remembered as point 1.
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().join("r");
        std::fs::create_dir_all(root.join("d/e")).unwrap();
        std::fs::write(
            root.join("d/file"),
            (0..250_000u32).map(|at| at as u8).collect::<Vec<_>>(),
        )
        .unwrap();
        // Long ago, so that no file of a restore has this time by chance.
        let file = std::fs::File::options()
            .write(true)
            .open(root.join("d/file"))
            .unwrap();
        file.set_modified(std::time::UNIX_EPOCH).unwrap();
        std::fs::hard_link(root.join("d/file"), root.join("linked")).unwrap();
        symlink("nowhere", root.join("d/e/link")).unwrap();
        let sparse = std::fs::File::create(root.join("sparse")).unwrap();
        sparse.set_len(1 << 20).unwrap();
        sparse.write_all_at(b"end", (1 << 20) - 3).unwrap();
        std::fs::write(
            root.join(std::ffi::OsStr::from_bytes(b"odd\xff\nname")),
            "odd",
        )
        .unwrap();
        std::fs::set_permissions(root.join("d"), PermissionsExt::from_mode(0o555)).unwrap();
        rustix::fs::mknodat(
            rustix::fs::CWD,
            root.join("pipe"),
            rustix::fs::FileType::Fifo,
            0o640.into(),
            0,
        )
        .unwrap();
        let mut world = Self {
            directory,
            history: Memory::default(),
        };
        world.history.remember(&world.root());
        world
    }

    fn root(&self) -> std::path::PathBuf {
        self.directory.path().join("r")
    }

    fn to(&self) -> std::path::PathBuf {
        self.directory.path().join("to")
    }

    fn restore(&self, path: &str, to: Destination) -> Result<Report, RestoreError> {
        let request = RestoreRequest {
            path: path.as_bytes().to_vec(),
            at: At::Sequence(SequenceNumber(1)),
            to,
        };
        let plan = RestorePlan::make(&self.history, &request)?;
        carry_out(&plan, &self.history, &mut |_| {})
    }

    fn in_place(&self, delete: bool) -> Destination {
        Destination::InPlace {
            root: self.root(),
            delete,
        }
    }

    /// Panics unless `directory` is as the root was at point 1.
    #[track_caller]
    fn assert_as_it_was(&self, directory: &Path) {
        let mut tree = Tree::new();
        capture(directory, b"r", &mut tree);
        let files = |tree: &Tree| {
            let links: Vec<_> = tree.values().map(|(entry, _)| entry.file).collect();
            let count = |file| links.iter().filter(|other| **other == file).count();
            tree.iter()
                .map(|(path, (entry, content))| {
                    (
                        path.clone(),
                        entry.attributes.clone(),
                        content.clone(),
                        count(entry.file),
                    )
                })
                .collect::<Vec<_>>()
        };
        for (found, expected) in files(&tree).into_iter().zip(files(&self.history.0[0])) {
            assert!(
                found == expected,
                "{:?}\n{:?}",
                (found.0, found.1),
                (expected.0, expected.1)
            );
        }
        assert_eq!(tree.len(), self.history.0[0].len());
    }
}

#[test]
fn a_tree_comes_back_with_everything() {
    let world = World::new();
    let report = world.restore("r", Destination::Into(world.to())).unwrap();
    assert_eq!(report.unset, []);
    world.assert_as_it_was(&world.to().join("r"));
    let sparse = world.to().join("r/sparse").metadata().unwrap();
    assert!(sparse.blocks() * 512 < 1 << 19, "holes are holes");
    assert_eq!(
        std::fs::read_dir(world.to()).unwrap().count(),
        1,
        "no mark is left"
    );
}

#[test]
fn a_file_comes_back_under_its_own_name() {
    let world = World::new();
    world
        .restore("r/d/file", Destination::Into(world.to()))
        .unwrap();
    assert_eq!(
        std::fs::read(world.to().join("file")).unwrap().len(),
        250_000
    );
    let missing = world.restore("r/none", Destination::Into(world.to()));
    assert!(
        matches!(missing, Err(RestoreError::NotStored { .. })),
        "{missing:?}"
    );
}

#[test]
fn what_is_there_is_not_overwritten() {
    let world = World::new();
    std::fs::create_dir_all(world.to()).unwrap();
    std::fs::write(world.to().join("linked"), "mine").unwrap();
    let refused = world.restore("r/linked", Destination::Into(world.to()));
    assert!(
        matches!(refused, Err(RestoreError::InTheWay { .. })),
        "{refused:?}"
    );
    assert_eq!(std::fs::read(world.to().join("linked")).unwrap(), b"mine");
}

#[test]
fn one_that_was_broken_off_goes_on() {
    let world = World::new();
    let request = RestoreRequest {
        path: b"r".to_vec(),
        at: At::Newest,
        to: Destination::Into(world.to()),
    };
    let asked = std::cell::Cell::new(0);
    for patience in 1.. {
        struct Impatient<'h>(&'h Memory, &'h std::cell::Cell<u32>, u32);
        impl History for Impatient<'_> {
            fn ask(&self, query: Query) -> Result<(Answer, Vec<u8>), HistoryError> {
                if matches!(query, Query::Read { .. }) {
                    self.1.set(self.1.get() + 1);
                    if self.1.get() > self.2 {
                        return Err(HistoryError::Unreachable("cut".to_owned()));
                    }
                }
                self.0.ask(query)
            }
        }
        asked.set(0);
        let history = Impatient(&world.history, &asked, patience);
        let plan = RestorePlan::make(&history, &request).unwrap();
        match carry_out(&plan, &history, &mut |_| {}) {
            Ok(_) => break,
            Err(error) => assert!(matches!(error, RestoreError::History(_)), "{error:?}"),
        }
    }
    world.assert_as_it_was(&world.to().join("r"));
    let other = world.restore("r/linked", Destination::Into(world.to().join("r")));
    assert!(
        matches!(other, Err(RestoreError::InTheWay { .. })),
        "{other:?}"
    );
}

#[test]
fn another_restore_is_not_mistaken_for_the_one_broken_off() {
    let mut world = World::new();
    world.history.remember(&world.root());
    let plan = |at| {
        let at = At::Sequence(SequenceNumber(at));
        let to = Destination::Into(world.to());
        RestorePlan::make(
            &world.history,
            &RestoreRequest {
                path: b"r".to_vec(),
                at,
                to,
            },
        )
    };
    std::fs::create_dir_all(world.to()).unwrap();
    plan(1).unwrap().marker.unwrap().set().unwrap();
    assert!(matches!(plan(2), Err(RestoreError::Unfinished { .. })));
    assert!(plan(1).is_ok());
}

#[test]
fn in_place_only_what_differs_is_written() {
    let world = World::new();
    let root = world.root();
    let file = std::fs::OpenOptions::new()
        .write(true)
        .open(root.join("d/file"))
        .unwrap();
    file.write_all_at(b"XX", 100_000).unwrap();
    std::fs::remove_file(root.join("sparse")).unwrap();
    std::fs::remove_file(root.join("pipe")).unwrap();
    std::fs::create_dir(root.join("pipe")).unwrap();
    symlink("/", root.join("new")).unwrap();
    let refused = world.restore("r", world.in_place(false));
    assert!(
        matches!(refused, Err(RestoreError::InTheWay { .. })),
        "a directory in the way"
    );
    std::fs::remove_dir(root.join("pipe")).unwrap();
    let report = world.restore("r", world.in_place(false)).unwrap();
    assert!(report.bytes_written < 20_000, "{report:?}");
    assert!(root.join("new").is_symlink(), "what is not stored is kept");
    std::fs::remove_file(root.join("new")).unwrap();
    world.restore("r", world.in_place(false)).unwrap();
    world.assert_as_it_was(&root);
    let again = world.restore("r", world.in_place(false)).unwrap();
    assert_eq!(
        (again.bytes_written, again.changed),
        (0, vec![]),
        "nothing is touched for nothing"
    );
}

#[test]
fn in_place_what_was_not_there_goes_when_told() {
    let mut world = World::new();
    let root = world.root();
    std::fs::create_dir_all(root.join("new/deep")).unwrap();
    std::fs::write(root.join("new/deep/stored"), "").unwrap();
    world.history.remember(&root);
    std::fs::write(root.join("unstored"), "").unwrap();
    world.restore("r", world.in_place(false)).unwrap();
    assert!(root.join("new/deep/stored").exists());
    world.restore("r", world.in_place(true)).unwrap();
    assert!(!root.join("new").exists());
    assert!(root.join("unstored").exists());
    std::fs::remove_file(root.join("unstored")).unwrap();
    world.restore("r", world.in_place(true)).unwrap();
    world.assert_as_it_was(&root);
}

#[test]
fn in_place_a_directory_that_is_gone_is_made_again() {
    let world = World::new();
    let root = world.root();
    std::fs::set_permissions(root.join("d"), PermissionsExt::from_mode(0o755)).unwrap();
    std::fs::remove_dir_all(root.join("d")).unwrap();
    symlink(world.directory.path(), root.join("d")).unwrap();
    world.restore("r/d/e/link", world.in_place(false)).unwrap();
    assert!(root.join("d/e/link").is_symlink());
    assert!(root.join("d").symlink_metadata().unwrap().is_dir());
    assert!(
        !world.directory.path().join("e").exists(),
        "no link was followed"
    );
}

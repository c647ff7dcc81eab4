use everwrite_protocol::ids::{Name, Timestamp};
use everwrite_protocol::local::Inode;
use everwrite_protocol::wire::{Attributes, Kind, TreeEntry};

use super::*;

fn name(text: &str) -> Name {
    Name::new(text.as_bytes()).unwrap()
}

fn row(id: FileId, inode: u64) -> FileRow {
    FileRow {
        id,
        inode: Inode { device: 7, inode },
        birth: 100 + inode,
        kind: Kind::Regular,
        size: 10,
        modified: Timestamp(1),
        changed: Timestamp(2),
        digest: [3; 16],
        staged: false,
    }
}

struct Bench {
    index: Index,
    _directory: tempfile::TempDir,
}

impl Bench {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let index = Index::open(&directory.path().join("index.db")).unwrap();
        Self {
            index,
            _directory: directory,
        }
    }

    /// One batch; gives its number.
    fn batch(&mut self, change: impl FnOnce(&mut Index, SequenceNumber)) -> SequenceNumber {
        let sequence = self.index.begin().unwrap();
        change(&mut self.index, sequence);
        self.index.commit(sequence).unwrap();
        sequence
    }

    fn add(&mut self, parent: FileId, text: &str, inode: u64) -> FileId {
        let mut file = FileId::TOP;
        self.batch(|index, sequence| {
            file = index.new_file();
            index.put_file(&row(file, inode), sequence).unwrap();
            index.attach(parent, &name(text), file, sequence).unwrap();
        });
        file
    }
}

#[test]
fn files_below_a_directory_are_counted_once_and_directories_not() {
    let mut bench = Bench::new();
    let root = bench.add(FileId::TOP, "root", 1);
    let (beside, below) = (bench.add(FileId::TOP, "beside", 2), bench.add(root, "d", 3));
    let file = bench.add(below, "file", 4);
    bench.add(root, "other", 5);
    bench.add(beside, "elsewhere", 6);
    bench.batch(|index, sequence| {
        let directory = FileRow {
            kind: Kind::Directory,
            ..row(below, 3)
        };
        index.put_file(&directory, sequence).unwrap();
        index.attach(root, &name("link"), file, sequence).unwrap();
    });
    assert_eq!(bench.index.files_below(root).unwrap(), 2);
    assert_eq!(bench.index.files_below(file).unwrap(), 0);
}

#[test]
fn the_way_to_a_file_begins_at_its_root() {
    let mut bench = Bench::new();
    let root = bench.add(FileId::TOP, "home", 1);
    let directory = bench.add(root, "a", 2);
    let file = bench.add(directory, "b", 3);
    let way = bench.index.way_to(file).unwrap();
    assert_eq!(way, Some((root, vec![name("a"), name("b")])));
    assert_eq!(bench.index.way_to(FileId(99)).unwrap(), None);
}

#[test]
fn a_reused_inode_number_is_another_file() {
    let mut bench = Bench::new();
    let file = bench.add(FileId::TOP, "r", 5);
    let found = |birth| bench.index.by_inode(7, 5, birth).unwrap().map(|row| row.id);
    assert_eq!(found(105), Some(file));
    assert_eq!(found(0), Some(file));
    assert_eq!(found(106), None);
}

#[test]
fn an_abandoned_batch_leaves_nothing_but_used_ids() {
    let mut bench = Bench::new();
    let sequence = bench.index.begin().unwrap();
    let file = bench.index.new_file();
    bench.index.put_file(&row(file, 1), sequence).unwrap();
    bench.index.abandon().unwrap();
    assert_eq!(bench.index.file(file).unwrap(), None);
    assert_eq!(bench.index.sent().unwrap(), SequenceNumber(0));
    assert_ne!(bench.index.new_file(), file);
}

#[test]
fn what_was_not_stored_is_taken_back() {
    let mut bench = Bench::new();
    let root = bench.add(FileId::TOP, "r", 1);
    let kept = bench.add(root, "kept", 2);
    let renamed = bench.add(root, "old", 3);
    let removed = bench.add(root, "removed", 4);
    let stored = bench.index.sent().unwrap();
    bench.index.mark_stored(stored).unwrap();

    let added = bench.add(root, "added", 5);
    bench.batch(|index, sequence| {
        index.detach(root, &name("old"), sequence).unwrap();
        index.attach(root, &name("new"), renamed, sequence).unwrap();
        index.detach(root, &name("removed"), sequence).unwrap();
        index.remove_file(removed, sequence).unwrap();
        let grown = FileRow {
            size: 99,
            ..row(kept, 2)
        };
        index.put_file(&grown, sequence).unwrap();
    });
    bench.index.roll_back(stored).unwrap();

    assert_eq!(bench.index.sent().unwrap(), stored);
    let names: Vec<_> = bench
        .index
        .children(root)
        .unwrap()
        .into_iter()
        .map(|(name, _)| name)
        .collect();
    assert_eq!(names, [name("kept"), name("old"), name("removed")]);
    assert_eq!(bench.index.file(added).unwrap(), None);
    assert_eq!(bench.index.file(removed).unwrap(), Some(row(removed, 4)));
    assert!(bench.index.file(kept).unwrap().unwrap().is_suspect());
    assert!(!bench.index.file(renamed).unwrap().unwrap().is_suspect());
}

#[test]
fn a_file_made_and_removed_since_leaves_no_trace() {
    let mut bench = Bench::new();
    let root = bench.add(FileId::TOP, "r", 1);
    let stored = bench.index.sent().unwrap();
    bench.index.mark_stored(stored).unwrap();
    let brief = bench.add(root, "brief", 2);
    bench.batch(|index, sequence| {
        index.detach(root, &name("brief"), sequence).unwrap();
        index.remove_file(brief, sequence).unwrap();
    });
    bench.index.roll_back(stored).unwrap();
    assert_eq!(bench.index.file(brief).unwrap(), None);
    assert!(bench.index.children(root).unwrap().is_empty());
}

const BOOT: u64 = 7;

#[test]
fn only_what_changed_since_it_settled_is_suspect() {
    let mut bench = Bench::new();
    bench.index.suspect_recent(BOOT).unwrap();
    let early = bench.add(FileId::TOP, "early", 1);
    let settled = bench.index.sent().unwrap();
    bench.index.mark_settled(settled).unwrap();
    let late = bench.add(FileId::TOP, "late", 2);
    bench.index.suspect_recent(BOOT).unwrap();
    assert!(!bench.index.file(early).unwrap().unwrap().is_suspect());
    assert!(bench.index.file(late).unwrap().unwrap().is_suspect());
}

#[test]
fn after_another_boot_what_the_disk_may_not_have_written_is_suspect() {
    let mut bench = Bench::new();
    bench.index.suspect_recent(BOOT).unwrap();
    let written = bench.add(FileId::TOP, "written", 1);
    let on_disk = bench.index.sent().unwrap();
    bench.index.mark_on_disk(on_disk).unwrap();
    let settled = bench.add(FileId::TOP, "settled", 2);
    let sent = bench.index.sent().unwrap();
    bench.index.mark_settled(sent).unwrap();
    bench.index.suspect_recent(BOOT).unwrap();
    assert!(!bench.index.file(settled).unwrap().unwrap().is_suspect());
    bench.index.suspect_recent(BOOT + 1).unwrap();
    assert!(!bench.index.file(written).unwrap().unwrap().is_suspect());
    assert!(bench.index.file(settled).unwrap().unwrap().is_suspect());
}

fn entry(file: u64, parent: u64, text: &str, kind: Kind) -> TreeEntry {
    let attributes = Attributes {
        kind,
        mode: 0o700,
        uid: 0,
        gid: 0,
        user: None,
        group: None,
        modified: Timestamp(0),
        size: 0,
        device_number: 0,
        target: Vec::new(),
        xattrs: Vec::new(),
    };
    TreeEntry {
        file: FileId(file),
        parent: FileId(parent),
        name: name(text),
        attributes,
        changed: SequenceNumber(1),
    }
}

/// Fills an index from a receiver's tree, or tells why not; a tree that is refused changes nothing.
fn rebuilt(entries: &[TreeEntry], highest: u64) -> Result<Bench> {
    let mut bench = Bench::new();
    bench.index.begin_rebuild()?;
    let filled = entries
        .iter()
        .try_for_each(|entry| bench.index.rebuild_entry(entry))
        .and_then(|()| {
            bench
                .index
                .finish_rebuild(SequenceNumber(9), FileId(highest))
        });
    if filled.is_err() {
        bench.index.abandon()?;
        assert_eq!(bench.index.files()?, 0);
    }
    filled.map(|()| bench)
}

#[test]
fn files_of_a_rebuilt_index_are_told_apart() {
    let tree = [
        entry(1, 0, "root", Kind::Directory),
        entry(2, 1, "a", Kind::Directory),
        entry(3, 2, "b", Kind::Regular),
        entry(3, 1, "link", Kind::Regular),
    ];
    let mut bench = rebuilt(&tree, 7).unwrap();
    for id in 1..=3 {
        let row = bench.index.file(FileId(id)).unwrap().unwrap();
        assert!(!row.is_bound());
        let inode = row.inode;
        let found = bench.index.by_inode(inode.device, inode.inode, 0);
        assert_eq!(found.unwrap().unwrap().id, FileId(id));
    }
    assert_eq!(bench.index.sent().unwrap(), SequenceNumber(9));
    assert_eq!(bench.index.new_file(), FileId(8));
}

#[test]
fn what_is_no_tree_is_refused() {
    let root = || entry(1, 0, "root", Kind::Directory);
    let below = |file, parent| entry(file, parent, "x", Kind::Directory);
    let refused = [
        (vec![root(), below(2, 3), below(3, 2)], 3),
        (vec![root(), below(2, 1), below(1, 2)], 3),
        (vec![root(), below(2, 9)], 3),
        (vec![root(), below(5, 1)], 4),
        (vec![root(), below(0, 1)], 4),
        (vec![root(), below(u64::MAX, 1)], 4),
        (vec![root()], u64::MAX),
        (vec![root()], i64::MAX as u64),
        (vec![entry(1, 0, "file", Kind::Regular), below(2, 1)], 2),
        (vec![root(), root()], 2),
    ];
    for (at, (entries, highest)) in refused.iter().enumerate() {
        assert!(rebuilt(entries, *highest).is_err(), "{at}");
    }
}

#[test]
fn marks_of_batches_that_were_taken_back_go_with_them() {
    let mut bench = Bench::new();
    bench.add(FileId::TOP, "a", 1);
    let second = bench.add(FileId::TOP, "b", 2);
    bench.index.mark_settled(SequenceNumber(2)).unwrap();
    bench.index.roll_back(SequenceNumber(1)).unwrap();
    assert!(bench.index.file(second).unwrap().is_none());
    // Another batch gets the number 2, and nothing of it is settled.
    let third = bench.add(FileId::TOP, "c", 3);
    bench.index.set_meta(crate::index::BOOT, BOOT).unwrap();
    bench.index.suspect_recent(BOOT).unwrap();
    let row = bench.index.file(third).unwrap().unwrap();
    assert_eq!(row.changed, SUSPECT);
}

use everwrite_protocol::ids::{Name, Timestamp};
use everwrite_protocol::local::Inode;
use everwrite_protocol::wire::Kind;

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

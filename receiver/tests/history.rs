//! What people are told about the past: versions of a path, deleted files, recovery points; and what a
//! source is told about the present.

mod support;

use everwrite_protocol::ids::{FileId, Name, SequenceNumber, Timestamp};
use everwrite_protocol::wire::{
    Answer, At, Attributes, BackupCommand, Cut, Kind, Query, QueryError, VersionChange,
};
use everwrite_receiver::store::SourceStore;
use support::{Batch, catch_up, cut, open, scratch, send, send_parts};

const ROOT: FileId = FileId(1);

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

fn attributes(kind: Kind, size: usize) -> Attributes {
    Attributes {
        kind,
        mode: 0o755,
        uid: 0,
        gid: 0,
        user: None,
        group: None,
        modified: Timestamp(5),
        size: size as u64,
        device_number: 0,
        target: Vec::new(),
        xattrs: Vec::new(),
    }
}

/// A store and the batches that it gets, written as short as they are meant.
struct Story {
    store: std::sync::Arc<SourceStore>,
    batch: Batch,
    sequence: u64,
    directory: tempfile::TempDir,
}

impl Story {
    fn new() -> Self {
        let directory = scratch();
        let store = open(directory.path());
        let mut story = Self {
            store,
            batch: Batch::default(),
            sequence: 0,
            directory,
        };
        story.make(Kind::Directory, FileId::TOP, "root", ROOT, b"");
        story.cut();
        story
    }

    fn make(&mut self, kind: Kind, parent: FileId, called: &str, file: FileId, content: &[u8]) {
        let attributes = attributes(kind, content.len());
        self.batch.push(BackupCommand::Create {
            file,
            attributes,
            origin: 0,
        });
        self.write(file, 0, content);
        self.attach(parent, called, file);
    }

    fn write(&mut self, file: FileId, offset: u64, content: &[u8]) {
        if content.is_empty() {
            return;
        }
        let payload = &mut self.batch.part().1;
        let payload_offset = payload.len() as u32;
        payload.extend_from_slice(content);
        let length = content.len() as u32;
        self.batch.push(BackupCommand::Write {
            file,
            offset,
            length,
            payload_offset,
            origin: 0,
        });
    }

    fn attach(&mut self, parent: FileId, called: &str, file: FileId) {
        self.batch.push(BackupCommand::Attach {
            parent,
            name: name(called),
            file,
            origin: 0,
        });
    }

    fn detach(&mut self, parent: FileId, called: &str) {
        self.batch.push(BackupCommand::Detach {
            parent,
            name: name(called),
            origin: 0,
        });
    }

    /// Ends the batch and waits for it.
    fn cut(&mut self) -> SequenceNumber {
        self.sequence += 1;
        send(&self.store, self.sequence, &std::mem::take(&mut self.batch));
        catch_up(&self.store, self.sequence);
        SequenceNumber(self.sequence)
    }

    fn checkpoint(&mut self, checkpoint: &str) {
        self.sequence += 1;
        let batch = std::mem::take(&mut self.batch);
        send_parts(&self.store, self.sequence, &batch);
        let cut = cut(self.sequence, batch.parts.len());
        self.store
            .commit(Cut {
                checkpoint: Some(checkpoint.to_owned()),
                ..cut
            })
            .unwrap();
        catch_up(&self.store, self.sequence);
    }

    fn log(&self, path: &str) -> Vec<(String, u64, VersionChange)> {
        let query = Query::Log {
            path: path.as_bytes().to_vec(),
            before: None,
            limit: 100,
        };
        match self.store.answer(&query).0 {
            Answer::Log(entries) => entries
                .into_iter()
                .map(|e| (String::from_utf8(e.path).unwrap(), e.sequence.0, e.change))
                .collect(),
            other => panic!("{other:?}"),
        }
    }

    fn deleted(&self, path: &str) -> Vec<(String, u64, u64)> {
        let query = Query::Deleted {
            path: path.as_bytes().to_vec(),
            limit: 100,
        };
        match self.store.answer(&query).0 {
            Answer::Deleted(entries) => entries
                .into_iter()
                .map(|e| (String::from_utf8(e.path).unwrap(), e.sequence.0, e.size))
                .collect(),
            other => panic!("{other:?}"),
        }
    }

    fn resolve(&self, at: At) -> Result<u64, QueryError> {
        match self.store.answer(&Query::Resolve { at }).0 {
            Answer::Resolved(point) => Ok(point.sequence.0),
            Answer::Failed(error) => Err(error),
            other => panic!("{other:?}"),
        }
    }
}

fn at(path: &str, sequence: u64, change: VersionChange) -> (String, u64, VersionChange) {
    (path.to_owned(), sequence, change)
}

#[test]
fn versions_of_a_file_follow_its_name() {
    use VersionChange::*;
    let mut story = Story::new();
    story.make(Kind::Regular, ROOT, "a", FileId(2), b"one");
    story.cut();
    story.write(FileId(2), 3, b" two");
    story.cut();
    // An atomic save: another file takes the name.
    story.make(Kind::Regular, ROOT, "a", FileId(3), b"three");
    story.detach(ROOT, "a");
    story.cut();
    story.detach(ROOT, "a");
    story.attach(ROOT, "b", FileId(3));
    story.cut();
    story.detach(ROOT, "b");
    story.cut();
    let a_to_b = RenamedTo {
        path: b"root/b".to_vec(),
    };
    let expected = [
        at("root/a", 5, a_to_b.clone()),
        at("root/a", 4, Replaced),
        at("root/a", 3, Modified { bytes: 4 }),
        at("root/a", 2, Created),
    ];
    assert_eq!(story.log("root/a"), expected);
    let b_from_a = RenamedFrom {
        path: b"root/a".to_vec(),
    };
    let expected = [at("root/b", 6, Deleted), at("root/b", 5, b_from_a.clone())];
    assert_eq!(story.log("root/b"), expected);
    let everything = [
        at("root/b", 6, Deleted),
        at("root/b", 5, b_from_a),
        at("root/a", 5, a_to_b),
        at("root/a", 4, Replaced),
        at("root/a", 3, Modified { bytes: 4 }),
        at("root/a", 2, Created),
        at("root", 1, Created),
    ];
    assert_eq!(story.log("root"), everything);
    assert_eq!(story.log(""), everything);
    let query = Query::Log {
        path: b"root/never".to_vec(),
        before: None,
        limit: 10,
    };
    assert_eq!(
        story.store.answer(&query).0,
        Answer::Failed(QueryError::NotFound)
    );
}

#[test]
fn files_of_a_deleted_tree_are_told_one_by_one() {
    let mut story = Story::new();
    story.make(Kind::Directory, ROOT, "d", FileId(2), b"");
    story.make(Kind::Regular, FileId(2), "x", FileId(3), b"123");
    story.make(Kind::Directory, FileId(2), "e", FileId(4), b"");
    story.make(Kind::Regular, FileId(4), "y", FileId(5), b"12345");
    story.make(Kind::Regular, ROOT, "z", FileId(6), b"1");
    story.cut();
    story.detach(ROOT, "d");
    story.cut();
    story.detach(ROOT, "z");
    story.cut();
    let mut deleted = story.deleted("root");
    deleted.sort();
    let expected = [
        ("root/d/e/y".to_owned(), 3, 5),
        ("root/d/x".to_owned(), 3, 3),
        ("root/z".to_owned(), 4, 1),
    ];
    assert_eq!(deleted, expected);
    assert_eq!(story.deleted("root/d/e"), expected[..1]);
    story.make(Kind::Regular, ROOT, "z", FileId(7), b"back");
    story.cut();
    assert_eq!(
        story.deleted("root").len(),
        2,
        "what is there again is not deleted"
    );
}

#[test]
fn moments_are_found() {
    let mut story = Story::new();
    story.checkpoint("before upgrade");
    story.cut();
    assert_eq!(story.resolve(At::Newest), Ok(3));
    assert_eq!(story.resolve(At::Sequence(SequenceNumber(2))), Ok(2));
    assert_eq!(
        story.resolve(At::Sequence(SequenceNumber(9))),
        Err(QueryError::NotFound)
    );
    assert_eq!(
        story.resolve(At::Checkpoint("before upgrade".into())),
        Ok(2)
    );
    assert_eq!(
        story.resolve(At::Checkpoint("x".into())),
        Err(QueryError::UnknownCheckpoint)
    );
    assert_eq!(story.resolve(At::Time(Timestamp(2_500_000_000))), Ok(2));
    assert_eq!(story.resolve(At::Time(Timestamp(3_000_000_000))), Ok(3));
    assert_eq!(
        story.resolve(At::Time(Timestamp(1))),
        Err(QueryError::TooEarly)
    );
    let query = Query::Points {
        before: Some(SequenceNumber(3)),
        limit: 10,
    };
    let Answer::Points(points) = story.store.answer(&query).0 else {
        panic!()
    };
    let told: Vec<_> = points
        .iter()
        .map(|p| (p.sequence.0, p.checkpoint.as_deref()))
        .collect();
    assert_eq!(told, [(2, Some("before upgrade")), (1, None)]);
}

#[test]
fn digests_and_signatures_are_of_the_mirror() {
    let mut story = Story::new();
    let content: Vec<u8> = (0..200_000u32).map(|i| ((i * 7) >> 3) as u8).collect();
    story.make(Kind::Regular, ROOT, "a", FileId(2), &content);
    let after = story.cut();
    let (file, block) = (FileId(2), 65_536);
    let query = Query::Digests {
        file,
        offset: 65_536,
        length: 1 << 30,
        block,
        after,
    };
    let (answer, payload) = story.store.answer(&query);
    assert_eq!(
        answer,
        Answer::Digests {
            size: 200_000,
            blocks: 3
        }
    );
    let expected: Vec<u8> = content[65_536..]
        .chunks(65_536)
        .flat_map(|block| blake3::hash(block).as_bytes()[..16].to_vec())
        .collect();
    assert_eq!(payload, expected);
    let digest = *blake3::hash(&content).as_bytes();
    let (answer, _) = story.store.answer(&Query::WholeDigest { file, after });
    assert_eq!(
        answer,
        Answer::WholeDigest {
            digest,
            size: 200_000
        }
    );
    let query = Query::Signature {
        file,
        offset: 0,
        length: 100_000,
        block: 2048,
        after,
    };
    let (answer, payload) = story.store.answer(&query);
    assert_eq!(answer, Answer::Signature);
    let signature = fast_rsync::Signature::deserialize(payload).unwrap();
    let mut delta = Vec::new();
    fast_rsync::diff(&signature.index(), &content[..100_000], &mut delta).unwrap();
    assert!(
        delta.len() < 4096,
        "the same content needs no bytes: {}",
        delta.len()
    );
    let ahead = SequenceNumber(after.0 + 1);
    let query = Query::WholeDigest {
        file: FileId(77),
        after: ahead,
    };
    assert_eq!(
        story.store.answer(&query).0,
        Answer::Failed(QueryError::NotFound)
    );
}

#[test]
fn the_whole_tree_comes_in_pages() {
    let mut story = Story::new();
    let mut expected = vec![(FileId::TOP, "root".to_owned(), ROOT)];
    for directory in 0..5u64 {
        let parent = FileId(10_000 + directory);
        story.make(Kind::Directory, ROOT, &format!("d{directory}"), parent, b"");
        expected.push((ROOT, format!("d{directory}"), parent));
        for file in 0..700 {
            let (called, id) = (format!("f{file}"), FileId(20_000 + directory * 1000 + file));
            story.make(Kind::Regular, parent, &called, id, b"");
            expected.push((parent, called, id));
        }
        story.cut();
    }
    story.detach(ROOT, "d3");
    story.cut();
    expected.retain(|(parent, _, file)| parent.0 != 10_003 && file.0 != 10_003);
    let (mut found, mut cursor, mut pages) = (Vec::new(), None, 0);
    loop {
        let query = Query::Tree { cursor };
        let (answer, _) = story.store.answer(&query);
        let Answer::Tree {
            entries,
            cursor: next,
            highest_file,
        } = answer
        else {
            panic!()
        };
        assert_eq!(highest_file, FileId(24_699));
        found.extend(
            entries
                .into_iter()
                .map(|e| (e.parent, e.name.to_string(), e.file)),
        );
        (cursor, pages) = (next, pages + 1);
        if cursor.is_none() {
            break;
        }
    }
    expected.sort();
    found.sort();
    assert_eq!(found, expected);
    assert_eq!(pages, 2);
}

#[test]
fn names_of_a_staged_file_and_of_a_moment_are_not_shown_early() {
    let mut story = Story::new();
    let attributes = attributes(Kind::Regular, 0);
    story.batch.push(BackupCommand::Create {
        file: FileId(2),
        attributes,
        origin: 0,
    });
    story.write(FileId(2), 0, b"piece");
    story.cut();
    let read = |at| Query::Read {
        file: FileId(2),
        at,
        offset: 0,
    };
    let early = story.store.answer(&read(SequenceNumber(2))).0;
    assert_eq!(early, Answer::Failed(QueryError::NotFound));
    story.attach(ROOT, "whole", FileId(2));
    // Given and taken within one batch: it never was.
    story.attach(ROOT, "moment", FileId(2));
    story.detach(ROOT, "moment");
    let at = story.cut();
    let (answer, payload) = story.store.answer(&read(at));
    assert!(
        matches!(
            answer,
            Answer::Read {
                end: 5,
                size: 5,
                ..
            }
        ),
        "{answer:?}"
    );
    assert_eq!(payload, b"piece");
    let list = Query::List {
        path: b"root".to_vec(),
        at,
        after: None,
    };
    let Answer::List { entries, .. } = story.store.answer(&list).0 else {
        panic!()
    };
    assert_eq!(
        entries
            .iter()
            .map(|e| e.name.to_string())
            .collect::<Vec<_>>(),
        ["whole"]
    );
}

/// Zeros that were stored as data are data; a hole punched over them is a hole.
#[test]
fn a_hole_over_zeros_takes_their_space_away() {
    use std::os::unix::fs::MetadataExt;
    let mut story = Story::new();
    let (file, zeros) = (FileId(2), vec![0; 1 << 20]);
    story.make(Kind::Regular, ROOT, "zeros", file, &zeros);
    story.cut();
    let source = story
        .directory
        .path()
        .join("src")
        .join(support::SOURCE.to_string());
    let blocks = || {
        std::fs::metadata(source.join("mirror/root/zeros"))
            .unwrap()
            .blocks()
    };
    assert!(blocks() > 0);
    story.batch.push(BackupCommand::Punch {
        file,
        offset: 0,
        length: zeros.len() as u64,
        origin: 0,
    });
    story.cut();
    assert_eq!(blocks(), 0);
}

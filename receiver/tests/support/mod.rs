//! What the tests of the store share: a slow model of a source's files, batches made from numbers,
//! and comparison of mirror and history with the model.
#![allow(dead_code, reason = "each test uses a part of it")]

pub(crate) mod child;
pub(crate) mod compare;
pub(crate) mod disk;
pub(crate) mod generate;
pub(crate) mod model;
pub(crate) mod place;
pub(crate) mod plain;
pub(crate) mod random;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use everwrite_protocol::codec;
use everwrite_protocol::ids::{SequenceNumber, SourceId, Timestamp};
use everwrite_protocol::wire::{BackupCommand, Cut, CutKind, Origin, Part};
use everwrite_receiver::store::{Settings, SourceStore, StoreEvent};

pub(crate) const SOURCE: SourceId = SourceId([7; 16]);
pub(crate) const LONG: Duration = Duration::from_secs(60);

/// A batch: parts of commands with the payload of each.
#[derive(Clone, Debug, Default)]
pub(crate) struct Batch {
    pub parts: Vec<(Vec<BackupCommand>, Vec<u8>)>,
}

impl Batch {
    pub(crate) fn commands(&self) -> impl Iterator<Item = (&BackupCommand, &[u8])> {
        self.parts
            .iter()
            .flat_map(|(commands, payload)| commands.iter().map(|c| (c, &payload[..])))
    }

    /// The current part.
    pub(crate) fn part(&mut self) -> &mut (Vec<BackupCommand>, Vec<u8>) {
        if self.parts.is_empty() {
            self.parts.push(Default::default());
        }
        self.parts.last_mut().unwrap()
    }

    pub(crate) fn push(&mut self, command: BackupCommand) {
        self.part().0.push(command);
    }
}

pub(crate) fn origin() -> Origin {
    let (program, executable) = ("test".to_owned(), "/bin/test".to_owned());
    Origin {
        pid: 1,
        uid: 0,
        started_ticks: 1,
        program,
        executable,
        cgroup: String::new(),
    }
}

pub(crate) fn cut(sequence: u64, parts: usize) -> Cut {
    Cut {
        sequence: SequenceNumber(sequence),
        parts: parts as u32,
        time: Timestamp(sequence as i64 * 1_000_000_000),
        kind: CutKind::CrashConsistent,
        checkpoint: None,
        oldest_change: Timestamp(sequence as i64 * 1_000_000_000),
    }
}

/// Sends a batch; every other part is compressed.
pub(crate) fn send(store: &SourceStore, sequence: u64, batch: &Batch) {
    send_parts(store, sequence, batch);
    store.commit(cut(sequence, batch.parts.len())).unwrap();
}

pub(crate) fn send_parts(store: &SourceStore, sequence: u64, batch: &Batch) {
    for (number, (commands, payload)) in batch.parts.iter().enumerate() {
        let part = Part {
            sequence: SequenceNumber(sequence),
            part: number as u32,
            origins: vec![origin()],
            commands: commands.clone(),
        };
        let encoded = codec::encode(&part).unwrap();
        let compressed = (sequence + number as u64).is_multiple_of(2);
        let sent = match compressed {
            true => zstd::bulk::compress(payload, 1).unwrap(),
            false => payload.clone(),
        };
        store
            .append_part(encoded, sent, payload.len(), compressed)
            .unwrap();
    }
}

/// A directory in memory where there is one that knows extended attributes: these tests sync thousands
/// of times, and none of them is about the disk.
pub(crate) fn scratch() -> tempfile::TempDir {
    let memory = tempfile::tempdir_in("/dev/shm").ok().filter(|directory| {
        let flags = rustix::fs::XattrFlags::empty();
        rustix::fs::setxattr(directory.path(), "user.test", b"", flags).is_ok()
    });
    memory.unwrap_or_else(|| tempfile::tempdir().unwrap())
}

pub(crate) fn open(directory: &Path) -> Arc<SourceStore> {
    open_with(Settings::default(), directory)
}

pub(crate) fn open_with(settings: Settings, directory: &Path) -> Arc<SourceStore> {
    let events = |event| {
        // Nothing in these tests may stall; the store would try again for ever.
        if let StoreEvent::Stalled(_, reason) = event {
            eprintln!("stalled: {reason}");
            std::process::exit(101);
        }
    };
    SourceStore::open_with(settings, directory, SOURCE, events).unwrap()
}

/// Waits until a batch is stored and in the mirror.
pub(crate) fn catch_up(store: &SourceStore, sequence: u64) {
    assert!(store.wait_stored(SequenceNumber(sequence), LONG));
    assert!(store.catch_up(LONG));
}

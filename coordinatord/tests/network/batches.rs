//! Batches to send.

use everwrite_coordinatord::network_backup::Batch;
use everwrite_protocol::ids::{FileId, SequenceNumber, Timestamp};
use everwrite_protocol::wire::{BackupCommand, Cut, CutKind, Origin, Part};

pub(crate) fn sequence(number: u64) -> SequenceNumber {
    SequenceNumber(number)
}

pub(crate) fn origin() -> Origin {
    Origin {
        pid: 7,
        uid: 1000,
        started_ticks: 1,
        program: "test".to_owned(),
        executable: String::new(),
        cgroup: String::new(),
    }
}

/// A batch of `parts` parts of `bytes` each, whose content tells its number.
pub(crate) fn batch(number: u64, parts: u32, bytes: usize) -> Batch {
    let part = |index: u32| {
        let write = BackupCommand::Write {
            file: FileId(1),
            offset: u64::from(index) * bytes as u64,
            length: bytes as u32,
            payload_offset: 0,
            origin: 0,
        };
        let part = Part {
            sequence: sequence(number),
            part: index,
            origins: vec![origin()],
            commands: vec![write],
        };
        (part, content(number, index, bytes))
    };
    Batch {
        parts: (0..parts).map(part).collect(),
        cut: Cut {
            sequence: sequence(number),
            parts,
            time: Timestamp(number as i64),
            kind: CutKind::CrashConsistent,
            checkpoint: None,
            oldest_change: Timestamp(number as i64),
        },
    }
}

/// Half of it shrinks, half does not.
fn content(number: u64, index: u32, bytes: usize) -> Vec<u8> {
    let mut content = vec![number as u8; bytes];
    let seed = [number.to_le_bytes(), u64::from(index).to_le_bytes()].concat();
    let (noise, _) = content.split_at_mut(bytes / 2);
    blake3::Hasher::new()
        .update(&seed)
        .finalize_xof()
        .fill(noise);
    content
}

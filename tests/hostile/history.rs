//! Good batches of an attacker, and whether they are still what they were.

use everwrite_protocol::ids::{FileId, Name, SequenceNumber, Timestamp};
use everwrite_protocol::wire::frame::FrameType;
use everwrite_protocol::wire::{
    Answer, Attributes, BackupCommand, Cut, CutKind, Kind, Origin, Part, Query, Role,
};
use everwrite_receiver::transport::{Frame, send_frame};

use crate::attacker::{Attacker, Line, stored};

pub(crate) const ROOT: FileId = FileId(1);
pub(crate) const FILE: FileId = FileId(2);
/// How many good batches come before an attack.
pub(crate) const GOOD: u64 = 5;

pub(crate) fn attributes(kind: Kind, size: u64) -> Attributes {
    Attributes {
        kind,
        mode: 0o700,
        uid: 0,
        gid: 0,
        user: None,
        group: None,
        modified: Timestamp(0),
        size,
        device_number: 0,
        target: Vec::new(),
        xattrs: Vec::new(),
    }
}

pub(crate) fn name(name: &str) -> Name {
    Name::new(name).unwrap()
}

pub(crate) fn part(sequence: u64, part: u32, commands: Vec<BackupCommand>) -> Part {
    let origin = Origin {
        pid: 1,
        uid: 0,
        started_ticks: 0,
        program: "attacker".to_owned(),
        executable: String::new(),
        cgroup: String::new(),
    };
    Part {
        sequence: SequenceNumber(sequence),
        part,
        origins: vec![origin],
        commands,
    }
}

pub(crate) fn cut(sequence: u64, parts: u32) -> Cut {
    Cut {
        sequence: SequenceNumber(sequence),
        parts,
        time: Timestamp::from_parts(sequence as i64, 0),
        kind: CutKind::Fuzzy,
        checkpoint: None,
        oldest_change: Timestamp::from_parts(sequence as i64, 0),
    }
}

pub(crate) fn part_frame(part: &Part, payload: &[u8]) -> Frame<'static> {
    Frame::with_payload(FrameType::Part, part, payload.to_vec()).unwrap()
}

pub(crate) fn cut_frame(cut: &Cut) -> Frame<'static> {
    Frame::message(FrameType::Cut, cut).unwrap()
}

/// A whole batch of one part. Whether it is taken is for the caller to find out.
pub(crate) async fn send(
    line: &mut Line,
    sequence: u64,
    commands: Vec<BackupCommand>,
    payload: &[u8],
) {
    let frames = [
        part_frame(&part(sequence, 0, commands), payload),
        cut_frame(&cut(sequence, 1)),
    ];
    for frame in frames {
        if send_frame(line, &frame).await.is_err() {
            return;
        }
    }
}

fn create(file: FileId, parent: FileId, called: &str, kind: Kind) -> [BackupCommand; 2] {
    let attributes = attributes(kind, 0);
    let (origin, name) = (0, name(called));
    [
        BackupCommand::Create {
            file,
            attributes,
            origin,
        },
        BackupCommand::Attach {
            parent,
            name,
            file,
            origin,
        },
    ]
}

pub(crate) fn write(length: usize) -> BackupCommand {
    BackupCommand::Write {
        file: FILE,
        offset: 0,
        length: length as u32,
        payload_offset: 0,
        origin: 0,
    }
}

/// What the file holds at a good point.
pub(crate) fn content(sequence: u64) -> Vec<u8> {
    format!("as of batch {sequence:08}").into_bytes()
}

/// Stores the good batches: a root, and a file that each of them writes.
pub(crate) async fn store(attacker: &Attacker) {
    let (mut line, before) = attacker.connect(Role::Live).await;
    assert_eq!(before, 0);
    for sequence in 1..=GOOD {
        let mut commands = Vec::new();
        if sequence == 1 {
            let path = b"/attacker".to_vec();
            commands.push(BackupCommand::Root { file: ROOT, path });
            commands.extend(create(ROOT, FileId::TOP, "root", Kind::Directory));
            commands.extend(create(FILE, ROOT, "file", Kind::Regular));
        }
        let content = content(sequence);
        commands.push(write(content.len()));
        send(&mut line, sequence, commands, &content).await;
    }
    stored(&mut line, GOOD).await;
}

/// Every good point is there, and equal.
pub(crate) async fn check(attacker: &Attacker) {
    for sequence in 1..=GOOD {
        let read = Query::Read {
            file: FILE,
            at: SequenceNumber(sequence),
            offset: 0,
        };
        let (answer, payload) = attacker.ask(&read).await;
        assert!(
            matches!(answer, Answer::Read { .. }),
            "batch {sequence}: {answer:?}"
        );
        assert_eq!(payload, content(sequence), "batch {sequence}");
    }
}

//! One value of every message, every variant among them.

use everwrite_protocol::ids::{FileId, Name, SequenceNumber, SourceId, Timestamp};
use everwrite_protocol::wire::{
    Answer, At, Attributes, BackupCommand, ContentExtent, Cut, CutKind, DeletedEntry, Enrol,
    Enrolled, Hello, Kind, LogEntry, Origin, Part, Point, Query, QueryError, Refusal, Reply, Role,
    TreeEntry, Version, VersionChange, Welcome, Xattr,
};

pub(crate) const SOURCE: SourceId =
    SourceId([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15]);

/// Numbers of every length that the encoding knows.
const SMALL: u64 = 7;
const MEDIUM: u64 = 0x1234;
const LARGE: u64 = 0x1234_5678;
const HUGE: u64 = 0x1234_5678_9ABC_DEF0;

const fn number(sequence: u64) -> SequenceNumber {
    SequenceNumber(sequence)
}

fn name(bytes: &[u8]) -> Name {
    Name::new(bytes).unwrap()
}

pub(crate) fn origin() -> Origin {
    Origin {
        pid: 4242,
        uid: 1000,
        started_ticks: LARGE,
        program: "vim".to_owned(),
        executable: "/usr/bin/vim".to_owned(),
        cgroup: String::new(),
    }
}

fn origin_in_a_group() -> Origin {
    Origin {
        cgroup: "/system.slice/cron.service".to_owned(),
        ..origin()
    }
}

pub(crate) fn attributes(kind: Kind) -> Attributes {
    Attributes {
        kind,
        mode: 0o6755,
        uid: 1000,
        gid: 100,
        user: Some("anna".to_owned()),
        group: None,
        modified: Timestamp(-1),
        size: HUGE,
        device_number: 0x0801,
        target: b"../elsewhere".to_vec(),
        xattrs: vec![
            Xattr {
                name: b"security.capability".to_vec(),
                value: vec![1, 0, 0, 2],
            },
            Xattr {
                name: b"user.note".to_vec(),
                value: Vec::new(),
            },
        ],
    }
}

pub(crate) const KINDS: [Kind; 7] = [
    Kind::Regular,
    Kind::Directory,
    Kind::Symlink,
    Kind::Fifo,
    Kind::Socket,
    Kind::CharacterDevice,
    Kind::BlockDevice,
];

pub(crate) fn hellos() -> Vec<Hello> {
    let hello = |role| Hello {
        version: Version::V1,
        source: SOURCE,
        role,
    };
    vec![hello(Role::Live), hello(Role::Query)]
}

const REFUSALS: [Refusal; 6] = [
    Refusal::Version,
    Refusal::Unknown,
    Refusal::Identity,
    Refusal::Secret,
    Refusal::Store,
    Refusal::Stalled,
];

pub(crate) fn welcomes() -> Vec<Welcome> {
    let accepted = Welcome::Accepted {
        version: Version::V1,
        stored: number(MEDIUM),
        applied: number(SMALL),
        window_bytes: 64 << 20,
    };
    [accepted]
        .into_iter()
        .chain(REFUSALS.map(Welcome::Refused))
        .collect()
}

pub(crate) fn enrols() -> Vec<Enrol> {
    vec![Enrol {
        version: Version::V1,
        source: SOURCE,
        secret: [0xA5; 16],
        host: "laptop.example".to_owned(),
    }]
}

pub(crate) fn enrolleds() -> Vec<Enrolled> {
    [Enrolled::Accepted]
        .into_iter()
        .chain(REFUSALS.map(Enrolled::Refused))
        .collect()
}

pub(crate) fn replies() -> Vec<Reply> {
    vec![
        Reply::Stored(number(HUGE)),
        Reply::Applied(number(LARGE)),
        Reply::Stalled {
            reason: "no space left on device".to_owned(),
        },
        Reply::Resumed,
        Reply::Rejected {
            sequence: number(MEDIUM),
            reason: "out of order".to_owned(),
        },
    ]
}

fn commands() -> Vec<BackupCommand> {
    let file = FileId(LARGE);
    let parent = FileId::TOP;
    let create = |kind| BackupCommand::Create {
        file,
        attributes: attributes(kind),
        origin: 0,
    };
    let others = [
        BackupCommand::Attach {
            parent,
            name: name(b"a name that is \xFF not UTF-8"),
            file,
            origin: 0,
        },
        BackupCommand::Detach {
            parent,
            name: name(b"b"),
            origin: 300,
        },
        BackupCommand::Write {
            file,
            offset: HUGE,
            length: 1 << 20,
            payload_offset: 4096,
            origin: 0,
        },
        BackupCommand::Copy {
            file,
            offset: SMALL,
            length: HUGE,
            from: FileId(MEDIUM),
            from_offset: LARGE,
            origin: 0,
        },
        BackupCommand::Punch {
            file,
            offset: MEDIUM,
            length: LARGE,
            origin: 0,
        },
        BackupCommand::Truncate {
            file,
            length: 0,
            origin: 0,
        },
        BackupCommand::SetAttributes {
            file,
            attributes: attributes(Kind::Directory),
            origin: 0,
        },
        BackupCommand::Drop { file },
        BackupCommand::Root {
            file,
            path: b"/home/anna".to_vec(),
        },
    ];
    KINDS.map(create).into_iter().chain(others).collect()
}

pub(crate) fn parts() -> Vec<Part> {
    let empty = Part {
        sequence: number(1),
        part: 0,
        origins: vec![origin()],
        commands: Vec::new(),
    };
    let full = Part {
        sequence: number(HUGE),
        part: 300,
        origins: vec![origin(), origin()],
        commands: commands(),
    };
    let in_a_group = Part {
        origins: vec![origin_in_a_group(), origin()],
        ..empty.clone()
    };
    vec![empty, full, in_a_group]
}

pub(crate) fn cuts() -> Vec<Cut> {
    let kinds = [
        CutKind::CrashConsistent,
        CutKind::FsyncPoint,
        CutKind::Fuzzy,
        CutKind::Partial,
    ];
    let cut = |kind| Cut {
        sequence: number(LARGE),
        parts: 3,
        time: Timestamp(1_700_000_000_123_456_789),
        kind,
        checkpoint: None,
        oldest_change: Timestamp(1_700_000_000_000_000_000),
    };
    let named = Cut {
        checkpoint: Some("before the upgrade".to_owned()),
        ..cut(CutKind::CrashConsistent)
    };
    let fuzzy = cut(CutKind::FuzzyBecause("a program was writing".to_owned()));
    let kinds = kinds.map(cut).into_iter();
    kinds.chain([named, fuzzy]).collect()
}

pub(crate) fn queries() -> Vec<Query> {
    let file = FileId(MEDIUM);
    let (after, path) = (number(LARGE), b"root/a/\xFE".to_vec());
    let moments = [
        At::Newest,
        At::Time(Timestamp(-5)),
        At::Sequence(number(SMALL)),
        At::Checkpoint("release".to_owned()),
    ];
    let consistent = At::Consistent(Timestamp(1_700_000_000_123_456_789));
    let others = [
        Query::Digests {
            file,
            offset: HUGE,
            length: LARGE,
            block: 65536,
            after,
        },
        Query::Signature {
            file,
            offset: 0,
            length: 32 << 20,
            block: 2048,
            after,
        },
        Query::WholeDigest { file, after },
        Query::Tree { cursor: None },
        Query::Tree {
            cursor: Some(vec![1, 2, 3]),
        },
        Query::Points {
            before: Some(after),
            limit: 50,
        },
        Query::Stat {
            path: path.clone(),
            at: after,
        },
        Query::List {
            path: path.clone(),
            at: after,
            after: Some(name(b"z")),
        },
        Query::Read {
            file,
            at: after,
            offset: HUGE,
        },
        Query::Log {
            path: path.clone(),
            before: None,
            limit: 10,
        },
        Query::Deleted { path, limit: 10 },
    ];
    moments
        .map(|at| Query::Resolve { at })
        .into_iter()
        .chain(others)
        .chain([Query::Resolve { at: consistent }])
        .collect()
}

fn tree_entry() -> TreeEntry {
    TreeEntry {
        file: FileId(LARGE),
        parent: FileId::TOP,
        name: name(b"entry"),
        attributes: attributes(Kind::Symlink),
        changed: number(MEDIUM),
    }
}

fn point() -> Point {
    Point {
        sequence: number(MEDIUM),
        time: Timestamp(1),
        stored: Timestamp(2),
        kind: CutKind::FsyncPoint,
        checkpoint: Some("release".to_owned()),
    }
}

fn log_entries() -> Vec<LogEntry> {
    let changes = [
        VersionChange::Created,
        VersionChange::Modified { bytes: LARGE },
        VersionChange::Attributes,
        VersionChange::RenamedFrom {
            path: b"root/old".to_vec(),
        },
        VersionChange::RenamedTo {
            path: b"root/new".to_vec(),
        },
        VersionChange::Replaced,
        VersionChange::Deleted,
    ];
    let entry = |change| LogEntry {
        path: b"root/a".to_vec(),
        sequence: number(SMALL),
        time: Timestamp(3),
        change,
        size: MEDIUM,
        origin: origin(),
    };
    changes.map(entry).into()
}

pub(crate) fn answers() -> Vec<Answer> {
    let failures = [
        QueryError::NotFound,
        QueryError::TooEarly,
        QueryError::UnknownCheckpoint,
        QueryError::Invalid("a directory has no content".to_owned()),
        QueryError::Store("input/output error".to_owned()),
    ];
    let deleted = DeletedEntry {
        path: b"root/gone".to_vec(),
        sequence: number(SMALL),
        time: Timestamp(4),
        size: 0,
        origin: origin(),
    };
    let others = [
        Answer::Digests {
            size: HUGE,
            blocks: 65536,
        },
        Answer::Signature,
        Answer::WholeDigest {
            digest: [0x5A; 32],
            size: SMALL,
        },
        Answer::Tree {
            entries: vec![tree_entry()],
            cursor: Some(vec![9]),
            highest_file: FileId(LARGE),
        },
        Answer::Resolved(point()),
        Answer::Points(vec![point()]),
        Answer::Stat(tree_entry()),
        Answer::List {
            entries: vec![tree_entry(), tree_entry()],
            more: true,
        },
        Answer::Read {
            extents: vec![ContentExtent {
                offset: HUGE,
                length: 4096,
            }],
            end: HUGE,
            size: HUGE,
        },
        Answer::Log(log_entries()),
        Answer::Deleted(vec![deleted]),
    ];
    others
        .into_iter()
        .chain(failures.map(Answer::Failed))
        .collect()
}

/// The local language.
pub(crate) mod local {
    use everwrite_protocol::local::{
        FileModification, Hello, Inode, LOCAL_VERSION, NameChange, Refusal, Welcome,
    };

    const fn inode(inode: u64) -> Inode {
        Inode {
            device: 0x1_0302,
            inode,
        }
    }

    pub(crate) fn modifications() -> Vec<FileModification<'static>> {
        let named = |name, change| FileModification::Name {
            directory: inode(300),
            name,
            change,
        };
        let renamed = |exchange| FileModification::Rename {
            old_directory: inode(1),
            old_name: b"old",
            new_directory: inode(u64::MAX),
            new_name: b"new",
            exchange,
        };
        vec![
            named(b"created \xFF", NameChange::Created),
            named(b"removed", NameChange::Removed),
            named(b"", NameChange::Created),
            renamed(false),
            renamed(true),
            FileModification::Anywhere,
            named(b"arrived", NameChange::Arrived),
        ]
    }

    pub(crate) fn hellos() -> Vec<Hello> {
        vec![Hello {
            version: LOCAL_VERSION,
            epoch: 0x1234_5678_9ABC,
            pid: 4242,
        }]
    }

    pub(crate) fn welcomes() -> Vec<Welcome> {
        let attached = Welcome::Attached {
            segment_bytes: 500_000,
        };
        let refusals = [
            Refusal::Version,
            Refusal::Epoch,
            Refusal::Busy,
            Refusal::Malformed,
        ];
        [attached]
            .into_iter()
            .chain(refusals.map(Welcome::Refused))
            .collect()
    }
}

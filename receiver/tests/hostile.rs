//! Whatever a source sends that is well formed enough to be taken: the store goes on, applies it,
//! answers, opens again, and nothing appears beside its own directory.

mod support;

use std::path::Path;

use everwrite_protocol::codec;
use everwrite_protocol::ids::{FileId, Name, SequenceNumber, Timestamp};
use everwrite_protocol::wire::{
    Answer, Attributes, BackupCommand, Kind, Part, Query, QueryError, Xattr,
};
use everwrite_receiver::store::{SourceStore, StoreError};
use proptest::prelude::*;
use support::{SOURCE, catch_up, cut, open, origin, scratch};

fn file() -> impl Strategy<Value = FileId> {
    prop_oneof![20 => 0..9u64, 1 => any::<u64>(), 1 => Just(i64::MAX as u64)].prop_map(FileId)
}

fn name() -> impl Strategy<Value = Name> {
    prop_oneof![
        10 => "[abc]",
        1 => Just("...".to_owned()),
        1 => Just("x".repeat(255)),
        1 => Just("\n\u{1b}[31m".to_owned()),
    ]
    .prop_map(|name| Name::new(name).unwrap())
}

fn number() -> impl Strategy<Value = u64> {
    prop_oneof![
        20 => 0..10_000u64,
        1 => Just(1 << 43),
        1 => Just(1 << 62),
        1 => Just(i64::MAX as u64),
        1 => any::<u64>(),
    ]
}

fn kind() -> impl Strategy<Value = Kind> {
    prop_oneof![
        4 => Just(Kind::Directory),
        4 => Just(Kind::Regular),
        1 => Just(Kind::Symlink),
        1 => Just(Kind::Fifo),
        1 => Just(Kind::Socket),
        1 => Just(Kind::CharacterDevice),
    ]
}

fn attributes() -> impl Strategy<Value = Attributes> {
    (kind(), 0..0o7777u32, number(), any::<i64>(), 0..4usize).prop_map(
        |(kind, mode, size, modified, xattrs)| Attributes {
            kind,
            mode,
            uid: mode,
            gid: if mode % 50 == 0 {
                u32::MAX
            } else {
                u32::MAX - 1
            },
            user: None,
            group: None,
            modified: Timestamp(modified),
            size,
            device_number: 0x103,
            target: if kind == Kind::Symlink {
                b"/etc/../..".to_vec()
            } else {
                Vec::new()
            },
            xattrs: [&b"user.a"[..], b"security.capability", b"nonsense"][..xattrs.min(3)]
                .iter()
                .map(|name| Xattr {
                    name: name.to_vec(),
                    value: vec![1; xattrs * 3],
                })
                .collect(),
        },
    )
}

fn command() -> impl Strategy<Value = BackupCommand> {
    let origin = 0;
    prop_oneof![
        4 => (file(), attributes()).prop_map(move |(file, attributes)| {
            BackupCommand::Create { file, attributes, origin }
        }),
        5 => (file(), name(), file()).prop_map(move |(parent, name, file)| {
            BackupCommand::Attach { parent, name, file, origin }
        }),
        3 => (file(), name()).prop_map(move |(parent, name)| {
            BackupCommand::Detach { parent, name, origin }
        }),
        3 => (file(), number(), 0..3000u32, 0..3000u32).prop_map(
            move |(file, offset, length, payload_offset)| {
                BackupCommand::Write { file, offset, length, payload_offset, origin }
            }
        ),
        2 => (file(), number(), number(), file(), number()).prop_map(
            move |(file, offset, length, from, from_offset)| {
                BackupCommand::Copy { file, offset, length, from, from_offset, origin }
            }
        ),
        1 => (file(), number(), number()).prop_map(move |(file, offset, length)| {
            BackupCommand::Punch { file, offset, length, origin }
        }),
        1 => (file(), number()).prop_map(move |(file, length)| {
            BackupCommand::Truncate { file, length, origin }
        }),
        2 => (file(), attributes()).prop_map(move |(file, attributes)| {
            BackupCommand::SetAttributes { file, attributes, origin }
        }),
        1 => file().prop_map(|file| BackupCommand::Drop { file }),
        1 => (file(), any::<Vec<u8>>()).prop_map(|(file, path)| BackupCommand::Root { file, path }),
    ]
}

/// Sends what of the commands is taken; tells whether the batch was.
fn send(store: &SourceStore, sequence: u64, commands: &[BackupCommand]) {
    let mut parts = 0;
    for command in commands {
        let part = Part {
            sequence: SequenceNumber(sequence),
            part: parts,
            origins: vec![origin()],
            commands: vec![command.clone()],
        };
        let Ok(encoded) = codec::encode(&part) else {
            continue;
        };
        match store.append_part(encoded, vec![7; 4000], 4000, false) {
            Ok(()) => parts += 1,
            Err(StoreError::Rejected { .. }) => {}
            Err(error) => panic!("{error}"),
        }
    }
    store.commit(cut(sequence, parts as usize)).unwrap();
}

fn ask_everything(store: &SourceStore, sequence: u64) {
    for at in 0..=sequence {
        for path in [&b""[..], b"a", b"a/b", b"a/b/c", b"../..", b"/", b"a//c"] {
            let at = SequenceNumber(at);
            fine(
                &store
                    .answer(&Query::Stat {
                        path: path.to_vec(),
                        at,
                    })
                    .0,
            );
            fine(
                &store
                    .answer(&Query::List {
                        path: path.to_vec(),
                        at,
                        after: None,
                    })
                    .0,
            );
        }
        for file in (0..9).chain([u64::MAX, i64::MAX as u64]) {
            for offset in [0, 5000, 1 << 43, u64::MAX] {
                let (file, at) = (FileId(file), SequenceNumber(at));
                fine(&store.answer(&Query::Read { file, at, offset }).0);
            }
        }
    }
    let after = SequenceNumber(sequence);
    for file in (0..9).map(FileId) {
        for (offset, length) in [
            (0, u64::MAX),
            (u64::MAX, u64::MAX),
            (100, 9000),
            (0, 32 << 20),
        ] {
            for block in [0, 512, 64 << 10, u32::MAX] {
                // A file that claims to be enormous is not read whole for this.
                let bounded = length.min(8 << 20);
                fine(
                    &store
                        .answer(&Query::Digests {
                            file,
                            offset,
                            length: bounded,
                            block,
                            after,
                        })
                        .0,
                );
                fine(
                    &store
                        .answer(&Query::Signature {
                            file,
                            offset,
                            length: bounded,
                            block,
                            after,
                        })
                        .0,
                );
                fine(
                    &store
                        .answer(&Query::Signature {
                            file,
                            offset: 0,
                            length,
                            block: 0,
                            after,
                        })
                        .0,
                );
            }
        }
    }
    for path in [&b""[..], b"a", b"a/b"] {
        let path = path.to_vec();
        fine(
            &store
                .answer(&Query::Log {
                    path: path.clone(),
                    before: None,
                    limit: u32::MAX,
                })
                .0,
        );
        fine(
            &store
                .answer(&Query::Deleted {
                    path,
                    limit: u32::MAX,
                })
                .0,
        );
    }
    fine(&store.answer(&Query::Tree { cursor: None }).0);
    fine(
        &store
            .answer(&Query::Tree {
                cursor: Some(vec![255; 40]),
            })
            .0,
    );
}

fn fine(answer: &Answer) {
    if let Answer::Failed(QueryError::Store(error)) = answer {
        panic!("{error}");
    }
}

fn names(directory: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(directory).unwrap();
    let mut names: Vec<String> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, max_shrink_iters: 200, ..ProptestConfig::default() })]
    #[test]
    fn no_batch_stops_the_store(
        batches in prop::collection::vec(prop::collection::vec(command(), 0..20), 1..8),
        reopen in 0..8usize,
    ) {
        let directory = scratch();
        let mut store = open(directory.path());
        for (index, commands) in batches.iter().enumerate() {
            send(&store, index as u64 + 1, commands);
            if index == reopen {
                drop(store);
                store = open(directory.path());
            }
        }
        let last = batches.len() as u64;
        catch_up(&store, last);
        ask_everything(&store, last);
        prop_assert_eq!(names(directory.path()), ["src"]);
        let source = directory.path().join("src").join(SOURCE.to_string());
        let inside: Vec<String> =
            names(&source).into_iter().filter(|name| !name.starts_with("catalog.db")).collect();
        let expected = [
            "apply.gate",
            "apply.lock",
            "log",
            "mirror",
            "objects",
            "staging",
            "writer.lock",
        ];
        prop_assert_eq!(inside, expected);
    }
}

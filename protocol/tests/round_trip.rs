//! Whatever can be said arrives as it was said.

use everwrite_protocol::codec;
use everwrite_protocol::ids::{FileId, Name, SequenceNumber, SourceId, Timestamp};
use everwrite_protocol::local::{self, FileModification, Inode, NameChange};
use everwrite_protocol::wire::{
    At, Attributes, BackupCommand, Cut, CutKind, Kind, Origin, Part, Query, Xattr,
};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

prop_compose! {
    fn name()(bytes in vec(any::<u8>(), 1..=255)) -> Name {
        let legal = |byte: &u8| if matches!(byte, 0 | b'/' | b'.') { b'x' } else { *byte };
        Name::new(bytes.iter().map(legal).collect::<Vec<_>>()).unwrap()
    }
}

/// No path holds a zero byte.
fn path() -> impl Strategy<Value = String> {
    any::<String>().prop_map(|text| text.replace('\0', ""))
}

prop_compose! {
    fn origin()(
        pid: u32, uid: u32, started_ticks: u64, program: String, executable in path(), cgroup in path()
    ) -> Origin {
        Origin { pid, uid, started_ticks, program, executable, cgroup }
    }
}

fn kind() -> impl Strategy<Value = Kind> {
    prop_oneof![
        Just(Kind::Regular),
        Just(Kind::Directory),
        Just(Kind::Symlink),
        Just(Kind::Fifo),
        Just(Kind::Socket),
        Just(Kind::CharacterDevice),
        Just(Kind::BlockDevice),
    ]
}

prop_compose! {
    fn xattr()(name: Vec<u8>, value: Vec<u8>) -> Xattr {
        Xattr { name, value }
    }
}

prop_compose! {
    fn attributes()(
        kind in kind(),
        (mode, uid, gid) in any::<(u32, u32, u32)>(),
        (user, group) in any::<(Option<String>, Option<String>)>(),
        (modified, size, device_number) in any::<(i64, u64, u64)>(),
        target in any::<Vec<u8>>(),
        xattrs in vec(xattr(), 0..4),
    ) -> Attributes {
        let modified = Timestamp(modified);
        Attributes { kind, mode, uid, gid, user, group, modified, size, device_number, target, xattrs }
    }
}

fn file() -> impl Strategy<Value = FileId> {
    any::<u64>().prop_map(FileId)
}

fn sequence() -> impl Strategy<Value = SequenceNumber> {
    any::<u64>().prop_map(SequenceNumber)
}

fn command() -> impl Strategy<Value = BackupCommand> {
    let numbers = (any::<u64>(), any::<u64>(), any::<u16>());
    prop_oneof![
        (file(), attributes(), any::<u16>()).prop_map(|(file, attributes, origin)| {
            BackupCommand::Create {
                file,
                attributes,
                origin,
            }
        }),
        (file(), attributes(), any::<u16>()).prop_map(|(file, attributes, origin)| {
            BackupCommand::SetAttributes {
                file,
                attributes,
                origin,
            }
        }),
        (file(), name(), file(), any::<u16>()).prop_map(|(parent, name, file, origin)| {
            BackupCommand::Attach {
                parent,
                name,
                file,
                origin,
            }
        }),
        (file(), name(), any::<u16>()).prop_map(|(parent, name, origin)| BackupCommand::Detach {
            parent,
            name,
            origin
        }),
        (file(), any::<u64>(), any::<(u32, u32)>(), any::<u16>()).prop_map(
            |(file, offset, (length, payload_offset), origin)| {
                BackupCommand::Write {
                    file,
                    offset,
                    length,
                    payload_offset,
                    origin,
                }
            }
        ),
        (file(), file(), any::<u64>(), numbers).prop_map(
            |(file, from, from_offset, (offset, length, origin))| {
                BackupCommand::Copy {
                    file,
                    offset,
                    length,
                    from,
                    from_offset,
                    origin,
                }
            }
        ),
        (file(), numbers).prop_map(|(file, (offset, length, origin))| {
            BackupCommand::Punch {
                file,
                offset,
                length,
                origin,
            }
        }),
        (file(), numbers).prop_map(|(file, (length, _, origin))| BackupCommand::Truncate {
            file,
            length,
            origin
        }),
        file().prop_map(|file| BackupCommand::Drop { file }),
        (file(), any::<Vec<u8>>()).prop_map(|(file, path)| BackupCommand::Root { file, path }),
    ]
}

prop_compose! {
    fn part()(
        sequence in sequence(),
        part in any::<u32>(),
        origins in vec(origin(), 1..4),
        commands in vec(command(), 0..20),
    ) -> Part {
        Part { sequence, part, origins, commands }
    }
}

prop_compose! {
    fn cut()(
        sequence in sequence(),
        parts in any::<u32>(),
        (time, oldest_change) in any::<(i64, i64)>(),
        kind in prop_oneof![
            Just(CutKind::CrashConsistent),
            Just(CutKind::FsyncPoint),
            Just(CutKind::Fuzzy),
            Just(CutKind::Partial),
            any::<String>().prop_map(CutKind::FuzzyBecause),
        ],
        checkpoint in any::<Option<String>>(),
    ) -> Cut {
        let (time, oldest_change) = (Timestamp(time), Timestamp(oldest_change));
        Cut { sequence, parts, time, kind, checkpoint, oldest_change }
    }
}

fn query() -> impl Strategy<Value = Query> {
    let path = any::<Vec<u8>>;
    let range = || (any::<u64>(), any::<u64>(), any::<u32>());
    let at = prop_oneof![
        Just(At::Newest),
        any::<i64>().prop_map(|time| At::Time(Timestamp(time))),
        sequence().prop_map(At::Sequence),
        any::<String>().prop_map(At::Checkpoint),
        any::<i64>().prop_map(|time| At::Consistent(Timestamp(time))),
    ];
    prop_oneof![
        (file(), range(), sequence()).prop_map(|(file, (offset, length, block), after)| {
            Query::Digests {
                file,
                offset,
                length,
                block,
                after,
            }
        }),
        (file(), range(), sequence()).prop_map(|(file, (offset, length, block), after)| {
            Query::Signature {
                file,
                offset,
                length,
                block,
                after,
            }
        }),
        (file(), sequence()).prop_map(|(file, after)| Query::WholeDigest { file, after }),
        option::of(path()).prop_map(|cursor| Query::Tree { cursor }),
        at.prop_map(|at| Query::Resolve { at }),
        (option::of(sequence()), any::<u32>())
            .prop_map(|(before, limit)| Query::Points { before, limit }),
        (path(), sequence()).prop_map(|(path, at)| Query::Stat { path, at }),
        (path(), sequence(), option::of(name())).prop_map(|(path, at, after)| Query::List {
            path,
            at,
            after
        }),
        (file(), sequence(), any::<u64>()).prop_map(|(file, at, offset)| Query::Read {
            file,
            at,
            offset
        }),
        (path(), option::of(sequence()), any::<u32>()).prop_map(|(path, before, limit)| {
            Query::Log {
                path,
                before,
                limit,
            }
        }),
        (path(), any::<u32>()).prop_map(|(path, limit)| Query::Deleted { path, limit }),
    ]
}

prop_compose! {
    fn inode()(device: u64, inode: u64) -> Inode {
        Inode { device, inode }
    }
}

/// Encodes into a slot of the segment and decodes again.
fn through_a_slot(message: &FileModification<'_>) {
    let mut slot = [0; local::MESSAGE_BYTES_MAX];
    let used = local::encode(message, &mut slot).expect("room for the longest names");
    assert_eq!(
        local::decode::<FileModification<'_>>(&slot[..used]).as_ref(),
        Some(message)
    );
}

proptest! {
    #[test]
    fn parts(part in part()) {
        let bytes = codec::encode(&part).unwrap();
        prop_assert_eq!(codec::decode::<Part>(&bytes).unwrap(), part);
    }

    #[test]
    fn cuts(cut in cut()) {
        let bytes = codec::encode(&cut).unwrap();
        prop_assert_eq!(codec::decode::<Cut>(&bytes).unwrap(), cut);
    }

    #[test]
    fn queries(query in query()) {
        let bytes = codec::encode(&query).unwrap();
        prop_assert_eq!(codec::decode::<Query>(&bytes).unwrap(), query);
    }

    #[test]
    fn modifications_with_the_longest_names(
        (directory, other) in (inode(), inode()),
        old_name in vec(any::<u8>(), 0..=local::NAME_BYTES_MAX),
        new_name in vec(any::<u8>(), 0..=local::NAME_BYTES_MAX),
        exchange in any::<bool>(),
    ) {
        let change = if exchange { NameChange::Created } else { NameChange::Removed };
        through_a_slot(&FileModification::Name { directory, name: &old_name, change });
        through_a_slot(&FileModification::Rename {
            old_directory: directory,
            old_name: &old_name,
            new_directory: other,
            new_name: &new_name,
            exchange,
        });
    }

    #[test]
    fn source_ids_as_text(bytes: [u8; 16]) {
        let id = SourceId(bytes);
        prop_assert_eq!(id.to_string().parse(), Ok(id));
    }

    #[test]
    fn no_text_is_a_panic_as_source_id(text: String) {
        let _ = text.parse::<SourceId>();
    }

    #[test]
    fn timestamps_in_parts(time: i64) {
        let (seconds, nanoseconds) = Timestamp(time).parts();
        prop_assert!(nanoseconds < 1_000_000_000);
        let back = Timestamp::from_parts(seconds, nanoseconds);
        // The first second that can be told saturates: its start can't.
        let first = i64::MIN + 1_000_000_000;
        prop_assert!(back == Timestamp(time) || time < first);
    }
}

use everwrite_protocol::ids::Name;
use proptest::prelude::*;

use super::*;

const WHO: OriginId = OriginId(1);

fn file(inode: u64) -> Inode {
    Inode { device: 1, inode }
}

fn write(inode: u64, offset: u64, length: u64) -> What {
    What::Write {
        file: file(inode),
        birth: 0,
        offset,
        length,
    }
}

fn name(directory: u64, number: u64) -> What {
    let name = Name::new(number.to_string().into_bytes()).unwrap();
    What::Name {
        directory: file(directory),
        name,
        arrived: false,
    }
}

fn merged(list: impl IntoIterator<Item = What>) -> Vec<What> {
    let (mut merge, now) = (Merge::new(Source::Shim), Instant::now());
    list.into_iter().for_each(|what| merge.add(WHO, now, what));
    let taken = merge.take(now);
    assert!(merge.is_empty() && !merge.is_due(now) && merge.ranges == 0);
    taken.into_iter().map(|hint| hint.what).collect()
}

#[test]
fn names_come_first_and_durability_last() {
    let (file, birth) = (file(1), 0);
    let said = merged([
        write(1, 0, 4),
        What::Attributes { file, birth },
        name(9, 1),
        write(1, 4, 4),
        What::Sync { file },
        What::Everything,
        name(9, 1),
    ]);
    let expected = [
        name(9, 1),
        write(1, 0, 8),
        What::Attributes { file, birth },
        What::Sync { file },
        What::Everything,
    ];
    assert_eq!(said, expected);
}

#[test]
fn who_writes_again_is_not_synced() {
    let (file, birth) = (file(1), 0);
    let synced = |list: &[What]| merged(list.to_vec()).contains(&What::Sync { file });
    let sync = What::Sync { file };
    assert!(!synced(&[sync.clone(), write(2, 0, 4)]));
    assert!(synced(&[sync.clone(), What::Attributes { file, birth }]));
    let store = What::Whole { file, birth };
    assert!(synced(&[sync, What::Flush { file }, store]), "no call");
}

#[test]
fn whole_says_more_than_ranges_and_growth() {
    let (file, birth) = (file(1), 0);
    let whole = What::Whole { file, birth };
    let list = [
        write(1, 0, 4),
        What::Append { file, birth },
        whole.clone(),
        write(1, 9, 4),
    ];
    assert_eq!(merged(list), [whole]);
}

#[test]
fn each_program_keeps_its_own() {
    let (mut merge, now) = (Merge::new(Source::Shim), Instant::now());
    merge.add(OriginId(1), now, write(1, 0, 4));
    merge.add(OriginId(2), now, write(1, 4, 4));
    let mut origins: Vec<_> = merge
        .take(now)
        .into_iter()
        .map(|hint| hint.origin.0)
        .collect();
    origins.sort_unstable();
    assert_eq!(origins, [1, 2]);
}

#[test]
fn too_many_names_become_some_names() {
    let said = merged((0..NAMES_MAX as u64 + 5).map(|number| name(9, number)));
    assert_eq!(said.len(), NAMES_MAX + 1);
    assert_eq!(said.last(), Some(&What::Names { directory: file(9) }));
}

#[test]
fn too_many_files_become_everything_but_mappings_stay() {
    let mapped = What::Mapped {
        file: file(0),
        birth: 0,
        offset: 0,
        length: 9,
    };
    let files = (0..FILES_MAX as u64 + 5).map(|inode| write(inode, 0, 1));
    let said = merged(std::iter::once(mapped.clone()).chain(files));
    assert!(said.contains(&mapped) && said.contains(&What::Everything));
    assert!(said.len() < 10);
}

#[test]
fn ranges_are_bounded_in_one_file_and_in_all() {
    let one = merged((0..10_000).map(|number| write(1, number * 10, 1)));
    assert!(one.len() <= ranges::RANGES_MAX);
    let (mut merge, now) = (Merge::new(Source::Shim), Instant::now());
    for number in 0..400_000 {
        merge.add(WHO, now, write(number % 1000, number * 10, 1));
        assert!(merge.ranges <= RANGES_MAX + 1);
    }
    let ranges: usize = merge.files.values().map(|dirt| dirt.ranges.len()).sum();
    assert_eq!(ranges, merge.ranges);
}

#[test]
fn everything_waits_for_its_time_unless_somebody_waits_for_it() {
    let (mut merge, now) = (Merge::new(Source::Shim), Instant::now());
    merge.add(WHO, now, What::Everything);
    assert_eq!(merge.take(now).len(), 1);
    merge.add(WHO, now, What::Everything);
    assert!(!merge.is_due(now) && !merge.is_empty());
    assert!(merge.is_due(now + EVERYTHING_INTERVAL));
    merge.hurry();
    assert!(merge.is_due(now));
    assert_eq!(merge.take(now).len(), 1);
    assert_eq!(merge.losses(), 2);
}

fn any_what() -> impl Strategy<Value = What> {
    let range = (0u64..5, 0u64..400, 1u64..50);
    prop_oneof![
        range.prop_map(|(inode, offset, length)| write(inode, offset, length)),
        (0u64..5).prop_map(|inode| What::Append {
            file: file(inode),
            birth: 0
        }),
        (0u64..5).prop_map(|inode| What::Whole {
            file: file(inode),
            birth: 0
        }),
        (0u64..5, 0u64..5).prop_map(|(directory, number)| name(directory, number)),
    ]
}

/// Does one of `said` ask for at least what `what` asks for?
fn is_said(said: &[What], what: &What) -> bool {
    said.iter().any(|wide| match (wide, what) {
        (What::Whole { file: wide, .. }, What::Write { file, .. } | What::Append { file, .. }) => {
            wide == file
        }
        (
            What::Write {
                file: wide,
                offset: from,
                length: room,
                ..
            },
            What::Write {
                file,
                offset,
                length,
                ..
            },
        ) => wide == file && from <= offset && offset + length <= from + room,
        _ => wide == what,
    })
}

proptest! {
    /// Merging says in fewer words what was said, never less.
    #[test]
    fn nothing_is_forgotten(list in proptest::collection::vec(any_what(), 0..200)) {
        let said = merged(list.clone());
        prop_assert!(said.len() <= list.len());
        for what in &list {
            prop_assert!(is_said(&said, what), "{what:?}");
        }
    }
}

use std::collections::BTreeSet;

use everwrite_protocol::ids::Timestamp;

use super::*;

fn inode(number: u64) -> Inode {
    Inode {
        device: 1,
        inode: number,
    }
}

fn name(text: &str) -> Name {
    Name::new(text.as_bytes()).unwrap()
}

fn hint(what: What) -> Hint {
    Hint {
        origin: OriginId(1),
        source: Source::Shim,
        at: Instant::now(),
        what,
    }
}

fn write(file: u64, offset: u64, length: u64) -> Hint {
    hint(What::Write {
        file: inode(file),
        birth: 0,
        offset,
        length,
    })
}

#[test]
fn one_entry_a_file_in_the_order_of_the_first_hint() {
    let mut queue = Queue::default();
    queue.push(&write(1, 0, 10));
    queue.push(&write(2, 0, 10));
    queue.push(&write(1, 10, 10));
    let first = queue.next_file(None).unwrap();
    assert_eq!(first.1, inode(1));
    assert_eq!(queue.next_file(Some(first)).unwrap().1, inode(2));
    let entry = queue.take_file(inode(1)).unwrap();
    assert_eq!(entry.dirt.ranges.within(100).collect::<Vec<_>>(), [(0, 20)]);
    assert_eq!(queue.entries(), 1);
}

#[test]
fn what_is_begun_is_not_added_to() {
    let mut queue = Queue::default();
    queue.push(&write(1, 0, 10));
    let mut entry = queue.take_file(inode(1)).unwrap();
    entry.begun = Some(Timestamp(1));
    queue.put_back_file(inode(1), entry);
    let last = queue.last_ticket();
    queue.push(&write(1, 50, 10));
    queue.push(&write(1, 80, 10));
    let entry = queue.take_file(inode(1)).unwrap();
    assert_eq!(entry.dirt.ranges.bytes(u64::MAX), 10);
    let (mark, next) = entry.next.clone().unwrap();
    assert!(mark.ticket > last);
    assert_eq!(next.ranges.bytes(u64::MAX), 20);
    let entry = entry.as_one();
    assert_eq!(entry.dirt.ranges.bytes(u64::MAX), 30);
    assert!(entry.mark.ticket <= last);
}

#[test]
fn what_is_put_back_keeps_its_place_and_takes_in_what_came_since() {
    let mut queue = Queue::default();
    queue.push(&write(1, 0, 10));
    queue.push(&write(2, 0, 10));
    let entry = queue.take_file(inode(1)).unwrap();
    queue.push(&write(1, 50, 10));
    queue.put_back_file(inode(1), entry);
    assert_eq!(queue.next_file(None).unwrap().1, inode(1));
    let entry = queue.take_file(inode(1)).unwrap();
    assert_eq!(entry.dirt.ranges.bytes(u64::MAX), 20);
}

#[test]
fn a_rename_dirties_both_names() {
    let mut queue = Queue::default();
    queue.push(&hint(What::Rename {
        old_directory: inode(1),
        old_name: name("a"),
        new_directory: inode(2),
        new_name: name("b"),
    }));
    let taken: Vec<_> = std::iter::from_fn(|| queue.take_name())
        .map(|(directory, name, _)| (directory.inode, name))
        .collect();
    assert_eq!(taken, [(1, name("a")), (2, name("b"))]);
    assert!(queue.is_empty());
}

#[test]
fn too_many_names_become_a_listing_as_old_as_the_oldest() {
    let mut queue = Queue::default();
    for at in 0..=QueueLimits::default().names_per_directory {
        queue.push(&hint(What::Name {
            directory: inode(1),
            name: name(&at.to_string()),
            arrived: false,
        }));
    }
    assert!(!queue.has_names());
    let (directory, listing) = queue.take_listing().unwrap();
    assert_eq!((directory, listing.mark.ticket), (inode(1), Ticket(1)));
    assert!(queue.is_empty());
}

#[test]
fn a_barrier_can_tell_when_everything_before_it_is_taken() {
    let mut queue = Queue::default();
    queue.push(&write(1, 0, 1));
    let barrier = queue.last_ticket();
    queue.push(&write(2, 0, 1));
    assert!(queue.oldest().unwrap().ticket <= barrier);
    queue.take_file(inode(1));
    assert!(queue.oldest().unwrap().ticket > barrier);
}

#[test]
fn what_no_look_would_tell_outlives_widening() {
    let mut queue = Queue::default();
    queue.push(&write(1, 0, 1));
    queue.push(&write(2, 7, 1));
    queue.push(&hint(What::Flush { file: inode(2) }));
    queue.widen_to_everything();
    assert_eq!(queue.entries(), 1);
    let mapped = queue.take_file(inode(2)).unwrap();
    assert!(mapped.dirt.flush && mapped.dirt.ranges.contains(7, 1));
}

#[test]
fn there_is_room_for_names_up_to_either_limit() {
    let mut queue = Queue::within(QueueLimits {
        names_per_directory: 2,
        entries: 3,
    });
    let mut room = |directory, text: &str| {
        let mark = queue.scan_mark(Instant::now());
        queue.push_name(inode(directory), name(text), mark);
        [1, 2].map(|directory| queue.has_room_in(inode(directory)))
    };
    assert_eq!(room(1, "a"), [true, true]);
    assert_eq!(room(1, "b"), [false, true]);
    assert_eq!(room(2, "a"), [false, false]);
    assert!(!queue.is_crowded(), "no more than may be");
}

#[test]
fn widening_forgets_entries_but_not_that_there_were_any() {
    let mut queue = Queue::default();
    queue.push(&write(1, 0, 1));
    queue.push(&hint(What::Name {
        directory: inode(1),
        name: name("x"),
        arrived: false,
    }));
    let oldest = queue.oldest().unwrap().ticket;
    queue.widen_to_everything();
    assert_eq!(queue.oldest().unwrap().ticket, oldest);
    assert!(queue.take_everything().is_some());
    assert!(queue.is_empty());
}

#[test]
fn whatever_is_pushed_is_taken_once() {
    let mut queue = Queue::default();
    let files: BTreeSet<u64> = (0..500).map(|at| at * 7 % 101).collect();
    (0..500u64).for_each(|at| queue.push(&write(at * 7 % 101, at, 1)));
    let mut taken = BTreeSet::new();
    while let Some((_, file)) = queue.next_file(None) {
        assert!(queue.take_file(file).is_some());
        assert!(taken.insert(file.inode));
    }
    assert_eq!(taken, files);
}

#[test]
fn what_shares_a_mark_is_kept_apart() {
    let mut queue = Queue::default();
    let mark = queue.scan_mark(Instant::now());
    for at in 0..3 {
        queue.push_name(inode(9), name(&at.to_string()), mark);
        queue.dirty(inode(at), mark, |dirt| dirt.whole = true);
        queue.push_listing(inode(20 + at), mark, true, true);
    }
    assert_eq!(std::iter::from_fn(|| queue.take_name()).count(), 3);
    assert_eq!(std::iter::from_fn(|| queue.take_listing()).count(), 3);
    assert_eq!(queue.entries(), 3);
}

#[test]
fn a_mark_names_all_who_told() {
    let mut queue = Queue::default();
    queue.push(&write(1, 0, 1));
    queue.push(&Hint {
        source: Source::Kernel,
        ..write(1, 5, 1)
    });
    let told = Sources::from(Source::Shim).and(Source::Kernel);
    assert_eq!(queue.take_file(inode(1)).unwrap().mark.sources, told);

    let scan = queue.scan_mark(Instant::now());
    queue.push_name(inode(9), name("a"), scan);
    let hinted = |source| Hint {
        source,
        ..hint(What::Name {
            directory: inode(9),
            name: name("a"),
            arrived: false,
        })
    };
    queue.push(&hinted(Source::Kernel));
    let mark = queue.take_name().unwrap().2;
    assert!(mark.sources.has(Source::Kernel) && !mark.sources.has(Source::Shim));

    queue.push(&Hint {
        source: Source::Shim,
        ..hint(What::Everything)
    });
    let everywhere = queue.take_everything().unwrap();
    assert!(!everywhere.sources.announced(), "it names nothing");
}

//! The reader against the producer: every step of the protocol, arbitrary memory, and threads that
//! are killed in the middle.

use std::collections::HashMap;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::{Arc, Mutex};

use everwrite_protocol::local::Inode;
use everwrite_protocol::local::segment::{HULL_ATTRIBUTES, HULL_RANGE, SEGMENT_BYTES};
use proptest::prelude::*;

use super::super::dues::REMEMBERED_MAX;
use super::super::memory::{Shared, sealed};
use super::super::producer::{Announced, Call, Producer};
use super::*;

const SLOTS: u64 = RANGE_SLOTS as u64;

fn segment() -> Shared<Segment> {
    sealed::<Segment>("test").unwrap().1
}

fn producer(segment: &Segment) -> Producer<'_> {
    Producer { segment, thread: 1 }
}

/// A reader with a clock of its own.
struct Model {
    segment: Shared<Segment>,
    reader: SegmentReader,
    now: Instant,
    thread_lives: bool,
}

impl Model {
    fn new() -> Self {
        let reader = SegmentReader::new();
        Self {
            segment: segment(),
            reader,
            now: Instant::now(),
            thread_lives: true,
        }
    }

    fn visit(&mut self, visit: Visit) -> Vec<What> {
        let mut said = Vec::new();
        let lives = self.thread_lives;
        let tell = &mut |what| said.push(what);
        self.reader
            .visit(&self.segment, visit, self.now, &|_| lives, tell);
        said
    }

    fn poll_after(&mut self, time: Duration) -> Vec<What> {
        self.now += time;
        self.visit(Visit::Poll)
    }

    fn announce(&self, call: Call) -> Announced {
        producer(&self.segment).begin(0, call)
    }

    fn call(&self, call: Call) -> Announced {
        let announced = self.announce(call);
        producer(&self.segment).end(announced, call);
        announced
    }
}

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

fn whole(inode: u64) -> What {
    What::Whole {
        file: file(inode),
        birth: 0,
    }
}

#[test]
fn each_operation_says_its_own() {
    let cases = [
        (operation::WRITE, write(1, 2, 3)),
        (
            operation::APPEND,
            What::Append {
                file: file(1),
                birth: 0,
            },
        ),
        (operation::TRUNCATE, write(1, 2, u64::MAX)),
        (operation::WHOLE, whole(1)),
        (
            operation::ATTRIBUTES,
            What::Attributes {
                file: file(1),
                birth: 0,
            },
        ),
        (
            operation::MAP,
            What::Mapped {
                file: file(1),
                birth: 0,
                offset: 2,
                length: 3,
            },
        ),
        (operation::SYNC, What::Sync { file: file(1) }),
        (
            operation::UNMAP,
            What::Unmapped {
                file: file(1),
                birth: 0,
            },
        ),
        (0, whole(1)),
        (u32::MAX, whole(1)),
    ];
    for (operation, expected) in cases {
        let mut model = Model::new();
        model.call(Call {
            operation,
            ..Call::write(1, 2, 3)
        });
        assert_eq!(model.visit(Visit::Poll), [expected]);
        assert_eq!(model.visit(Visit::Poll), []);
    }
}

#[test]
fn a_ring_goes_round_for_ever() {
    let mut model = Model::new();
    for number in 0..5 * SLOTS + 7 {
        assert!(matches!(
            model.call(Call::write(1, number, 1)),
            Announced::Slot { .. }
        ));
        if number % 3 == 0 {
            assert!(!model.visit(Visit::Poll).is_empty());
        }
    }
}

#[test]
fn a_call_that_takes_long_is_told_now_and_then() {
    let mut model = Model::new();
    let call = Call::write(1, 0, 10);
    let announced = model.announce(call);
    assert_eq!(model.visit(Visit::Poll), []);
    let said: Vec<usize> = (0..12)
        .map(|_| model.poll_after(Duration::from_millis(20)).len())
        .collect();
    assert_eq!(
        said,
        [1, 0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0],
        "after 20, 40, 80 … ms"
    );
    producer(&model.segment).end(announced, call);
    assert_eq!(model.visit(Visit::Poll), [write(1, 0, 10)]);
    assert!(!model.reader.is_waiting());
}

#[test]
fn a_busy_thread_that_is_never_met_between_calls_is_told_as_it_grows() {
    let mut model = Model::new();
    let announced = model.call(Call::write(1, 0, 10));
    for round in 1..10 {
        assert!(producer(&model.segment).coalesce(announced, 10));
        let said = model.poll_after(Duration::from_millis(20));
        if round > 1 {
            assert_eq!(said, [write(1, 0, 10 + 10 * round)]);
        }
        producer(&model.segment).end(announced, Call::write(1, 0, 0));
    }
    assert_eq!(model.visit(Visit::Poll), [write(1, 0, 100)]);
    assert!(
        !producer(&model.segment).coalesce(announced, 10),
        "taken: a new slot is needed"
    );
}

#[test]
fn the_slot_of_a_dead_thread_is_told_and_given_back() {
    let mut model = Model::new();
    model.announce(Call::write(1, 0, 10));
    model.announce(Call {
        operation: operation::RUN,
        chain: 3,
        ..Call::write(2, 0, 10)
    });
    model.visit(Visit::Poll);
    model.thread_lives = false;
    assert_eq!(
        model.poll_after(INTENT_PATIENCE),
        [write(1, 0, 10), whole(2)]
    );
    assert!(!model.reader.is_waiting());
    for number in 0..3 * SLOTS {
        assert!(matches!(
            model.call(Call::write(1, number, 1)),
            Announced::Slot { .. }
        ));
        model.visit(Visit::Poll);
    }
}

#[test]
fn a_thread_taken_for_dead_heals_its_slot() {
    let mut model = Model::new();
    let call = Call::write(1, 0, 10);
    let announced = model.announce(call);
    model.visit(Visit::Poll);
    model.thread_lives = false;
    model.poll_after(INTENT_PATIENCE);
    for number in 1..SLOTS {
        model.call(Call::write(2, number, 1));
        model.visit(Visit::Poll);
    }
    // The next lap reaches the slot, and then the dead thread says DONE for the lap before.
    let next = model.announce(Call::write(3, 0, 1));
    producer(&model.segment).end(announced, call);
    assert_eq!(model.visit(Visit::Poll), [write(3, 0, 1)]);
    producer(&model.segment).end(next, call);
    assert_eq!(model.visit(Visit::Poll), [write(3, 0, 1)]);
    assert!(matches!(
        model.call(Call::write(4, 0, 1)),
        Announced::Slot { .. }
    ));
    assert_eq!(model.visit(Visit::Poll), [write(4, 0, 1)]);
}

#[test]
fn a_dead_process_leaves_nothing_untold() {
    let mut model = Model::new();
    model.announce(Call::write(1, 0, 10));
    model.call(Call::write(2, 0, 10));
    model.announce(Call {
        operation: operation::RUN,
        chain: 1,
        ..Call::write(3, 0, 10)
    });
    model.announce(Call {
        operation: operation::SYNC,
        ..Call::write(4, 0, 0)
    });
    assert_eq!(
        model.visit(Visit::Last),
        [write(1, 0, 10), write(2, 0, 10), whole(3)]
    );
    assert_eq!(model.visit(Visit::Last), []);
}

#[test]
fn chains_that_are_not_proved_are_told_whole_at_the_end() {
    let mut model = Model::new();
    for chain in 1..=3 {
        model.call(Call {
            operation: operation::RUN,
            chain,
            ..Call::write(chain, 0, 10)
        });
    }
    model.call(Call {
        chain: 2,
        ..Call::write(2, 0, 0)
    });
    model.call(Call {
        operation: operation::WHOLE,
        chain: 3,
        ..Call::write(3, 0, 0)
    });
    assert_eq!(model.visit(Visit::Poll).len(), 4);
    assert_eq!(model.visit(Visit::Last), [whole(1)]);
}

#[test]
fn more_chains_than_can_be_remembered_are_everything() {
    let mut model = Model::new();
    for chain in 1..=REMEMBERED_MAX as u64 + 1 {
        model.call(Call {
            operation: operation::RUN,
            chain,
            ..Call::write(chain, 0, 10)
        });
        model.visit(Visit::Poll);
    }
    let said = model.visit(Visit::Last);
    assert_eq!(said.len(), REMEMBERED_MAX + 1);
    assert!(said.contains(&What::Everything));
}

#[test]
fn mappings_end_with_the_last_or_with_the_process() {
    let mut model = Model::new();
    let call = |operation| Call {
        operation,
        ..Call::write(1, 0, 10)
    };
    let unmapped = What::Unmapped {
        file: file(1),
        birth: 0,
    };
    for operation in [operation::MAP, operation::MAP, operation::UNMAP] {
        model.call(call(operation));
    }
    assert_eq!(model.visit(Visit::Poll).last(), Some(&whole(1)));
    let mut open = Vec::new();
    model.reader.tell_open(&mut |what| open.push(what));
    assert_eq!(open, [whole(1)]);
    model.call(call(operation::UNMAP));
    assert_eq!(model.visit(Visit::Poll), std::slice::from_ref(&unmapped));
    model.call(call(operation::MAP));
    model.visit(Visit::Poll);
    assert_eq!(model.visit(Visit::Last), [unmapped]);
}

#[test]
fn a_message_that_can_not_be_read_is_everything_unless_it_is_being_written() {
    let mut model = Model::new();
    let slot = &model.segment.messages.slots[0];
    slot.length.store(3, SeqCst);
    slot.control.store(INTENT, SeqCst);
    slot.body[0].store(u64::MAX, SeqCst);
    model.segment.messages.head.store(1, SeqCst);
    assert_eq!(model.visit(Visit::Barrier), []);
    model.segment.messages.slots[0].control.store(DONE, SeqCst);
    assert_eq!(model.visit(Visit::Poll), [What::Everything]);
}

#[test]
fn hulls_are_told_when_raised_and_once_more_at_the_end() {
    let mut model = Model::new();
    let hull = |segment: &Segment, low, high, flag| {
        assert!(producer(segment).hull(file(1), low, high, flag));
    };
    hull(&model.segment, 100, 200, HULL_RANGE);
    assert_eq!(model.visit(Visit::Poll), [write(1, 100, 100)]);
    assert_eq!(model.visit(Visit::Poll), []);
    hull(&model.segment, 50, 60, HULL_RANGE);
    hull(&model.segment, 0, 0, HULL_ATTRIBUTES);
    let attributes = What::Attributes {
        file: file(1),
        birth: 0,
    };
    assert_eq!(
        model.visit(Visit::Poll),
        [write(1, 0, 200), attributes.clone()]
    );
    assert_eq!(model.visit(Visit::Last), [write(1, 0, 200), attributes]);
}

#[test]
fn everything_is_told_when_raised_and_once_more_at_the_end() {
    let mut model = Model::new();
    model.segment.header.all_dirty.store(1, SeqCst);
    assert_eq!(model.visit(Visit::Poll), [What::Everything]);
    assert_eq!(model.visit(Visit::Poll), []);
    assert_eq!(model.visit(Visit::Last), [What::Everything]);
}

#[test]
fn a_full_segment_widens_to_hulls_and_then_to_everything() {
    let mut model = Model::new();
    for inode in 0..SLOTS + HULLS as u64 + 1 {
        model.call(Call::write(inode, 0, 1));
    }
    let said = model.visit(Visit::Poll);
    assert_eq!(said.len(), RANGE_SLOTS + HULLS + 1);
    assert_eq!(said.last(), Some(&What::Everything));
}

/// Scribbles `words` over the memory, as far as they go from `at` on, wrapped round.
fn scribble(segment: &Segment, at: usize, words: &[u64]) {
    let mut cells: Vec<&AtomicU64> = Vec::new();
    for shard in &segment.shards {
        cells.push(&shard.head);
        for slot in &shard.slots {
            cells.extend([
                &slot.control,
                &slot.device,
                &slot.inode,
                &slot.offset,
                &slot.length,
            ]);
            cells.extend([&slot.birth, &slot.chain]);
        }
    }
    cells.push(&segment.messages.head);
    for slot in &segment.messages.slots {
        cells.push(&slot.control);
        cells.extend(&slot.body);
    }
    for hull in &segment.hulls {
        cells.extend([&hull.device, &hull.inode, &hull.low_inverted, &hull.high]);
    }
    for (index, word) in words.iter().enumerate() {
        cells[(at + index) % cells.len()].store(*word, SeqCst);
        let (low, high) = (*word as u32, (*word >> 32) as u32);
        segment.shards[index % SHARDS].slots[at % RANGE_SLOTS]
            .operation
            .store(low, SeqCst);
        segment.messages.slots[index % MESSAGE_SLOTS]
            .length
            .store(low % 700, SeqCst);
        segment.hulls[(at + index) % HULLS]
            .state
            .store(high % 4, SeqCst);
        segment.hulls[(at + index) % HULLS].flags.store(low, SeqCst);
    }
    segment.header.widened.store(1, SeqCst);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever stands in the memory: the visit ends, tells a bounded number of things and
    /// remembers a bounded number.
    #[test]
    fn arbitrary_memory_is_survived(
        scribbles in proptest::collection::vec(
            (0usize..60_000, proptest::collection::vec(
                prop_oneof![any::<u64>(), 0u64..4096, Just(u64::MAX)], 1..400)),
            1..8),
        visits in proptest::collection::vec(
            prop_oneof![Just(Visit::Poll), Just(Visit::Barrier), Just(Visit::Last)], 1..8),
    ) {
        let mut model = Model::new();
        for (visit, (at, words)) in visits.into_iter().zip(scribbles) {
            scribble(&model.segment, at, &words);
            model.now += Duration::from_millis(30);
            let said = model.visit(visit);
            let most = SHARDS * RANGE_SLOTS + 2 * MESSAGE_SLOTS + 3 * HULLS + 2;
            prop_assert!(said.len() <= most + 2 * REMEMBERED_MAX);
            let reader = &model.reader;
            prop_assert!(reader.waiting.len() <= SHARDS * RANGE_SLOTS + MESSAGE_SLOTS);
            prop_assert!(reader.dues.len() <= REMEMBERED_MAX);
        }
    }
}

/// What the writers of a storm truly did, as they did it: for each file the bytes written.
type Truth = Arc<Mutex<HashMap<u64, Vec<(u64, u64)>>>>;

/// One thread of a storm: calls in all the ways there are, until it is stopped at a random step.
fn storm(segment: &Segment, truth: &Truth, shard: usize, mut steps: u32, seed: u64) {
    let mut random = seed | 1;
    let mut next = |bound: u64| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random % bound
    };
    let producer = Producer {
        segment,
        thread: shard as u32,
    };
    let mut step = || {
        steps = steps.saturating_sub(1);
        steps > 0
    };
    let mut last: Option<(Announced, u64, u64)> = None;
    while step() {
        let more = last.filter(|_| next(2) == 0);
        let (announced, inode, start, length) = match more {
            Some((announced, inode, end)) if producer.coalesce(announced, 8) => {
                (announced, inode, end, 8)
            }
            _ => {
                let call = Call::write(next(700), next(1 << 20), 1 + next(4096));
                let announced = producer.begin(shard, call);
                (announced, call.file.inode, call.offset, call.length)
            }
        };
        if !step() {
            return;
        }
        // The system call.
        truth
            .lock()
            .unwrap()
            .entry(inode)
            .or_default()
            .push((start, start + length));
        if !step() {
            return;
        }
        producer.end(announced, Call::write(inode, start, length));
        last = Some((announced, inode, start + length));
    }
}

fn is_covered(said: &HashMap<u64, Vec<(u64, u64)>>, inode: u64, byte: u64) -> bool {
    let ranges = said.get(&inode).map_or(&[][..], Vec::as_slice);
    ranges
        .iter()
        .any(|range| (range.0..range.1).contains(&byte))
}

/// Threads write and die at any step while the reader makes its rounds; afterwards every byte that
/// was truly written has been told.
#[test]
fn no_byte_is_lost_in_a_storm_of_killed_threads() {
    for round in 1..=40u64 {
        let segment = Arc::new(segment());
        let truth = Truth::default();
        let writers: Vec<_> = (0..SHARDS + 2)
            .map(|number| {
                let (segment, truth) = (Arc::clone(&segment), Arc::clone(&truth));
                let seed = round * 1_000_003 + number as u64 * 7919;
                let steps = 1 + (seed % 20_000) as u32;
                std::thread::spawn(move || storm(&segment, &truth, number % SHARDS, steps, seed))
            })
            .collect();
        let mut said: HashMap<u64, Vec<(u64, u64)>> = HashMap::new();
        let mut everything = false;
        let mut tell = |what| match what {
            What::Write {
                file,
                offset,
                length,
                ..
            } => {
                said.entry(file.inode)
                    .or_default()
                    .push((offset, offset.saturating_add(length)));
            }
            What::Everything => everything = true,
            other => panic!("nobody said {other:?}"),
        };
        let mut reader = SegmentReader::new();
        let over = AtomicBool::new(false);
        while !over.load(SeqCst) {
            over.store(writers.iter().all(|writer| writer.is_finished()), SeqCst);
            reader.visit(&segment, Visit::Poll, Instant::now(), &|_| true, &mut tell);
        }
        writers
            .into_iter()
            .for_each(|writer| writer.join().unwrap());
        reader.visit(&segment, Visit::Last, Instant::now(), &|_| true, &mut tell);
        for (inode, ranges) in truth.lock().unwrap().iter() {
            for (start, end) in ranges {
                let told = is_covered(&said, *inode, *start) && is_covered(&said, *inode, end - 1);
                assert!(everything || told, "round {round}: {inode} {start}..{end}");
            }
        }
    }
}

#[test]
fn a_segment_is_as_large_as_the_protocol_says() {
    assert_eq!(size_of::<Segment>(), SEGMENT_BYTES);
}

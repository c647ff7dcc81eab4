//! The reader's half of the two-phase slot protocol, for one segment.
//!
//! The writer's half and the life of a slot are told in
//! [`segment`](everwrite_protocol::local::segment). This half keeps three promises:
//!
//! - a slot that says DONE is told once and given back;
//! - a slot that says INTENT is told when somebody asks for a barrier, when it has stood for some
//!   time, and when its thread or process is gone: the system call may have happened, and what can't
//!   be told to have happened counts as happened;
//! - whatever stands in the memory, a visit ends after a number of steps that the layout bounds, and
//!   keeps no more than the layout has room for.

use std::collections::HashMap;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};
use std::time::{Duration, Instant};

use everwrite_protocol::local::Inode;
use everwrite_protocol::local::segment::{
    DONE, FREE, HULLS, INTENT, MESSAGE_SLOTS, MessageSlot, Messages, RANGE_SLOTS, RangeSlot,
    SHARDS, Segment, Shard, TAKEN, operation,
};

use super::dues::Dues;
use super::hint::What;
use super::slots::{self, RangeFields};
use super::unsynced::Unsynced;

/// How long a call may be under way before it is told as if it had ended.
const INTENT_PATIENCE: Duration = Duration::from_millis(20);
/// Longest time between two tellings of a call that does not end.
const INTENT_PATIENCE_MAX: Duration = Duration::from_secs(60);
/// [`Hull::state`](everwrite_protocol::local::segment::Hull) of a hull with an inode.
const HULL_IN_USE: u32 = 2;

/// Why a segment is visited.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Visit {
    /// To see what is new.
    Poll,
    /// For a barrier: calls under way are told too.
    Barrier,
    /// The process is gone: nothing will change any more, all that is open is told.
    Last,
}

/// What the reader remembers of one segment.
#[derive(Debug)]
pub(super) struct SegmentReader {
    /// First position of each shard that may not have been given back yet; the messages' last.
    tails: [u64; SHARDS + 1],
    /// Slots seen as INTENT, by ring and index.
    waiting: HashMap<(usize, usize), Waiting>,
    /// What is due at the end of the process.
    dues: Dues,
    /// All flags ever seen on a hull.
    hulls: Box<[u32; HULLS]>,
    /// Hints taken.
    taken: u64,
    unsynced: Unsynced,
    /// Number of this visit.
    number: u64,
}

/// An INTENT that has been seen.
#[derive(Debug)]
struct Waiting {
    control: u64,
    /// Number of the visit that saw it first.
    first: u64,
    seen: Option<RangeFields>,
    again: Instant,
    patience: Duration,
}

/// What a visit needs: the memory, its reason, its time, who lives, where to tell.
struct Errand<'a> {
    visit: Visit,
    now: Instant,
    lives: &'a dyn Fn(u32) -> bool,
    tell: &'a mut dyn FnMut(What),
}

impl SegmentReader {
    pub(super) fn new() -> Self {
        Self {
            tails: [0; SHARDS + 1],
            waiting: HashMap::new(),
            dues: Dues::default(),
            hulls: Box::new([0; HULLS]),
            taken: 0,
            unsynced: Unsynced::default(),
            number: 0,
        }
    }

    /// Tells what `segment` says; true when something was taken. `lives` answers whether a thread of
    /// the process is still there; when in doubt, yes.
    pub(super) fn visit(
        &mut self,
        segment: &Segment,
        visit: Visit,
        now: Instant,
        lives: &dyn Fn(u32) -> bool,
        tell: &mut dyn FnMut(What),
    ) -> bool {
        let before = self.taken;
        self.number = self.unsynced.visit();
        let mut errand = Errand {
            visit,
            now,
            lives,
            tell,
        };
        for (ring, shard) in segment.shards.iter().enumerate() {
            self.shard(ring, shard, &mut errand);
        }
        self.messages(&segment.messages, &mut errand);
        self.hulls(segment, &mut errand);
        self.all_dirty(segment, &mut errand);
        if visit == Visit::Last {
            self.dues.settle(errand.tell);
        }
        self.taken != before
    }

    /// Hints taken so far.
    pub(super) fn taken(&self) -> u64 {
        self.taken
    }

    /// The file of a call for durability that was told in the last visit, if nothing is known to have been
    /// written after it.
    pub(super) fn is_synced(&self) -> Option<Inode> {
        self.unsynced.is_synced()
    }

    /// Has nothing ever been announced?
    pub(super) fn is_untouched(&self) -> bool {
        self.taken == 0 && self.tails == [0; SHARDS + 1]
    }

    /// Is a call under way, as far as has been seen?
    pub(super) fn is_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// The same, of a call that may change something while it is under way. Whoever asks for durability or for
    /// a mapping does not.
    pub(super) fn is_writing(&self) -> bool {
        let changes_nothing = |fields: &RangeFields| {
            matches!(
                fields.operation,
                operation::SYNC | operation::MAP | operation::UNMAP
            )
        };
        let writing = |waiting: &Waiting| !waiting.seen.as_ref().is_some_and(changes_nothing);
        self.waiting.values().any(writing)
    }

    /// Tells, without forgetting, what only the end of the process would tell: its image may have
    /// been replaced by `execve(2)`, which keeps the process.
    pub(super) fn tell_open(&self, tell: &mut dyn FnMut(What)) {
        self.dues.tell(tell);
    }

    fn shard(&mut self, ring: usize, shard: &Shard, errand: &mut Errand<'_>) {
        let (tail, head) = (self.tails[ring], shard.head.load(Acquire));
        self.tails[ring] = walk(tail, head, RANGE_SLOTS, |lap, index| {
            self.range_slot((ring, index), lap, &shard.slots[index], errand)
        });
    }

    fn messages(&mut self, messages: &Messages, errand: &mut Errand<'_>) {
        let (tail, head) = (self.tails[SHARDS], messages.head.load(Acquire));
        self.tails[SHARDS] = walk(tail, head, MESSAGE_SLOTS, |lap, index| {
            self.message_slot((SHARDS, index), lap, &messages.slots[index], errand)
        });
    }

    /// Visits the slot of a position claimed in `lap`; true when it has to be visited again. (A thread
    /// taken for dead by mistake may say DONE in a later lap than its own: both are told.)
    fn range_slot(
        &mut self,
        key: (usize, usize),
        lap: u64,
        slot: &RangeSlot,
        errand: &mut Errand<'_>,
    ) -> bool {
        let control = slot.control.load(Acquire);
        match control & 3 {
            DONE => match take(&slot.control, control, || RangeFields::copy(slot)) {
                Some(fields) => {
                    let seen = self.waiting.remove(&key);
                    let seen = seen.filter(|seen| seen.control >> 2 == control >> 2);
                    let first = seen.map_or(self.number, |seen| seen.first);
                    self.range_done(fields, first, errand);
                    next_lap(control) >> 2 <= lap
                }
                // Its thread took it back to add to it.
                None => true,
            },
            INTENT => {
                let seen = Some(RangeFields::copy(slot));
                if !self.is_to_be_told(key, control, seen, errand) {
                    return true;
                }
                // First who lives, then the fields: those of a dead thread are the last word.
                let gone = errand.is_gone(slot.thread.load(Relaxed));
                self.range_intent(RangeFields::copy(slot), gone, errand);
                !(gone && self.give_back(key, &slot.control, control))
            }
            FREE => control >> 2 <= lap,
            // Only this reader takes; whoever wrote that has blocked his own ring.
            _ => false,
        }
    }

    fn message_slot(
        &mut self,
        key: (usize, usize),
        lap: u64,
        slot: &MessageSlot,
        errand: &mut Errand<'_>,
    ) -> bool {
        let control = slot.control.load(Acquire);
        match control & 3 {
            DONE => match take(&slot.control, control, || slots::message(slot)) {
                Some(said) => {
                    self.waiting.remove(&key);
                    self.taken += 1;
                    errand.tell_message(said);
                    next_lap(control) >> 2 <= lap
                }
                None => true,
            },
            INTENT => {
                if !self.is_to_be_told(key, control, None, errand) {
                    return true;
                }
                let gone = errand.is_gone(slot.thread.load(Relaxed));
                match slots::message(slot) {
                    // Its thread may be writing it once more, with the name that the call gave.
                    None if !gone => {}
                    said => errand.tell_message(said),
                }
                !(gone && self.give_back(key, &slot.control, control))
            }
            FREE => control >> 2 <= lap,
            _ => false,
        }
    }

    /// What was announced, `first` seen in that visit, has happened.
    fn range_done(&mut self, fields: RangeFields, first: u64, errand: &mut Errand<'_>) {
        self.taken += 1;
        match fields.operation {
            operation::SYNC => self.unsynced.synced(fields.thread, first, fields.file),
            _ if fields.is_content() => self.unsynced.wrote(fields.thread),
            _ => {}
        }
        let is_run = fields.operation == operation::RUN;
        match fields.what() {
            // A run that names no chain could never be proved.
            Some(_) if is_run && fields.chain == 0 => (errand.tell)(fields.whole()),
            Some(what) => self.note_and_tell(what, errand),
            None => {}
        }
        match fields.chain {
            0 => {}
            chain if is_run => self.dues.add_run(chain, fields.key()),
            chain => self.dues.prove(chain),
        }
    }

    fn range_intent(&mut self, fields: RangeFields, gone: bool, errand: &mut Errand<'_>) {
        if fields.is_content() {
            self.unsynced.wrote(fields.thread);
        }
        match fields.what() {
            // Asked for, not had; or about to be told for good.
            None | Some(What::Sync { .. }) => {}
            Some(What::Unmapped { .. }) if !gone => {}
            Some(_) if fields.operation == operation::RUN && gone => (errand.tell)(fields.whole()),
            Some(what) if gone => self.note_and_tell(what, errand),
            Some(what) => (errand.tell)(what),
        }
    }

    /// Mappings are counted: the end of one that is not the last says no more than "look".
    fn note_and_tell(&mut self, what: What, errand: &mut Errand<'_>) {
        match what {
            What::Mapped { file, birth, .. } => self.dues.add_mapping((file, birth)),
            What::Unmapped { file, birth } if !self.dues.end_mapping((file, birth)) => {
                return (errand.tell)(What::Whole { file, birth });
            }
            _ => {}
        }
        (errand.tell)(what);
    }

    /// Is this INTENT to be told now? Each is told when it has stood for a while, then less and less
    /// often; one that a busy thread keeps adding to is told again as soon as it has grown.
    fn is_to_be_told(
        &mut self,
        key: (usize, usize),
        control: u64,
        seen: Option<RangeFields>,
        errand: &Errand<'_>,
    ) -> bool {
        let first = || Waiting::new(control, seen, self.number, errand.now);
        let waiting = self.waiting.entry(key).or_insert_with(first);
        if waiting.control != control {
            *waiting = first();
        }
        errand.visit != Visit::Poll || waiting.is_due(seen, errand.now)
    }

    /// Frees the slot of a thread that is gone, unless it came to DONE before it went.
    fn give_back(&mut self, key: (usize, usize), word: &AtomicU64, control: u64) -> bool {
        self.waiting.remove(&key);
        word.compare_exchange(control, next_lap(control), AcqRel, Relaxed)
            .is_ok()
    }

    fn hulls(&mut self, segment: &Segment, errand: &mut Errand<'_>) {
        // Untouched hulls have no memory behind them, and reading would give them some.
        let untouched = segment.header.widened.load(Acquire) == 0;
        if untouched && errand.visit != Visit::Last {
            return;
        }
        for (hull, ever) in segment.hulls.iter().zip(self.hulls.iter_mut()) {
            if hull.state.load(Acquire) != HULL_IN_USE {
                continue;
            }
            let mut flags = hull.flags.load(Acquire);
            if flags != 0 {
                flags |= hull.flags.swap(0, AcqRel);
                *ever |= flags;
                self.taken += 1;
                self.unsynced.wrote_anybody();
            }
            if errand.visit == Visit::Last {
                flags |= *ever;
            }
            slots::hull(hull, flags).for_each(|what| (errand.tell)(what));
        }
    }

    fn all_dirty(&mut self, segment: &Segment, errand: &mut Errand<'_>) {
        let flag = &segment.header.all_dirty;
        if flag.load(Acquire) != 0 && flag.swap(0, AcqRel) != 0 {
            self.dues.add_everything();
            self.unsynced.wrote_anybody();
            self.taken += 1;
            (errand.tell)(What::Everything);
        }
    }
}

impl Errand<'_> {
    /// A message that can't be read says "everything".
    fn tell_message(&mut self, said: Option<Vec<What>>) {
        let said = said.unwrap_or_else(|| vec![What::Everything]);
        said.into_iter().for_each(|what| (self.tell)(what));
    }

    fn is_gone(&self, thread: u32) -> bool {
        self.visit == Visit::Last || !(self.lives)(thread)
    }
}

impl Waiting {
    fn new(control: u64, seen: Option<RangeFields>, first: u64, now: Instant) -> Self {
        Self {
            control,
            first,
            seen,
            again: now + INTENT_PATIENCE,
            patience: INTENT_PATIENCE,
        }
    }

    /// Is it time to tell it (again)? If so, the next time is set.
    fn is_due(&mut self, seen: Option<RangeFields>, now: Instant) -> bool {
        if now < self.again {
            return false;
        }
        self.patience = match self.seen == seen {
            true => (self.patience * 2).min(INTENT_PATIENCE_MAX),
            false => INTENT_PATIENCE,
        };
        self.seen = seen;
        self.again = now + self.patience;
        true
    }
}

/// Visits the positions of a ring from `tail`, the first that may be open, to `head`; at most one
/// turn, whatever the head may be. Gives the first that is still open.
fn walk(tail: u64, head: u64, slots: usize, mut is_open: impl FnMut(u64, usize) -> bool) -> u64 {
    let slots = slots as u64;
    let start = match head.checked_sub(tail) {
        Some(open) if open <= slots => tail,
        _ => head.saturating_sub(slots),
    };
    let mut first_open = None;
    for position in start..head {
        if is_open(position / slots, (position % slots) as usize) && first_open.is_none() {
            first_open = Some(position);
        }
    }
    first_open.unwrap_or(head)
}

/// Takes a slot that is DONE, copies what it says and frees it for the next lap. `None` when its
/// thread was faster and took it back.
fn take<T>(word: &AtomicU64, control: u64, copy: impl FnOnce() -> T) -> Option<T> {
    let taken = (control & !3) | TAKEN;
    word.compare_exchange(control, taken, AcqRel, Relaxed)
        .ok()?;
    let copied = copy();
    word.store(next_lap(control), Release);
    Some(copied)
}

/// FREE of the lap after that of `control`.
const fn next_lap(control: u64) -> u64 {
    ((control >> 2).wrapping_add(1) << 2) | FREE
}

#[cfg(test)]
mod tests;

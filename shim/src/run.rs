//! Runs of plain `write`: where the bytes went, without asking for the file offset at each.
//!
//! The first write of a run asks for the offset, the later ones add up. The sum is proved by
//! asking again: after 1, 2, 4, 8 … 64 writes, then after every 64, and whenever the descriptor is
//! closed, moved or duplicated. An offset beyond the sum means that somebody else moved it forwards
//! (a sibling process, a read): the range is widened to it. An offset before it means that nothing
//! is known: the whole file. Between proofs the slot is a RUN, which the coordinator may take but
//! which its chain still has to answer for.
//!
//! A run belongs to one write at a time. A second thread, or a signal handler, that writes to the
//! same descriptor meanwhile asks for the offset before and after its own call instead.

use core::ptr;
use core::sync::atomic::{
    AtomicPtr, AtomicU32, AtomicU64,
    Ordering::{Acquire, Relaxed, Release},
};

use everwrite_protocol::local::PolicyPage;
use everwrite_protocol::local::segment::{DONE, RangeSlot, control, operation};

use crate::attach::{self, Absence, Lane};
use crate::descriptor::Known;
use crate::range::{self, Change};
use crate::{kernel, policy, process};

/// Calls for durability so far.
static SYNCS: AtomicU32 = AtomicU32::new(0);

/// Writes between two proofs of a long run.
const WRITES_PER_PROOF: u32 = 64;

/// The run of one descriptor. All-zero: none. Everything but `held` belongs to whoever holds it.
#[repr(C)]
pub(crate) struct Run {
    /// 1: a write of the run is under way.
    held: AtomicU32,
    /// Writes so far.
    writes: AtomicU32,
    /// Offset at the last proof: what is not proved lies at or behind it.
    start: AtomicU64,
    /// Where the next write is expected to go.
    expected: AtomicU64,
    /// Which use of the descriptor's number this is, see [`Known::chain`].
    chain: AtomicU64,
    /// The slot that holds the run so far (null: no run), its position, its attachment's stamp.
    slot: AtomicPtr<RangeSlot>,
    position: AtomicU64,
    stamp: AtomicU64,
    /// [`SYNCS`] when it began.
    syncs: AtomicU32,
}

/// A plain write that was announced and has not returned.
#[derive(Clone, Copy)]
pub(crate) enum Ticket {
    /// Part of the descriptor's run. `kept` bytes of the slot are from before this call.
    Run {
        known: Known,
        run: &'static Run,
        taken: Taken,
        kept: u64,
    },
    /// A write of its own, at or behind `from`.
    Apart {
        known: Known,
        ticket: range::Ticket,
        from: u64,
    },
    /// Nobody listens, or the offset may not be asked for.
    Blind(range::Ticket),
}

/// A slot that is ours to write, in INTENT.
#[derive(Clone, Copy)]
pub(crate) struct Taken {
    slot: &'static RangeSlot,
    position: u64,
    lane: Lane,
}

impl Taken {
    #[inline(always)]
    fn done(self) {
        self.slot
            .control
            .store(control(self.position, range::SLOTS, DONE), Release);
        range::ring(self.lane);
    }
}

/// Announces a plain write of up to `length` bytes (`u64::MAX`: not known).
#[inline(never)]
pub(crate) fn begin(page: &PolicyPage, known: Known, length: u64) -> Ticket {
    let lane = match attach::lane_at_once(page) {
        Ok(lane) if process::may_make_calls() => lane,
        Err(Absence::Later) => return apart(page, known, length),
        Err(Absence::Unheard) => {
            return Ticket::Blind(range::unheard(page, known.file, Change::WHOLE));
        }
        Ok(_) => return Ticket::Blind(range::announce(page, known.file, Change::WHOLE)),
    };
    policy::hold(page);
    let Some(run) = known.entry.map(|entry| &entry.run).filter(|run| run.hold()) else {
        return apart(page, known, u64::MAX);
    };
    if run.is_open() && run.chain.load(Relaxed) != known.chain() {
        run.leave(lane);
    }
    match run.go_on(lane) {
        Some(taken) => {
            let kept = taken.slot.length.load(Relaxed);
            taken.slot.operation.store(operation::RUN, Relaxed);
            taken
                .slot
                .length
                .store(kept.saturating_add(length), Relaxed);
            Ticket::Run {
                known,
                run,
                taken,
                kept,
            }
        }
        None => start(page, known, run, lane, length),
    }
}

/// Begins a run where the file offset is now; that also proves the one before, if the coordinator
/// took it.
#[cold]
#[inline(never)]
fn start(page: &PolicyPage, known: Known, run: &'static Run, lane: Lane, length: u64) -> Ticket {
    let offset = kernel::position(known.descriptor).unwrap_or(0);
    let chain = known.chain();
    if run.is_open() && run.stamp.load(Relaxed) == lane.stamp() {
        let verdict = run.verdict(Some(offset));
        // As expected: then the new slot of the chain says so by being there.
        if verdict != Change::write(offset, 0).of_chain(chain) {
            range::tell(page, known.file, verdict);
        }
    } else {
        run.writes.store(0, Relaxed);
    }
    let change = Change {
        operation: operation::RUN,
        offset,
        length,
        chain,
    };
    let ticket = range::announce_apart(page, known.file, change);
    let Some((slot, position, lane)) = ticket.slot() else {
        run.clear();
        run.release();
        return Ticket::Apart {
            known,
            ticket,
            from: offset,
        };
    };
    run.start.store(offset, Relaxed);
    run.expected.store(offset, Relaxed);
    run.chain.store(chain, Relaxed);
    run.position.store(position, Relaxed);
    run.stamp.store(lane.stamp(), Relaxed);
    run.syncs.store(SYNCS.load(Relaxed), Relaxed);
    run.slot.store(ptr::from_ref(slot).cast_mut(), Relaxed);
    Ticket::Run {
        known,
        run,
        taken: Taken {
            slot,
            position,
            lane,
        },
        kept: 0,
    }
}

/// A write beside the run, or without one.
#[cold]
#[inline(never)]
fn apart(page: &PolicyPage, known: Known, length: u64) -> Ticket {
    match kernel::position(known.descriptor) {
        Ok(from) => {
            let ticket = range::announce_apart(page, known.file, Change::write(from, length));
            Ticket::Apart {
                known,
                ticket,
                from,
            }
        }
        Err(_) => Ticket::Blind(range::announce_apart(page, known.file, Change::WHOLE)),
    }
}

impl Ticket {
    /// The call returned `result`: bytes written, or a negative number.
    #[inline(never)]
    pub(crate) fn end(&self, result: isize) {
        match self {
            Self::Run {
                known,
                run,
                taken,
                kept,
            } => end_run(known, run, *taken, *kept, result),
            Self::Apart {
                known,
                ticket,
                from,
            } => end_apart(known, ticket, *from, result),
            Self::Blind(ticket) => ticket.done(),
        }
    }
}

#[inline(always)]
fn end_run(known: &Known, run: &Run, taken: Taken, kept: u64, result: isize) {
    match u64::try_from(result) {
        Ok(wrote) => {
            taken.slot.length.store(kept.saturating_add(wrote), Relaxed);
            run.expected
                .store(run.expected.load(Relaxed).saturating_add(wrote), Relaxed);
            let writes = run.writes.load(Relaxed).wrapping_add(1);
            run.writes.store(writes, Relaxed);
            if is_proof_due(writes) || wrote == 0 {
                prove(known, run, taken);
            }
        }
        // The announced length stays: some of it may have been written before the error.
        Err(_) => {
            prove(known, run, taken);
            run.clear();
        }
    }
    taken.done();
    run.release();
    if taken.lane.is_outlived() {
        again(known, result);
    }
}

/// Another coordinator has begun during the write: tells it where the bytes went.
#[cold]
#[inline(never)]
fn again(known: &Known, result: isize) {
    let Some(page) = policy::active() else { return };
    let change = match (u64::try_from(result), kernel::position(known.descriptor)) {
        (Ok(wrote), Ok(end)) => Change::write(end.saturating_sub(wrote), wrote),
        _ => Change::WHOLE,
    };
    range::tell(page, known.file, change);
}

#[inline(always)]
fn is_proof_due(writes: u32) -> bool {
    writes.is_multiple_of(WRITES_PER_PROOF)
        || (writes < WRITES_PER_PROOF && writes.is_power_of_two())
}

/// Asks for the offset and makes of a RUN what that proves.
#[cold]
#[inline(never)]
fn prove(known: &Known, run: &Run, taken: Taken) {
    let offset = kernel::position(known.descriptor).ok();
    run.conclude(taken, run.verdict(offset));
    let offset = offset.unwrap_or(0);
    run.start.store(offset, Relaxed);
    run.expected.store(offset, Relaxed);
}

#[cold]
#[inline(never)]
fn end_apart(known: &Known, ticket: &range::Ticket, from: u64, result: isize) {
    match kernel::position(known.descriptor) {
        Ok(end) if end >= from && result >= 0 => {
            ticket.done_as(Change::write(from, end.saturating_sub(from)))
        }
        _ => ticket.done_as(Change::WHOLE),
    }
}

/// A call for durability comes. Slots are read in order, so what is written after it must not be added to a
/// slot before its own: the run of its descriptor is proved, the others go on in new slots.
pub(crate) fn end_all(known: &Known) {
    SYNCS.fetch_add(1, Relaxed);
    settle(known);
}

/// The descriptor is about to be closed, moved or duplicated: proves its run while that can be done.
pub(crate) fn settle(known: &Known) {
    finish(known, true);
}

/// The descriptor is gone already: what was not proved can't be any more.
pub(crate) fn abandon(known: &Known) {
    finish(known, false);
}

#[cold]
#[inline(never)]
fn finish(known: &Known, provable: bool) {
    let offset = |known: &Known| kernel::position(known.descriptor).ok().filter(|_| provable);
    let (Some(entry), Some(page)) = (known.entry, policy::active()) else {
        return;
    };
    let run = &entry.run;
    if !run.is_open() || !run.hold() {
        return;
    }
    // A `fork` child has its parent's run, but not the lane, and nothing to say of it in one of its own.
    let lane = attach::known_lane(page);
    if let Some(lane) = lane.filter(|lane| run.belongs_to(*lane, known)) {
        match run.take_slot(lane) {
            Some(taken) => {
                if taken.slot.operation.load(Relaxed) == operation::RUN {
                    run.conclude(taken, run.verdict(offset(known)));
                }
                taken.done();
            }
            // Taken when it was proved already.
            None if run.start.load(Relaxed) == run.expected.load(Relaxed) => {}
            None => range::tell(page, known.file, run.verdict(offset(known))),
        }
    }
    run.clear();
    run.release();
}

impl Run {
    /// Whether a run goes on.
    #[inline(always)]
    pub(crate) fn is_open(&self) -> bool {
        !self.slot.load(Relaxed).is_null()
    }

    #[inline(always)]
    fn hold(&self) -> bool {
        self.held.compare_exchange(0, 1, Acquire, Relaxed).is_ok()
    }

    #[inline(always)]
    fn release(&self) {
        self.held.store(0, Release);
    }

    fn clear(&self) {
        self.slot.store(ptr::null_mut(), Relaxed);
    }

    fn belongs_to(&self, lane: Lane, known: &Known) -> bool {
        self.stamp.load(Relaxed) == lane.stamp() && self.chain.load(Relaxed) == known.chain()
    }

    /// Writes a verdict into the run's slot.
    fn conclude(&self, taken: Taken, verdict: Change) {
        let slot = taken.slot;
        if verdict.operation == operation::WHOLE {
            // The slot has said its last word: nothing may be added to it.
            self.clear();
        } else if verdict.length != 0 {
            let end = verdict.offset.saturating_add(verdict.length);
            let length = end.saturating_sub(slot.offset.load(Relaxed));
            slot.length
                .store(slot.length.load(Relaxed).max(length), Relaxed);
        }
        slot.operation.store(verdict.operation, Relaxed);
    }

    /// A run that a write left behind while its descriptor was closed under it.
    #[cold]
    #[inline(never)]
    fn leave(&self, lane: Lane) {
        if let Some(taken) = self.take_slot(lane) {
            taken.slot.operation.store(operation::WHOLE, Relaxed);
            taken.done();
        }
        self.clear();
    }

    /// The run's slot, if more may be added to it.
    #[inline(always)]
    fn go_on(&self, lane: Lane) -> Option<Taken> {
        let goes_on = self.syncs.load(Relaxed) == SYNCS.load(Relaxed);
        goes_on.then(|| self.take_slot(lane)).flatten()
    }

    /// Takes the run's slot back, unless the reader took it, or it belongs to another attachment.
    #[inline(always)]
    fn take_slot(&self, lane: Lane) -> Option<Taken> {
        if self.stamp.load(Relaxed) != lane.stamp() {
            return None;
        }
        // SAFETY: stored together with the stamp of the attachment in force, whose segment is mapped.
        let slot = unsafe { self.slot.load(Relaxed).as_ref() }?;
        let position = self.position.load(Relaxed);
        range::retake(slot, position).then_some(Taken {
            slot,
            position,
            lane,
        })
    }

    /// What the file offset says of the bytes since the last proof. A WRITE of length 0: all as
    /// expected.
    fn verdict(&self, offset: Option<u64>) -> Change {
        let (start, expected) = (self.start.load(Relaxed), self.expected.load(Relaxed));
        let change = match offset {
            Some(offset) if offset == expected => Change::write(offset, 0),
            Some(offset) if offset > expected => Change::write(start, offset.saturating_sub(start)),
            _ => Change::WHOLE,
        };
        change.of_chain(self.chain.load(Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(start: u64, expected: u64) -> Run {
        // SAFETY: all-zero is a valid run.
        let run: Run = unsafe { core::mem::zeroed() };
        run.start.store(start, Relaxed);
        run.expected.store(expected, Relaxed);
        run
    }

    #[test]
    fn proofs_thin_out() {
        let due: Vec<u32> = (1..=200).filter(|writes| is_proof_due(*writes)).collect();
        assert_eq!(due, [1, 2, 4, 8, 16, 32, 64, 128, 192]);
    }

    #[test]
    fn the_offset_tells_what_is_known_of_a_run() {
        let cases = [
            (Some(30), Change::write(30, 0)),
            (Some(45), Change::write(10, 35)),
            (Some(29), Change::WHOLE),
            (None, Change::WHOLE),
        ];
        for (offset, expected) in cases {
            assert_eq!(run(10, 30).verdict(offset), expected, "{offset:?}");
        }
    }
}

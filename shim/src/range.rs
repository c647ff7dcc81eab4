//! Two-phase range slots: INTENT before the system call, DONE after it.
//!
//! This is the path of every write, some ten nanoseconds long. A thread extends its own last slot
//! when the next range touches it, so that a stream of writes is one slot.

use core::sync::atomic::Ordering::{AcqRel, Relaxed, Release};

use everwrite_protocol::local::segment::{
    ASLEEP, AWAKE, DONE, INTENT, RANGE_SLOTS, RangeSlot, SHARDS, control, operation,
};
use everwrite_protocol::local::{Inode, PolicyPage};

use crate::attach::{self, Absence, Lane};
use crate::hull::{self, Widened};
use crate::kernel::Status;
use crate::thread::{self, Thread};
use crate::{claim, kernel, policy, process};

/// Slots of a shard.
pub(crate) const SLOTS: u64 = RANGE_SLOTS as u64;
const SHARD_COUNT: u32 = SHARDS as u32;

/// A file as the kernel names it, and what tells a reused inode apart.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct File {
    pub(crate) inode: Inode,
    /// Time of birth in nanoseconds, truncated; 0 when not known.
    pub(crate) birth: u64,
}

impl File {
    pub(crate) fn of(status: &Status) -> Self {
        Self {
            inode: Inode {
                device: status.device,
                inode: status.inode,
            },
            birth: status.birth,
        }
    }
}

/// What a call does to a file's bytes or attributes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Change {
    /// One of [`operation`].
    pub(crate) operation: u32,
    pub(crate) offset: u64,
    /// In bytes; `u64::MAX`: to the end.
    pub(crate) length: u64,
    /// Chain of runs; 0: none.
    pub(crate) chain: u64,
}

impl Change {
    pub(crate) const fn new(operation: u32, offset: u64, length: u64) -> Self {
        Self {
            operation,
            offset,
            length,
            chain: 0,
        }
    }

    pub(crate) const fn write(offset: u64, length: u64) -> Self {
        Self::new(operation::WRITE, offset, length)
    }

    pub(crate) const fn of_chain(self, chain: u64) -> Self {
        Self { chain, ..self }
    }

    /// The size becomes `size`.
    pub(crate) fn truncate(size: i64) -> Self {
        Self::new(operation::TRUNCATE, u64::try_from(size).unwrap_or(0), 0)
    }

    pub(crate) const WHOLE: Self = Self::new(operation::WHOLE, 0, 0);
    pub(crate) const ATTRIBUTES: Self = Self::new(operation::ATTRIBUTES, 0, 0);
    pub(crate) const SYNC: Self = Self::new(operation::SYNC, 0, 0);
}

/// An announced change whose call has not returned.
#[derive(Clone, Copy)]
pub(crate) struct Ticket {
    place: Place,
    file: File,
    change: Change,
}

#[derive(Clone, Copy)]
enum Place {
    /// In a slot; `kept` is the length it had before, when it was coalesced.
    Slot {
        slot: &'static RangeSlot,
        position: u64,
        kept: Option<u64>,
        lane: Lane,
    },
    /// In a hull of the segment.
    Hull(Lane),
    /// In our own memory.
    Memory,
    /// Nowhere: nobody listened under this epoch.
    Nowhere(u64),
}

/// Announces a change before its call is made.
#[inline(never)]
pub(crate) fn announce(page: &PolicyPage, file: File, change: Change) -> Ticket {
    // Asking for durability changes nothing.
    if change.operation != operation::SYNC {
        policy::hold(page);
    }
    let place = match attach::lane_at_once(page) {
        Ok(lane) => match coalesce(lane, file, change) {
            Some(place) => place,
            None => claim(lane, file, change),
        },
        Err(absence) => absent(absence, page, file, change),
    };
    Ticket {
        place,
        file,
        change,
    }
}

/// Announces a change in a slot of its own, for whoever goes on to use the slot.
#[inline(never)]
pub(crate) fn announce_apart(page: &PolicyPage, file: File, change: Change) -> Ticket {
    let place = match attach::lane(page) {
        Ok(lane) => claim(lane, file, change),
        Err(absence) => absent(absence, page, file, change),
    };
    Ticket {
        place,
        file,
        change,
    }
}

/// A change that nobody listens to now.
pub(crate) fn unheard(page: &PolicyPage, file: File, change: Change) -> Ticket {
    Ticket {
        place: Place::Nowhere(page.epoch.load(Relaxed)),
        file,
        change,
    }
}

/// Tells of a change that has happened already, or that needs only one phase.
pub(crate) fn tell(page: &PolicyPage, file: File, change: Change) {
    announce_apart(page, file, change).done();
}

#[cold]
#[inline(never)]
fn absent(absence: Absence, page: &PolicyPage, file: File, change: Change) -> Place {
    match absence {
        Absence::Unheard => Place::Nowhere(page.epoch.load(Relaxed)),
        Absence::Later => {
            hull::remember(&widened(file, change));
            Place::Memory
        }
    }
}

fn widened(file: File, change: Change) -> Widened {
    Widened::range(file.inode, change.operation, change.offset, change.length)
}

impl Ticket {
    /// The call returned, and did what was announced.
    pub(crate) fn done(&self) {
        self.done_as(self.change);
    }

    /// A write returned after `length` bytes.
    pub(crate) fn wrote(&self, length: u64) {
        self.done_as(Change {
            length,
            ..self.change
        });
    }

    /// The call returned, and this is what it did.
    #[inline(never)]
    pub(crate) fn done_as(&self, change: Change) {
        self.finish(change);
        if self.is_outlived() {
            self.again(change);
        }
    }

    /// Whether another coordinator has begun since the announcement. It may have looked at the file
    /// before the call changed it, and never hears what the one before was told.
    #[inline(always)]
    fn is_outlived(&self) -> bool {
        match self.place {
            Place::Slot { lane, .. } | Place::Hull(lane) => lane.is_outlived(),
            Place::Nowhere(epoch) => policy::epoch() != epoch,
            Place::Memory => false,
        }
    }

    #[cold]
    #[inline(never)]
    fn again(&self, change: Change) {
        if let Some(page) = policy::active() {
            announce_apart(page, self.file, change).finish(change);
        }
    }

    #[inline(always)]
    fn finish(&self, change: Change) {
        match self.place {
            Place::Slot {
                slot,
                position,
                kept,
                lane,
            } => {
                settle(slot, change, kept);
                slot.control.store(control(position, SLOTS, DONE), Release);
                ring(lane);
            }
            Place::Nowhere(_) => {}
            Place::Hull(_) | Place::Memory => self.widen_again(change),
        }
    }

    /// Once more after the call: a hull may have been read before it.
    #[cold]
    #[inline(never)]
    fn widen_again(&self, change: Change) {
        let event = widened(self.file, change);
        match self.place {
            Place::Hull(lane) => {
                hull::raise(lane.segment(), &event);
                wake(lane);
            }
            _ => hull::remember(&event),
        }
    }

    /// Stamp of the attachment that it was announced under; 0: none.
    pub(crate) fn stamp(&self) -> u64 {
        match self.place {
            Place::Slot { lane, .. } | Place::Hull(lane) => lane.stamp(),
            Place::Memory | Place::Nowhere(_) => 0,
        }
    }

    /// The call returned, if this is still the process that announced it under `stamp`: a `fork` child
    /// has the ticket, but neither the segment nor the call.
    pub(crate) fn done_under(&self, stamp: u64) {
        if self.stamp() == stamp {
            self.done();
        }
    }

    /// The slot, for whoever wants to go on using it.
    pub(crate) fn slot(&self) -> Option<(&'static RangeSlot, u64, Lane)> {
        match self.place {
            Place::Slot {
                slot,
                position,
                lane,
                ..
            } => Some((slot, position, lane)),
            _ => None,
        }
    }
}

/// Writes what the call did into its slot.
#[inline(always)]
fn settle(slot: &RangeSlot, change: Change, kept: Option<u64>) {
    let length = match kept {
        None => {
            if slot.operation.load(Relaxed) != change.operation {
                slot.operation.store(change.operation, Relaxed);
            }
            if slot.offset.load(Relaxed) != change.offset {
                slot.offset.store(change.offset, Relaxed);
            }
            change.length
        }
        Some(kept) if change.operation == operation::APPEND => kept.saturating_add(change.length),
        Some(kept) => {
            let end = change.offset.saturating_add(change.length);
            kept.max(end.saturating_sub(slot.offset.load(Relaxed)))
        }
    };
    if slot.length.load(Relaxed) != length {
        slot.length.store(length, Relaxed);
    }
}

/// Takes this thread's last slot back when the change continues it.
#[inline(always)]
fn coalesce(lane: Lane, file: File, change: Change) -> Option<Place> {
    let thread = thread::current();
    if thread.stamp.get() != lane.stamp() {
        return None;
    }
    // SAFETY: written together with the stamp of the attachment in force, whose segment is mapped.
    let slot: &'static RangeSlot = unsafe { thread.last.get().as_ref() }?;
    let position = thread.last_position.get();
    if !continues(slot, file, change) || !retake(slot, position) {
        return None;
    }
    // A signal handler may have extended it before it became ours again.
    if !continues(slot, file, change) {
        slot.control.store(control(position, SLOTS, DONE), Release);
        return None;
    }
    let kept = slot.length.load(Relaxed);
    settle(slot, change, Some(kept));
    Some(Place::Slot {
        slot,
        position,
        kept: Some(kept),
        lane,
    })
}

/// DONE back to INTENT, unless the reader was faster.
#[inline(always)]
pub(crate) fn retake(slot: &RangeSlot, position: u64) -> bool {
    let from = control(position, SLOTS, DONE);
    let to = control(position, SLOTS, INTENT);
    slot.control
        .compare_exchange(from, to, AcqRel, Relaxed)
        .is_ok()
}

#[inline(always)]
fn continues(slot: &RangeSlot, file: File, change: Change) -> bool {
    slot.inode.load(Relaxed) == file.inode.inode
        && slot.device.load(Relaxed) == file.inode.device
        && slot.operation.load(Relaxed) == change.operation
        && slot.chain.load(Relaxed) == 0
        && touches(slot, change)
}

#[inline(always)]
fn touches(slot: &RangeSlot, change: Change) -> bool {
    match change.operation {
        operation::APPEND => true,
        operation::WRITE => {
            let start = slot.offset.load(Relaxed);
            let end = start.saturating_add(slot.length.load(Relaxed));
            start <= change.offset && change.offset <= end
        }
        _ => false,
    }
}

/// Claims a new slot, or widens.
#[inline(never)]
fn claim(lane: Lane, file: File, change: Change) -> Place {
    let thread = thread::current();
    if thread.stamp.get() != lane.stamp() {
        join(thread, lane);
    }
    let Some(shard) = lane.segment().shards.get(thread.shard.get() as usize) else {
        attach::fault(lane);
        return full(lane, file, change);
    };
    match claim::slot(&shard.head, &shard.slots, |slot| &slot.control) {
        Some((slot, position)) => {
            fill(slot, thread, file, change);
            slot.control
                .store(control(position, SLOTS, INTENT), Release);
            thread.last.set(slot);
            thread.last_position.set(position);
            count(lane);
            wake_in_time(lane, position, SLOTS);
            Place::Slot {
                slot,
                position,
                kept: None,
                lane,
            }
        }
        None => full(lane, file, change),
    }
}

#[cold]
#[inline(never)]
fn full(lane: Lane, file: File, change: Change) -> Place {
    hull::raise(lane.segment(), &widened(file, change));
    Place::Hull(lane)
}

/// A thread's first slot under an attachment: it gets a shard.
#[cold]
#[inline(never)]
fn join(thread: &Thread, lane: Lane) {
    let number = lane.segment().header.shard_next.fetch_add(1, Relaxed);
    thread.last.set(core::ptr::null());
    thread.shard.set(number % SHARD_COUNT);
    // Under a filter the id stays 0: nobody's.
    thread.id.set(if process::is_filtered() {
        0
    } else {
        kernel::thread_id()
    });
    thread.stamp.set(lane.stamp());
}

/// Id of the calling thread, asked for once per attachment.
pub(crate) fn thread_id(lane: Lane) -> u32 {
    let thread = thread::current();
    if thread.stamp.get() != lane.stamp() {
        join(thread, lane);
    }
    thread.id.get()
}

#[inline(always)]
fn fill(slot: &RangeSlot, thread: &Thread, file: File, change: Change) {
    slot.device.store(file.inode.device, Relaxed);
    slot.inode.store(file.inode.inode, Relaxed);
    slot.birth.store(file.birth, Relaxed);
    slot.offset.store(change.offset, Relaxed);
    slot.length.store(change.length, Relaxed);
    slot.operation.store(change.operation, Relaxed);
    slot.thread.store(thread.id.get(), Relaxed);
    slot.chain.store(change.chain, Relaxed);
}

/// A rough count: an exact one would make threads wait for each other's cache.
#[inline(always)]
pub(crate) fn count(lane: Lane) {
    let hints = &lane.segment().header.hints;
    hints.store(hints.load(Relaxed).wrapping_add(1), Relaxed);
}

/// Wakes the reader if it sleeps.
#[inline(always)]
pub(crate) fn ring(lane: Lane) {
    if lane.doorbell().reader.load(Relaxed) == ASLEEP {
        wake(lane);
    }
}

/// Wakes the reader also if it dozes.
#[cold]
#[inline(never)]
pub(crate) fn wake(lane: Lane) {
    let word = &lane.doorbell().reader;
    // Most often it is awake, and its cache line is left alone.
    if word.load(Relaxed) != AWAKE && process::may_make_calls() && word.swap(AWAKE, AcqRel) != AWAKE
    {
        kernel::futex_wake_one(word);
    }
}

/// A slot of a ring of so many was claimed: who dozes is to come before it is full.
#[inline(always)]
pub(crate) fn wake_in_time(lane: Lane, position: u64, slots: u64) {
    if position.is_multiple_of(slots / 4) {
        wake(lane);
    }
}

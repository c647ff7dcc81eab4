//! Asynchronous writes under way: announced when they are asked for, done when the program learns of
//! their end. One whose end nobody asks for stays announced until the process is gone.

use core::cell::UnsafeCell;
use core::ffi::c_int;
use core::mem::MaybeUninit;
use core::sync::atomic::{
    AtomicU32, AtomicU64, AtomicUsize,
    Ordering::{AcqRel, Acquire, Relaxed, Release},
};

use everwrite_protocol::local::PolicyPage;

use crate::descriptor::{self, Known};
use crate::range::{self, Change};

/// Writes that are remembered at once. Those beyond count as a change of the whole file, when they
/// begin and when they end.
const WRITES: usize = 64;

/// A write under way. All-zero: free.
struct Write {
    /// Address of its control block; 0: free, 1: being filled or emptied.
    block: AtomicUsize,
    /// Attachment that its ticket belongs to: a `fork` child inherits neither.
    stamp: AtomicU64,
    ticket: UnsafeCell<MaybeUninit<range::Ticket>>,
}

// SAFETY: the ticket belongs to whoever took `block` to 1.
unsafe impl Sync for Write {}

const TAKEN: usize = 1;

// SAFETY: all-zero is a valid, free write: integers, and memory that may be anything.
static UNDER_WAY: [Write; WRITES] = unsafe { core::mem::zeroed() };

/// Not 0: there were more than could be remembered.
static FORGOTTEN: AtomicU32 = AtomicU32::new(0);

pub(crate) fn is_any_forgotten() -> bool {
    FORGOTTEN.load(Relaxed) != 0
}

/// The write of the control block at `block` is about to begin. One that the same block was used for
/// before has ended: some programs see that in memory which they share with the kernel.
pub(crate) fn begin(block: usize, page: &PolicyPage, known: &Known, change: Change) {
    end(block);
    let free = |write: &&Write| write.take(0);
    let Some(write) = UNDER_WAY.iter().find(free) else {
        FORGOTTEN.store(1, Relaxed);
        return range::tell(page, known.file, Change::WHOLE);
    };
    let ticket = range::announce_apart(page, known.file, change);
    write.stamp.store(ticket.stamp(), Relaxed);
    // SAFETY: taken.
    unsafe { (*write.ticket.get()).write(ticket) };
    write.block.store(block, Release);
}

/// The write of `block` has ended; says whether it was remembered.
pub(crate) fn end(block: usize) -> bool {
    let taken = |write: &&Write| block > TAKEN && write.take(block);
    let Some(write) = UNDER_WAY.iter().find(taken) else {
        return false;
    };
    // SAFETY: taken, and filled before `block` was set.
    let ticket = unsafe { (*write.ticket.get()).assume_init() };
    ticket.done_under(write.stamp.load(Relaxed));
    write.block.store(0, Release);
    true
}

/// A write to `descriptor` has ended that was not remembered.
pub(crate) fn end_unknown(descriptor: c_int) {
    if let Some((page, known)) = descriptor::watched(descriptor) {
        range::tell(page, known.file, Change::WHOLE);
    }
}

impl Write {
    fn take(&self, block: usize) -> bool {
        self.block.load(Relaxed) == block
            && self
                .block
                .compare_exchange(block, TAKEN, AcqRel, Acquire)
                .is_ok()
    }
}

//! POSIX asynchronous writes: libc makes them in a thread of its own, past every hook.
//!
//! A write is announced when it is asked for, and done when the program learns of its end
//! (`aio_return`, or `aio_error` with anything but "in progress"). One whose end nobody asks for stays
//! announced until the process is gone.

use core::cell::UnsafeCell;
use core::ffi::{c_int, c_void};
use core::mem::MaybeUninit;
use core::sync::atomic::{
    AtomicU64, AtomicUsize,
    Ordering::{AcqRel, Acquire, Relaxed, Release},
};

use crate::content;
use crate::descriptor;
use crate::range::{self, Change};

/// Writes under way that are remembered. Those beyond count as a change of the whole file, when they
/// begin and when they end.
const WRITES: usize = 64;

/// `struct aiocb` of glibc, as far as it is needed.
#[repr(C)]
struct ControlBlock {
    descriptor: c_int,
    operation: c_int,
    priority: c_int,
    data: *const c_void,
    bytes: usize,
    event: [u64; 8],
    private: [u64; 4],
    offset: i64,
}

const _: () = assert!(core::mem::offset_of!(ControlBlock, offset) == 128);

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

/// `aio_write`.
///
/// # Safety
/// `block` is what `aio_write` asks for: libc reads it without looking.
pub(crate) unsafe fn begin(block: *const c_void) {
    // SAFETY: as the caller promises.
    let Some(asked) = (unsafe { block.cast::<ControlBlock>().as_ref() }) else {
        return;
    };
    let Some((page, known)) = descriptor::watched(asked.descriptor) else {
        return;
    };
    let free = |write: &&Write| write.take(0);
    let Some(write) = UNDER_WAY.iter().find(free) else {
        return range::tell(page, known.file, Change::WHOLE);
    };
    let change = content::change_at_offset(&known, asked.offset, asked.bytes as u64);
    let ticket = range::announce_apart(page, known.file, change);
    write.stamp.store(ticket.stamp(), Relaxed);
    // SAFETY: taken.
    unsafe { (*write.ticket.get()).write(ticket) };
    write.block.store(block as usize, Release);
}

/// The program learns that `block` has ended.
///
/// # Safety
/// As [`begin`].
pub(crate) unsafe fn end(block: *const c_void) {
    let address = block as usize;
    if address <= TAKEN {
        return;
    }
    if let Some(write) = UNDER_WAY.iter().find(|write| write.take(address)) {
        // SAFETY: taken, and filled before `block` was set.
        let ticket = unsafe { (*write.ticket.get()).assume_init() };
        ticket.done_under(write.stamp.load(Relaxed));
        return write.block.store(0, Release);
    }
    // SAFETY: as the caller promises.
    let Some(asked) = (unsafe { block.cast::<ControlBlock>().as_ref() }) else {
        return;
    };
    if let Some((page, known)) = descriptor::watched(asked.descriptor) {
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

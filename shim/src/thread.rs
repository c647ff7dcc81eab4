//! What the shim remembers of a thread: 32 bytes, no destructor.
//!
//! A `fork` child inherits them, and so does a thread of a process that attached anew: they count
//! only while [`Thread::stamp`] is that of the attachment in force.

use core::cell::Cell;

use everwrite_protocol::local::segment::RangeSlot;

use crate::arch::{THREAD_BYTES, thread_memory};

#[repr(C)]
pub(crate) struct Thread {
    /// The slot that this thread filled last.
    pub(crate) last: Cell<*const RangeSlot>,
    /// Its position in the ring.
    pub(crate) last_position: Cell<u64>,
    /// Stamp of the attachment under which the rest was written; 0: never.
    pub(crate) stamp: Cell<u64>,
    /// Shard that this thread uses.
    pub(crate) shard: Cell<u32>,
    /// Thread id.
    pub(crate) id: Cell<u32>,
}

const _: () = assert!(size_of::<Thread>() == THREAD_BYTES);

/// The calling thread's memory. A signal handler may change it between any two instructions, hence
/// the cells.
#[inline(always)]
pub(crate) fn current<'a>() -> &'a Thread {
    // SAFETY: 32 bytes, zeroed, aligned to 32, that live as long as the thread; all-zero is a valid
    // `Thread`; it is not `Sync`, so the reference stays in the thread.
    unsafe { &*thread_memory().cast::<Thread>() }
}

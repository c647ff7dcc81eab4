//! What the shim remembers of its process and must vanish in a `fork` child: one page that the
//! kernel wipes there (`MADV_WIPEONFORK`), so that nothing has to be hooked for it.

use core::ptr;
use core::sync::atomic::{
    AtomicPtr, AtomicU32, AtomicU64,
    Ordering::{AcqRel, Acquire, Relaxed, Release},
};

use everwrite_protocol::local::segment::{Doorbell, Segment};

use crate::kernel::{
    self, AT_FDCWD, MADV_WIPEONFORK, MAP_ANONYMOUS, MAP_PRIVATE, PROT_READ, PROT_WRITE,
};

/// Attachments that are remembered. A process attaches anew whenever a coordinator starts; a place is
/// used again after that many starts, when no call of the first can still be under way.
const ATTACHMENTS: usize = 32;

/// A segment and what goes with it; written once, then only read.
#[repr(C)]
pub(crate) struct Attachment {
    pub(crate) segment: AtomicPtr<Segment>,
    pub(crate) doorbell: AtomicPtr<Doorbell>,
    /// Policy epoch under which it was made.
    pub(crate) epoch: AtomicU64,
    /// Tells attachments apart, also those of a parent and its `fork` child. Never 0.
    pub(crate) stamp: AtomicU64,
}

/// The page. All-zero is its beginning, in a new process as in a `fork` child.
#[repr(C, align(4096))]
pub(crate) struct State {
    /// The attachment in force; null: none yet.
    pub(crate) current: AtomicPtr<Attachment>,
    /// Process that owns the memory; 0: not known yet.
    owner: AtomicU32,
    /// Thread that is attaching; 0: none.
    pub(crate) attaching: AtomicU32,
    /// Epoch under which attaching failed or was refused.
    pub(crate) failed_epoch: AtomicU64,
    /// When to try again under that epoch, coarse monotonic milliseconds; `u64::MAX`: not at all.
    pub(crate) retry_at_ms: AtomicU64,
    /// Failures in a row.
    pub(crate) failures: AtomicU32,
    /// Attachments made.
    made: AtomicU32,
    attachments: [Attachment; ATTACHMENTS],
}

const _: () = assert!(size_of::<State>() == 4096);

static STATE: AtomicPtr<State> = AtomicPtr::new(ptr::null_mut());
/// Gives out stamps. Inherited by a `fork` child, so that it never repeats one of its parent's.
static STAMPS: AtomicU64 = AtomicU64::new(0);

/// The page, if the process has one already.
#[inline(always)]
pub(crate) fn known_state() -> Option<&'static State> {
    // SAFETY: null, or a mapping of a whole page that is never taken away.
    unsafe { STATE.load(Acquire).as_ref() }
}

/// The page, made when first asked for; `None` when the kernel gives no such memory.
pub(crate) fn state() -> Option<&'static State> {
    known_state().or_else(make_state)
}

#[cold]
#[inline(never)]
fn make_state() -> Option<&'static State> {
    let bytes = size_of::<State>();
    let flags = MAP_PRIVATE | MAP_ANONYMOUS;
    let address = kernel::map(bytes, PROT_READ | PROT_WRITE, flags, -1).ok()?;
    let ours = kernel::advise(address, bytes, MADV_WIPEONFORK).is_ok()
        && STATE
            .compare_exchange(ptr::null_mut(), address as *mut State, AcqRel, Acquire)
            .is_ok();
    if !ours {
        // SAFETY: mapped above; nobody else has seen the address.
        unsafe { kernel::unmap(address, bytes) };
    }
    known_state()
}

impl State {
    /// Puts an attachment into force.
    pub(crate) fn publish(&self, segment: *mut Segment, doorbell: *mut Doorbell, epoch: u64) {
        let at = self.made.fetch_add(1, Relaxed) as usize % ATTACHMENTS;
        let Some(place) = self.attachments.get(at) else {
            return;
        };
        let stamp = STAMPS.fetch_add(1, Relaxed).wrapping_add(1);
        place.segment.store(segment, Relaxed);
        place.doorbell.store(doorbell, Relaxed);
        place.epoch.store(epoch, Relaxed);
        place.stamp.store(stamp, Relaxed);
        self.current.store(ptr::from_ref(place).cast_mut(), Release);
    }

    /// Process that owns this memory: the caller's, or, in a `vfork` child, the one it came from.
    pub(crate) fn owner(&self) -> u32 {
        match self.owner.load(Relaxed) {
            0 => self.find_owner(),
            owner => owner,
        }
    }

    /// The process that started this program image owns its memory; another is a `fork` child of it,
    /// which does too, or a `vfork` child, which does not.
    #[cold]
    fn find_owner(&self) -> u32 {
        let this = kernel::process_id();
        let first = FIRST_PROCESS.load(Relaxed) == this;
        let borrowed = !first && kernel::has_clear_word() == Some(false);
        let owner = if borrowed {
            kernel::parent_process_id()
        } else {
            this
        };
        self.owner.store(owner, Relaxed);
        owner
    }
}

/// Process in which this program image was started; 0: the constructor has not run yet.
static FIRST_PROCESS: AtomicU32 = AtomicU32::new(0);

/// The constructor runs: this is the process that the image was started in.
pub(crate) fn begin() {
    FIRST_PROCESS.store(kernel::process_id(), Relaxed);
}

/// Whether the caller's process owns the memory it runs in. A `vfork` child does not: its
/// descriptors are its own, the memory is its parent's.
pub(crate) fn owns_its_memory() -> bool {
    let this = kernel::process_id();
    let first = FIRST_PROCESS.load(Relaxed) == this;
    first || (may_make_calls() && state().is_some_and(|state| state.owner() == this))
}

/// Whether the shim may make system calls of its own beyond those the loader makes.
static FILTER: AtomicU32 = AtomicU32::new(FILTER_UNKNOWN);
const FILTER_UNKNOWN: u32 = 0;
const FILTER_NONE: u32 = 1;
const FILTER_ON: u32 = 2;
/// Added for each that comes.
const FILTER_MORE: u32 = 4;

/// Whether no seccomp filter stands between the shim and the kernel. Under a filter one unexpected
/// call may be the end of the program.
#[inline(always)]
pub(crate) fn may_make_calls() -> bool {
    match FILTER.load(Relaxed) {
        FILTER_UNKNOWN => look_for_filter(),
        filter => filter == FILTER_NONE,
    }
}

/// Whether it is known that there is none, without a look.
pub(crate) fn is_free() -> bool {
    FILTER.load(Relaxed) == FILTER_NONE
}

/// Whether a filter is known to be on: then not even the loader's calls are safe.
pub(crate) fn is_filtered() -> bool {
    FILTER.load(Relaxed) > FILTER_NONE
}

/// The program is about to put a filter on itself. It may be there before the call returns, for other threads.
pub(crate) fn filter_comes() {
    FILTER.fetch_add(FILTER_MORE, Relaxed);
}

/// It was refused: programs ask for one that can't be, to learn whether there are filters.
pub(crate) fn filter_did_not_come() {
    FILTER.fetch_sub(FILTER_MORE, Relaxed);
}

#[cold]
#[inline(never)]
fn look_for_filter() -> bool {
    let none = seccomp_mode() == Some(b'0');
    let filter = if none { FILTER_NONE } else { FILTER_ON };
    // A filter that came meanwhile stays known.
    let _ = FILTER.compare_exchange(FILTER_UNKNOWN, filter, Relaxed, Relaxed);
    FILTER.load(Relaxed) == FILTER_NONE
}

/// The digit after `Seccomp:` in `/proc/self/status`, read in pieces by calls that the loader made too.
fn seccomp_mode() -> Option<u8> {
    const FIELD: &[u8] = b"\nSeccomp:\t";
    let file = kernel::open(AT_FDCWD, c"/proc/self/status", 0).ok()?;
    let mut buffer = [0u8; 256];
    let mut matched = 0usize;
    loop {
        let read = kernel::read(&file, &mut buffer)
            .ok()
            .filter(|read| *read > 0)?;
        for byte in buffer.iter().take(read) {
            if matched == FIELD.len() {
                return Some(*byte);
            }
            let expected = FIELD.get(matched) == Some(byte);
            // No byte of the field but its first is a newline.
            matched = if expected {
                matched.wrapping_add(1)
            } else {
                usize::from(*byte == b'\n')
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_owner_is_this_process_and_a_page_appears_once() {
        let first: *const State = state().unwrap();
        assert!(ptr::eq(first, state().unwrap()));
        assert_eq!(state().unwrap().owner(), std::process::id());
        assert!(owns_its_memory());
    }

    #[test]
    fn the_filter_is_read_from_the_kernel() {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let line = status
            .lines()
            .find(|line| line.starts_with("Seccomp:"))
            .unwrap();
        assert_eq!(seccomp_mode().map(char::from), line.chars().last());
    }
}

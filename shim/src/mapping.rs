//! Shared writable mappings: stores to them are not announced, so the coordinator is told which files
//! are mapped, and when a mapping is flushed or ends.

use core::ffi::c_int;
use core::sync::atomic::{
    AtomicU32, AtomicU64, AtomicUsize,
    Ordering::{AcqRel, Acquire, Relaxed, Release},
};

use everwrite_protocol::local::Inode;
use everwrite_protocol::local::segment::operation;

use crate::call::{Announced, Pending, Then};
use crate::kernel::{MAP_SHARED, PROT_READ, PROT_WRITE};
use crate::range::{self, Change, File};
use crate::{descriptor, memory, policy};

/// Mappings that are remembered. Those beyond are told of when they begin, and end for the
/// coordinator when the process does.
const MAPPINGS: usize = 128;

/// A mapping of a watched file. All-zero: free.
struct Mapping {
    state: AtomicU32,
    /// 1: not writable yet.
    quiet: AtomicU32,
    start: AtomicUsize,
    end: AtomicUsize,
    offset: AtomicU64,
    device: AtomicU64,
    inode: AtomicU64,
    birth: AtomicU64,
}

const FREE: u32 = 0;
const CLAIMED: u32 = 1;
const IN_USE: u32 = 2;
/// Its `munmap` is under way.
const ENDING: u32 = 3;

// SAFETY: all-zero is a valid, free mapping: it is made of integers.
static MAPPED: [Mapping; MAPPINGS] = unsafe { core::mem::zeroed() };
/// Mappings in use, so that most programs pass `munmap` by one load.
static IN_USE_COUNT: AtomicU32 = AtomicU32::new(0);

/// A mapping that is about to be made.
#[derive(Clone, Copy)]
pub(crate) struct Mapped {
    file: File,
    offset: u64,
    length: usize,
    quiet: bool,
}

/// A mapping is about to be made; one that is shared, of a file open for writing, matters.
pub(crate) fn map(
    descriptor: c_int,
    protection: c_int,
    flags: c_int,
    offset: i64,
    length: usize,
    pending: &mut Pending,
) {
    /// `MAP_SHARED` and `MAP_SHARED_VALIDATE` both have it, `MAP_PRIVATE` has not.
    const SHARED_BIT: c_int = MAP_SHARED as c_int;
    if flags & SHARED_BIT == 0 || descriptor < 0 {
        return;
    }
    let known = descriptor::watched(descriptor);
    let Some((page, known)) = known.filter(|(_, known)| known.is_readable_and_writable()) else {
        return;
    };
    let quiet = protection & PROT_WRITE as c_int == 0;
    let offset = u64::try_from(offset).unwrap_or(0);
    pending.then = Then::Mapped(Mapped {
        file: known.file,
        offset,
        length,
        quiet,
    });
    // One that can't be written to may become writable later (`mprotect`), and is told of then.
    if !quiet {
        let change = Change::new(operation::MAP, offset, length as u64);
        pending.change = Announced::Range(range::announce(page, known.file, change));
    }
}

pub(crate) fn after(mapped: &Mapped, address: isize) {
    // `mmap` fails with all ones.
    if address == -1 {
        return;
    }
    let Some(place) = MAPPED.iter().find(|mapping| mapping.claim()) else {
        // No room: it is told of as writable, to be on the safe side.
        if mapped.quiet
            && let Some(page) = policy::active()
        {
            let change = Change::new(operation::MAP, mapped.offset, mapped.length as u64);
            range::tell(page, mapped.file, change);
        }
        return;
    };
    place.start.store(address as usize, Relaxed);
    place
        .end
        .store((address as usize).wrapping_add(mapped.length), Relaxed);
    place.offset.store(mapped.offset, Relaxed);
    place.device.store(mapped.file.inode.device, Relaxed);
    place.inode.store(mapped.file.inode.inode, Relaxed);
    place.birth.store(mapped.file.birth, Relaxed);
    place.quiet.store(u32::from(mapped.quiet), Relaxed);
    place.state.store(IN_USE, Release);
    IN_USE_COUNT.fetch_add(1, Relaxed);
}

/// `msync` of a range: what was stored in it until now is to be looked at.
pub(crate) fn flush(address: usize, length: usize, flags: c_int, pending: &mut Pending) {
    const MS_SYNC: c_int = 4;
    each_in(address, length, |mapping, end| {
        mapping.tell_content(address, end);
        if flags & MS_SYNC != 0 {
            pending.then = Then::Flushed(mapping.file());
        }
    });
}

/// `mremap` of a range. Where its mappings are from now on is not followed: for the coordinator they
/// end with the process.
pub(crate) fn relocate(address: usize, length: usize) {
    // A length of 0 asks for another mapping of the same.
    each_in(address, length.max(1), |mapping, end| {
        mapping.wake();
        mapping.tell_content(address, end);
        mapping.free_from(IN_USE);
    });
}

/// A range is about to be unmapped.
#[derive(Clone, Copy)]
pub(crate) struct Unmapped {
    start: usize,
    end: usize,
}

/// `munmap` of a range. What lies in it is told of when it has gone: until then it may be stored to.
pub(crate) fn unmap(address: usize, length: usize, pending: &mut Pending) {
    memory::withdrawn(address, length);
    each_in(address, length, |mapping, end| {
        mapping.begin_end(address, end);
        pending.then = Then::Unmapped(Unmapped {
            start: address,
            end,
        });
    });
}

pub(crate) fn after_unmap(unmapped: Unmapped, result: isize) {
    let Unmapped { start, end } = unmapped;
    for mapping in &MAPPED {
        if mapping.state.load(Acquire) == ENDING && mapping.is_within(start, end) {
            mapping.end(result == 0);
        } else if mapping.meets(start, end) {
            // What is left of one unmapped in part stays known.
            mapping.tell_content(start, end);
        }
    }
}

/// All mappings, in the first words of a new segment: a coordinator that came later, or the lane of a
/// `fork` child, knows nothing of them.
pub(crate) fn tell_all() {
    each_in(0, usize::MAX, |mapping, _| mapping.tell(operation::MAP));
}

/// Is anything mapped, as far as it is remembered?
pub(crate) fn is_any() -> bool {
    IN_USE_COUNT.load(Relaxed) != 0
}

/// Does something with each mapping in a range; gives the end of the range along.
#[inline(always)]
fn each_in(address: usize, length: usize, mut act: impl FnMut(&Mapping, usize)) {
    if is_any() {
        let end = address.saturating_add(length);
        MAPPED
            .iter()
            .filter(|mapping| mapping.meets(address, end))
            .for_each(|mapping| act(mapping, end));
    }
}

/// `mprotect` of a range, perhaps to writable.
pub(crate) fn protect(address: usize, length: usize, protection: c_int) {
    if protection & PROT_READ as c_int == 0 {
        memory::withdrawn(address, length);
    }
    if protection & PROT_WRITE as c_int != 0 {
        each_in(address, length, |mapping, _| mapping.wake());
    }
}

impl Mapping {
    fn claim(&self) -> bool {
        self.state
            .compare_exchange(FREE, CLAIMED, AcqRel, Relaxed)
            .is_ok()
    }

    fn meets(&self, start: usize, end: usize) -> bool {
        self.state.load(Acquire) == IN_USE
            && self.start.load(Relaxed) < end
            && start < self.end.load(Relaxed)
    }

    fn is_within(&self, start: usize, end: usize) -> bool {
        start <= self.start.load(Relaxed) && self.end.load(Relaxed) <= end
    }

    /// It can be written to from now on.
    fn wake(&self) {
        if self.quiet.swap(0, Relaxed) != 0 {
            self.tell(operation::MAP);
        }
    }

    /// Nobody else may use its place while it ends.
    fn begin_end(&self, start: usize, end: usize) {
        if self.is_within(start, end) {
            let _ = self.state.compare_exchange(IN_USE, ENDING, AcqRel, Relaxed);
        }
    }

    fn end(&self, unmapped: bool) {
        if unmapped {
            self.tell(operation::UNMAP);
            self.free_from(ENDING);
        } else {
            let _ = self.state.compare_exchange(ENDING, IN_USE, AcqRel, Relaxed);
        }
    }

    fn free_from(&self, state: u32) {
        let freed = self.state.compare_exchange(state, FREE, AcqRel, Relaxed);
        if freed.is_ok() {
            IN_USE_COUNT.fetch_sub(1, Relaxed);
        }
    }

    /// Tells of what may have been stored in the part of it that lies in a range of memory.
    fn tell_content(&self, start: usize, end: usize) {
        let first = self.start.load(Relaxed);
        let (from, to) = (first.max(start), self.end.load(Relaxed).min(end));
        let offset = self
            .offset
            .load(Relaxed)
            .saturating_add(from.saturating_sub(first) as u64);
        self.tell_of(Change::write(offset, to.saturating_sub(from) as u64));
    }

    fn tell(&self, operation: u32) {
        let (start, end) = (self.start.load(Relaxed), self.end.load(Relaxed));
        let length = end.wrapping_sub(start) as u64;
        self.tell_of(Change::new(operation, self.offset.load(Relaxed), length));
    }

    fn tell_of(&self, change: Change) {
        if self.quiet.load(Relaxed) != 0 {
            return;
        }
        if let Some(page) = policy::active() {
            range::tell(page, self.file(), change);
        }
    }

    fn file(&self) -> File {
        File {
            inode: Inode {
                device: self.device.load(Relaxed),
                inode: self.inode.load(Relaxed),
            },
            birth: self.birth.load(Relaxed),
        }
    }
}

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
use crate::kernel::{MAP_SHARED, PROT_WRITE};
use crate::range::{self, Change, File};
use crate::{descriptor, policy};

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

/// `munmap`, `mremap` or (`keeps`) `msync` of a range: every file mapped there is to be looked at.
pub(crate) fn unmap(address: usize, length: usize, keeps: bool) {
    let end = address.saturating_add(length);
    if IN_USE_COUNT.load(Relaxed) != 0 {
        MAPPED
            .iter()
            .filter(|mapping| mapping.meets(address, end))
            .for_each(|mapping| {
                mapping.tell(operation::UNMAP);
                if !keeps {
                    mapping.free_if_within(address, end);
                }
            });
    }
}

/// `mprotect` of a range, perhaps to writable.
pub(crate) fn protect(address: usize, length: usize, protection: c_int) {
    let end = address.saturating_add(length);
    if protection & PROT_WRITE as c_int != 0 && IN_USE_COUNT.load(Relaxed) != 0 {
        let quiet =
            |mapping: &&Mapping| mapping.meets(address, end) && mapping.quiet.load(Relaxed) != 0;
        MAPPED.iter().filter(quiet).for_each(|mapping| {
            mapping.quiet.store(0, Relaxed);
            mapping.tell(operation::MAP);
        });
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

    /// Forgets a mapping that is unmapped whole. What is left of one unmapped in part stays known.
    fn free_if_within(&self, start: usize, end: usize) {
        let within = start <= self.start.load(Relaxed) && self.end.load(Relaxed) <= end;
        if within
            && self
                .state
                .compare_exchange(IN_USE, FREE, AcqRel, Relaxed)
                .is_ok()
        {
            IN_USE_COUNT.fetch_sub(1, Relaxed);
        }
    }

    fn tell(&self, operation: u32) {
        if self.quiet.load(Relaxed) != 0 {
            return;
        }
        let Some(page) = policy::active() else { return };
        let inode = Inode {
            device: self.device.load(Relaxed),
            inode: self.inode.load(Relaxed),
        };
        let file = File {
            inode,
            birth: self.birth.load(Relaxed),
        };
        let length = self
            .end
            .load(Relaxed)
            .wrapping_sub(self.start.load(Relaxed));
        let change = Change::new(operation, self.offset.load(Relaxed), length as u64);
        range::tell(page, file, change);
    }
}

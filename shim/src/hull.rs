//! Hulls: where an event goes when there is no slot for it, in the segment or, while there is no
//! segment, in memory of the shim's own. A hull keeps the file and drops the detail. When even the
//! hulls are full, all is said to be dirty. Nothing is ever lost, nobody ever waits.

use core::sync::atomic::{
    AtomicU32, AtomicU64,
    Ordering::{AcqRel, Acquire, Relaxed, Release},
};

use everwrite_protocol::local::Inode;
use everwrite_protocol::local::segment::{
    HULL_ATTRIBUTES, HULL_NAMES, HULL_RANGE, HULL_WHOLE, Hull, Segment, operation,
};

use crate::attach;

const FREE: u32 = 0;
const CLAIMED: u32 = 1;
const IN_USE: u32 = 2;
/// Places tried for one inode before all is said to be dirty.
const PROBES_MAX: usize = 64;
/// Hulls in our own memory. A program that changes more files than this while no coordinator answers
/// makes the next attachment begin with "all dirty".
const REMEMBERED: usize = 64;

/// What a hull can hold of an event.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Widened {
    pub(crate) inode: Inode,
    pub(crate) flags: u32,
    /// First byte of a range, and one past its last.
    pub(crate) low: u64,
    pub(crate) high: u64,
}

impl Widened {
    pub(crate) fn names(directory: Inode) -> Self {
        Self {
            inode: directory,
            flags: HULL_NAMES,
            low: 0,
            high: 0,
        }
    }

    /// An event of a range slot.
    pub(crate) fn range(inode: Inode, operation: u32, offset: u64, length: u64) -> Self {
        let (flags, low, high) = match operation {
            operation::WRITE => (HULL_RANGE, offset, offset.saturating_add(length)),
            operation::ATTRIBUTES => (HULL_ATTRIBUTES, 0, 0),
            // Nothing changes that a hull could hold; a mapping counts as long as it may be written.
            operation::SYNC => (0, 0, 0),
            _ => (HULL_WHOLE, 0, 0),
        };
        Self {
            inode,
            flags,
            low,
            high,
        }
    }
}

struct Memory {
    hulls: [Hull; REMEMBERED],
    all_dirty: AtomicU32,
}

static MEMORY: Memory = Memory {
    // SAFETY: all-zero is a valid, free hull: it is made of integers.
    hulls: unsafe { core::mem::zeroed() },
    all_dirty: AtomicU32::new(0),
};

/// Raises a hull in the segment, or all.
#[cold]
#[inline(never)]
pub(crate) fn raise(segment: &Segment, event: &Widened) {
    segment.header.widened.fetch_add(1, Relaxed);
    raise_in(&segment.hulls, &segment.header.all_dirty, event);
}

/// All that can be said is that something changed.
#[cold]
pub(crate) fn raise_all(segment: &Segment) {
    segment.header.widened.fetch_add(1, Relaxed);
    segment.header.all_dirty.store(1, Release);
}

/// Remembers an event until there is a segment.
#[cold]
#[inline(never)]
pub(crate) fn remember(event: &Widened) {
    raise_in(&MEMORY.hulls, &MEMORY.all_dirty, event);
    attach::pass_on();
}

#[cold]
pub(crate) fn remember_all() {
    MEMORY.all_dirty.store(1, Release);
    attach::pass_on();
}

/// Whether something waits for a segment.
pub(crate) fn is_anything_remembered() -> bool {
    let raised = |hull: &Hull| hull.flags.load(Relaxed) != 0;
    MEMORY.all_dirty.load(Relaxed) != 0 || MEMORY.hulls.iter().any(raised)
}

/// Moves everything remembered into a segment.
pub(crate) fn pass_on(segment: &Segment) {
    if MEMORY.all_dirty.swap(0, AcqRel) != 0 {
        raise_all(segment);
    }
    for hull in &MEMORY.hulls {
        // In the reader's order: flags first, see `Hull`.
        let flags = hull.flags.swap(0, AcqRel);
        if flags != 0 {
            let (device, inode) = (hull.device.load(Relaxed), hull.inode.load(Relaxed));
            let (low, high) = (!hull.low_inverted.load(Relaxed), hull.high.load(Relaxed));
            raise(
                segment,
                &Widened {
                    inode: Inode { device, inode },
                    flags,
                    low,
                    high,
                },
            );
        }
    }
}

#[inline(never)]
fn raise_in(hulls: &[Hull], all_dirty: &AtomicU32, event: &Widened) {
    if event.flags == 0 {
        return;
    }
    let Some(hull) = find(hulls, event.inode) else {
        all_dirty.store(1, Release);
        return;
    };
    if event.flags & HULL_RANGE != 0 {
        raise_to(&hull.low_inverted, !event.low);
        raise_to(&hull.high, event.high);
    }
    hull.flags.fetch_or(event.flags, Release);
}

fn raise_to(word: &AtomicU64, value: u64) {
    word.fetch_max(value, Relaxed);
}

/// The hull of `inode`, claimed if there is none yet. A hull that another is just claiming counts as
/// somebody else's: a second one for the same inode does no harm, waiting might.
fn find(hulls: &[Hull], inode: Inode) -> Option<&Hull> {
    let start = inode.inode.wrapping_mul(0x9e37_79b9_7f4a_7c15) as usize >> 8;
    for step in 0..PROBES_MAX {
        let at = start.wrapping_add(step).checked_rem(hulls.len())?;
        let hull = hulls.get(at)?;
        match hull.state.compare_exchange(FREE, CLAIMED, AcqRel, Acquire) {
            Ok(_) => {
                hull.device.store(inode.device, Relaxed);
                hull.inode.store(inode.inode, Relaxed);
                hull.state.store(IN_USE, Release);
                return Some(hull);
            }
            Err(IN_USE)
                if hull.inode.load(Relaxed) == inode.inode
                    && hull.device.load(Relaxed) == inode.device =>
            {
                return Some(hull);
            }
            Err(_) => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> (Vec<Hull>, AtomicU32) {
        // SAFETY: all-zero is a valid hull.
        let hulls = (0..REMEMBERED)
            .map(|_| unsafe { core::mem::zeroed() })
            .collect();
        (hulls, AtomicU32::new(0))
    }

    fn write(inode: u64, offset: u64, length: u64) -> Widened {
        Widened::range(Inode { device: 1, inode }, operation::WRITE, offset, length)
    }

    #[test]
    fn ranges_of_a_file_grow_into_one_hull() {
        let (hulls, all) = table();
        raise_in(&hulls, &all, &write(7, 100, 10));
        raise_in(&hulls, &all, &write(7, 5, 1));
        raise_in(&hulls, &all, &write(7, 50, 0));
        let used: Vec<_> = hulls
            .iter()
            .filter(|hull| hull.state.load(Relaxed) == IN_USE)
            .collect();
        assert_eq!(used.len(), 1);
        assert_eq!(
            (
                !used[0].low_inverted.load(Relaxed),
                used[0].high.load(Relaxed)
            ),
            (5, 110)
        );
        assert_eq!(all.load(Relaxed), 0);
    }

    #[test]
    fn more_files_than_hulls_make_all_dirty() {
        let (hulls, all) = table();
        for inode in 0..=REMEMBERED as u64 {
            assert_eq!(all.load(Relaxed), 0);
            raise_in(&hulls, &all, &write(inode, 0, 1));
        }
        assert_eq!(all.load(Relaxed), 1);
    }

    #[test]
    fn a_range_to_the_end_does_not_overflow() {
        assert_eq!(write(1, 5, u64::MAX).high, u64::MAX);
    }
}

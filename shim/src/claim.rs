//! Claiming a slot of a ring, of either kind.

use core::sync::atomic::{
    AtomicU64,
    Ordering::{AcqRel, Acquire, Relaxed},
};

use everwrite_protocol::local::segment::{FREE, control};

/// The slot at the next position, and the position; `None`: the ring is full. `word` is a slot's control word.
#[inline(always)]
pub(crate) fn slot<T, const SLOTS: usize>(
    head: &AtomicU64,
    slots: &'static [T; SLOTS],
    word: impl Fn(&T) -> &AtomicU64,
) -> Option<(&'static T, u64)> {
    let count = SLOTS as u64;
    let mut position = head.load(Relaxed);
    loop {
        let slot = slots.get(position.checked_rem(count)? as usize)?;
        if word(slot).load(Acquire) != control(position, count, FREE) {
            let newer = head.load(Relaxed);
            if newer == position {
                return None;
            }
            position = newer;
            continue;
        }
        let next = position.wrapping_add(1);
        match head.compare_exchange_weak(position, next, AcqRel, Relaxed) {
            Ok(_) => return Some((slot, position)),
            Err(newer) => position = newer,
        }
    }
}

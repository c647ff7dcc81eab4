//! Chance, from a seed.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// SplitMix64. Clones roll the same dice.
#[derive(Clone)]
pub(crate) struct Dice(Arc<Mutex<u64>>);

impl Dice {
    /// Dice of their own for each of those who roll, so that more of one's rolls do not change another's.
    pub(crate) fn new(seed: u64, who: u64) -> Self {
        let seed = seed
            .wrapping_mul(0x2545_f491_4f6c_dd1d)
            .wrapping_add(who.wrapping_mul(0xd6e8_feb8_6659_fd93));
        Self(Arc::new(Mutex::new(seed)))
    }

    pub(crate) fn roll(&self) -> u64 {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (*state ^ (*state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub(crate) fn below(&self, bound: u64) -> u64 {
        self.roll() % bound.max(1)
    }

    /// So many times of a hundred.
    pub(crate) fn percent(&self, percent: u64) -> bool {
        self.below(100) < percent
    }

    pub(crate) fn pick<'p, T>(&self, from: &'p [T]) -> Option<&'p T> {
        from.get(self.below(from.len() as u64) as usize)
    }

    pub(crate) fn ms(&self, bound: u64) -> Duration {
        Duration::from_millis(self.below(bound))
    }

    pub(crate) fn bytes(&self, length: usize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(length + 8);
        while bytes.len() < length {
            bytes.extend_from_slice(&self.roll().to_le_bytes());
        }
        bytes.truncate(length);
        bytes
    }
}

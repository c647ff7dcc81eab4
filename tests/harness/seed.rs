//! Chance that can be had again: one number decides everything that a test leaves to it.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, SystemTime};

use crate::wait::pause;

/// A stream of numbers that one seed decides (SplitMix64). Printed at the start, so that a failure
/// shows it; `EVERWRITE_SEED` gives it back.
#[derive(Debug)]
pub struct Seed(AtomicU64);

impl Seed {
    /// From [`Self::number`], which it prints.
    pub fn from_environment() -> Self {
        let seed = Self::number();
        println!("seed: EVERWRITE_SEED={seed}");
        Self::new(seed)
    }

    /// `EVERWRITE_SEED`, otherwise from the clock.
    pub fn number() -> u64 {
        match std::env::var("EVERWRITE_SEED") {
            Ok(text) => text.parse().expect("EVERWRITE_SEED is a number"),
            Err(_) => SystemTime::UNIX_EPOCH
                .elapsed()
                .map_or(1, |time| time.as_nanos() as u64),
        }
    }

    /// From a number.
    pub const fn new(seed: u64) -> Self {
        Self(AtomicU64::new(seed))
    }

    /// The next number.
    pub fn next(&self) -> u64 {
        const STEP: u64 = 0x9e37_79b9_7f4a_7c15;
        let mut z = self.0.fetch_add(STEP, Relaxed).wrapping_add(STEP);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `bound`.
    pub fn below(&self, bound: u64) -> u64 {
        self.next() % bound
    }

    /// So many bytes.
    pub fn bytes(&self, length: usize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(length + 8);
        while bytes.len() < length {
            bytes.extend_from_slice(&self.next().to_le_bytes());
        }
        bytes.truncate(length);
        bytes
    }

    /// Lets a random time of at most `longest` pass: faults come at moments that nobody chose.
    pub fn moment(&self, longest: Duration) {
        pause(longest.mul_f64(self.below(1_000) as f64 / 1_000.0));
    }
}

/// How many programs a torture test has killed in each mode; `EVERWRITE_KILLS` says otherwise.
pub fn kills() -> u32 {
    let given = std::env::var("EVERWRITE_KILLS");
    given.map_or(300, |kills| {
        kills.parse().expect("EVERWRITE_KILLS is a number")
    })
}

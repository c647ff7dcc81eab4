//! Pace of files that are written to all the time.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use everwrite_protocol::local::Inode;

/// A file that was looked at rests so many times as long as that took, up to the longest interval:
/// below that, reading one file over and over takes an eighth of the time.
const REST_SHARE: u32 = 7;
/// What cost less needs no rest.
const CHEAP: Duration = Duration::from_millis(1);
/// Files remembered before those that have rested are forgotten.
const FILES_MAX: usize = 1024;

/// What rests.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rest {
    /// Left alone until then.
    pub until: Instant,
    /// Bytes that the file had when it was looked at.
    pub size: u64,
}

/// Until when files that were dear to look at are left alone. Pure: told the time.
#[derive(Debug)]
pub struct FilePace {
    rests: HashMap<Inode, Rest>,
    longest: Duration,
}

impl Default for FilePace {
    fn default() -> Self {
        Self::new(Duration::from_millis(500))
    }
}

/// Is a file left alone for a while that cost so much?
pub(super) fn is_dear(cost: Duration) -> bool {
    cost >= CHEAP
}

impl FilePace {
    /// No file rests for longer than `longest`.
    pub fn new(longest: Duration) -> Self {
        Self {
            rests: HashMap::new(),
            longest,
        }
    }

    /// All that was dirty of a file of this size is sent at `now`, which took `cost`.
    pub(super) fn finished(&mut self, file: Inode, size: u64, now: Instant, cost: Duration) {
        if !is_dear(cost) {
            return;
        }
        if self.rests.len() >= FILES_MAX {
            self.rests.retain(|_, rest| rest.until > now);
        }
        let until = now + cost.saturating_mul(REST_SHARE).min(self.longest);
        self.rests.insert(file, Rest { until, size });
    }

    /// The rest of this file, if it has not ended at `now`.
    pub(super) fn rest_of(&self, file: Inode, now: Instant) -> Option<Rest> {
        self.rests
            .get(&file)
            .copied()
            .filter(|rest| rest.until > now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONGEST: Duration = Duration::from_millis(500);

    fn inode(number: u64) -> Inode {
        Inode {
            device: 1,
            inode: number,
        }
    }

    #[test]
    fn the_rest_is_in_proportion_and_bounded() {
        let now = Instant::now();
        let mut pace = FilePace::new(LONGEST);
        let cases = [(0, None), (10, Some(70)), (1000, Some(500))];
        for (cost, rest) in cases {
            pace.finished(inode(cost), 4096, now, Duration::from_millis(cost));
            let expected = rest.map(|rest| Rest {
                until: now + Duration::from_millis(rest),
                size: 4096,
            });
            assert_eq!(pace.rest_of(inode(cost), now), expected, "{cost} ms");
        }
        assert_eq!(pace.rest_of(inode(10), now + LONGEST), None);
    }

    #[test]
    fn those_that_have_rested_are_forgotten() {
        let now = Instant::now();
        let mut pace = FilePace::new(LONGEST);
        for number in 0..5000 {
            let at = now + number * LONGEST;
            pace.finished(inode(u64::from(number)), 0, at, Duration::from_secs(1));
            assert!(pace.rests.len() <= FILES_MAX);
        }
    }
}

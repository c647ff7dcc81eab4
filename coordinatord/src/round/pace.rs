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

/// Until when files that were dear to look at are left alone. Pure: told the time.
#[derive(Debug)]
pub struct FilePace {
    until: HashMap<Inode, Instant>,
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
            until: HashMap::new(),
            longest,
        }
    }

    /// All that was dirty of a file is sent at `now`, which took `cost`.
    pub(super) fn finished(&mut self, file: Inode, now: Instant, cost: Duration) {
        if !is_dear(cost) {
            return;
        }
        if self.until.len() >= FILES_MAX {
            self.until.retain(|_, until| *until > now);
        }
        let rest = cost.saturating_mul(REST_SHARE).min(self.longest);
        self.until.insert(file, now + rest);
    }

    /// When the rest of this file ends, if it has not at `now`.
    pub(super) fn rests_until(&self, file: Inode, now: Instant) -> Option<Instant> {
        self.until.get(&file).copied().filter(|until| *until > now)
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
            pace.finished(inode(cost), now, Duration::from_millis(cost));
            let expected = rest.map(|rest| now + Duration::from_millis(rest));
            assert_eq!(pace.rests_until(inode(cost), now), expected, "{cost} ms");
        }
        assert_eq!(pace.rests_until(inode(10), now + LONGEST), None);
    }

    #[test]
    fn those_that_have_rested_are_forgotten() {
        let now = Instant::now();
        let mut pace = FilePace::new(LONGEST);
        for number in 0..5000 {
            let at = now + number * LONGEST;
            pace.finished(inode(u64::from(number)), at, Duration::from_secs(1));
            assert!(pace.until.len() <= FILES_MAX);
        }
    }
}

//! How often the reader makes its rounds. Pure: takes the time, gives the wait.
//!
//! ```text
//! found something      1 ms, shims need not ring
//! 10 ms of that        4 ms, shims ring before a ring of theirs is full, and for what is waited for
//! 6 ms without         asleep: shims ring; own rounds after 2, 4, 8, 16, 20, 20 … ms
//! 100 ms without       asleep: own rounds every 250 ms, for what only time brings (dead threads)
//! rung for nothing     20 ms without listening, so that nobody can keep the reader running
//! ```
//!
//! Each round takes a processor from some program for a moment, and its caches: a program that waits for its
//! disk over and over pays for a reader that comes a thousand times a second.

use std::time::{Duration, Instant};

const ACTIVE: Duration = Duration::from_millis(1);
const ACTIVE_AFTER: Duration = Duration::from_millis(6);
const STEADY_AFTER: Duration = Duration::from_millis(10);
const STEADY: Duration = Duration::from_millis(4);
const DROWSY_FIRST: Duration = Duration::from_millis(2);
const DROWSY_MAX: Duration = Duration::from_millis(20);
const DROWSY_AFTER: Duration = Duration::from_millis(100);
const ASLEEP: Duration = Duration::from_millis(250);
const EMPTY: Duration = Duration::from_secs(10);
const DEAF: Duration = Duration::from_millis(20);
/// Rings for nothing, in a row, that are taken for good faith.
const FALSE_RINGS_MAX: u32 = 8;

/// What to do before the next round.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Wait {
    /// Wait so long; shims need not ring.
    Pause(Duration),
    /// Wait so long, or until something can't wait for that.
    Doze(Duration),
    /// Wait so long, or until a shim rings.
    Sleep(Duration),
}

/// The rule's memory.
#[derive(Debug)]
pub(super) struct Pace {
    found_at: Instant,
    /// Since when something has been found again and again.
    busy_since: Instant,
    drowsy: Duration,
    false_rings: u32,
}

impl Pace {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            found_at: now,
            busy_since: now,
            drowsy: DROWSY_FIRST,
            false_rings: 0,
        }
    }

    /// After a round at `now`: did it find anything, did a shim ask for it, are there segments at all?
    pub(super) fn next(&mut self, now: Instant, found: bool, rung: bool, segments: bool) -> Wait {
        if found {
            *self = Self {
                busy_since: self.busy_since(now),
                ..Self::new(now)
            };
        } else if rung {
            self.false_rings += 1;
        }
        let idle = now.duration_since(self.found_at);
        if self.false_rings > FALSE_RINGS_MAX {
            self.false_rings = 0;
            return Wait::Pause(DEAF);
        }
        match idle {
            _ if idle < ACTIVE_AFTER => self.active(now, rung),
            _ if idle < DROWSY_AFTER => Wait::Sleep(self.drowsier()),
            _ if segments => Wait::Sleep(ASLEEP),
            _ => Wait::Sleep(EMPTY),
        }
    }

    fn busy_since(&self, now: Instant) -> Instant {
        match now.duration_since(self.found_at) < ACTIVE_AFTER {
            true => self.busy_since,
            false => now,
        }
    }

    /// Whoever was rung out of a doze does not listen for a moment, so that rings don't keep it running.
    fn active(&self, now: Instant, rung: bool) -> Wait {
        let steady = now.duration_since(self.busy_since) >= STEADY_AFTER;
        match steady && !rung {
            true => Wait::Doze(STEADY),
            false => Wait::Pause(ACTIVE),
        }
    }

    fn drowsier(&mut self) -> Duration {
        let now = self.drowsy;
        self.drowsy = (now * 2).min(DROWSY_MAX);
        now
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slows_down_step_by_step_and_wakes_at_once() {
        let start = Instant::now();
        let mut pace = Pace::new(start);
        let mut at =
            |ms: u64, found: bool| pace.next(start + Duration::from_millis(ms), found, false, true);
        let pause = |ms| Wait::Pause(Duration::from_millis(ms));
        let sleep = |ms| Wait::Sleep(Duration::from_millis(ms));
        assert_eq!(at(0, true), pause(1));
        assert_eq!(at(5, false), pause(1));
        assert_eq!(at(6, false), sleep(2));
        assert_eq!(
            [8, 12, 20, 36].map(|ms| at(ms, false)),
            [4, 8, 16, 20].map(sleep)
        );
        assert_eq!(at(99, false), sleep(20));
        assert_eq!(at(100, false), sleep(250));
        assert_eq!(at(5_000, true), pause(1));
        assert_eq!(at(5_006, false), sleep(2));
    }

    #[test]
    fn who_finds_something_all_the_time_comes_less_often() {
        let start = Instant::now();
        let mut pace = Pace::new(start);
        let mut at = |ms: u64, found: bool, rung: bool| {
            pace.next(start + Duration::from_millis(ms), found, rung, true)
        };
        for ms in [0, 3, 6, 9] {
            assert_eq!(at(ms, true, false), Wait::Pause(ACTIVE));
        }
        assert_eq!(at(10, true, false), Wait::Doze(STEADY));
        assert_eq!(at(12, true, true), Wait::Pause(ACTIVE), "a ring was full");
        assert_eq!(at(13, true, false), Wait::Doze(STEADY));
        assert_eq!(at(17, false, false), Wait::Doze(STEADY));
        assert_eq!(at(19, false, false), Wait::Sleep(DROWSY_FIRST));
        assert_eq!(at(20, true, true), Wait::Pause(ACTIVE));
    }

    #[test]
    fn rings_for_nothing_do_not_keep_it_running() {
        let start = Instant::now();
        let mut pace = Pace::new(start);
        let late = start + Duration::from_secs(1);
        let waits: Vec<_> = (0..90)
            .map(|_| pace.next(late, false, true, true))
            .collect();
        let deaf = waits
            .iter()
            .filter(|wait| matches!(wait, Wait::Pause(DEAF)))
            .count();
        assert_eq!(deaf, 10);
    }
}

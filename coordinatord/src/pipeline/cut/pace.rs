//! When a recovery point is worth proving, and whether programs are made to wait for it. Pure.

use std::time::{Duration, Instant};

/// Programs wait at most one part in so many of the time.
const HOLD_SHARE: u32 = 64;
/// After that many shortest intervals without a batch nothing goes on that would have to wait.
const BUSY_INTERVALS: u32 = 4;
/// Much that is put off is looked at after two seconds at most. So it takes more than one such thing to make a
/// point later than this.
const LATE: Duration = Duration::from_secs(3);
/// Bytes put off that can be sent once more than would have been needed, each time that a point is late.
const CHEAP_BYTES_MAX: u64 = 16 << 20;
/// A point that is late is hurried for so long, and then not again for `PATIENCE_SHARE` times as long.
const PATIENCE_SHARE: u32 = 10;

/// What people have decided about cuts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CutSettings {
    /// Shortest time from one attempt to the next.
    pub shortest: Duration,
    /// Longest that programs are made to wait. Zero: never.
    pub hold_max: Duration,
}

/// What came of an attempt.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Attempt {
    /// How long programs were made to wait, if they were.
    pub(super) held: Option<Duration>,
    pub(super) proven: bool,
}

/// The rule's memory.
#[derive(Debug)]
pub(super) struct CutPace {
    settings: CutSettings,
    /// The promise: no consistent point is to be older, where that can be had.
    longest: Duration,
    tried: Option<Instant>,
    rest: Duration,
    batch_at: Option<Instant>,
    /// Since when what was sent last is not proven to be a state that the disk had.
    unproven_since: Option<Instant>,
    /// Until when nothing is put off, and from when on that may be so again.
    hurry: Option<(Instant, Instant)>,
}

impl CutPace {
    pub(super) fn new(settings: CutSettings, longest: Duration) -> Self {
        Self {
            settings,
            longest,
            tried: None,
            rest: settings.shortest,
            batch_at: None,
            unproven_since: None,
            hurry: None,
        }
    }

    /// A batch was sent.
    pub(super) fn sent(&mut self, now: Instant, proven: bool) {
        self.batch_at = Some(now);
        if proven {
            (self.unproven_since, self.hurry) = (None, None);
        } else {
            self.unproven_since.get_or_insert(now);
        }
    }

    /// Was something sent that is not proven?
    pub(super) fn is_unproven(&self) -> bool {
        self.unproven_since.is_some()
    }

    /// When the next attempt may be made. That moment does not move on while it is waited for.
    pub(super) fn due(&self, now: Instant) -> Instant {
        match self.tried {
            Some(tried) => tried + self.rest,
            None => self.unproven_since.unwrap_or(now),
        }
    }

    /// An attempt that ends `now`. One in vain is followed by a longer rest.
    pub(super) fn tried(&mut self, now: Instant, attempt: Attempt) {
        let (shortest, longest) = (
            self.settings.shortest,
            self.longest.max(self.settings.shortest),
        );
        let fair = attempt
            .held
            .map_or(shortest, |held| held.saturating_mul(HOLD_SHARE));
        let rest = if attempt.proven {
            fair
        } else {
            fair.max(self.rest * 2)
        };
        self.rest = rest.clamp(shortest, longest);
        self.tried = Some(now);
    }

    /// Is so much going on that programs have to wait if anything is to be proved?
    pub(super) fn is_busy(&self, now: Instant) -> bool {
        let busy = self.settings.shortest.saturating_mul(BUSY_INTERVALS);
        self.unproven_since.is_some()
            && self
                .batch_at
                .is_some_and(|at| now.duration_since(at) < busy)
    }

    /// Has there been no consistent point for so long that nothing may be put off? What rests would keep
    /// every point from being one.
    pub(super) fn hurries(&mut self, now: Instant, put_off_bytes: u64) -> bool {
        let allowed = match put_off_bytes <= CHEAP_BYTES_MAX {
            true => self.longest,
            false => self.longest.max(LATE),
        };
        let late = |since: Instant| now.duration_since(since) >= allowed;
        let again = self.hurry.is_none_or(|(_, again)| now >= again);
        if again && self.unproven_since.is_some_and(late) {
            let again = now + self.longest.saturating_mul(PATIENCE_SHARE);
            self.hurry = Some((now + self.longest, again));
            // More than one attempt while it lasts, however many were in vain before.
            (self.tried, self.rest) = (None, self.settings.shortest);
        }
        self.hurry.is_some_and(|(until, _)| now < until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);
    const SETTINGS: CutSettings = CutSettings {
        shortest: Duration::from_millis(50),
        hold_max: Duration::from_millis(20),
    };

    fn pace() -> CutPace {
        CutPace::new(SETTINGS, 1000 * MS)
    }

    fn held(ms: u32, proven: bool) -> Attempt {
        Attempt {
            held: Some(ms * MS),
            proven,
        }
    }

    #[test]
    fn programs_wait_for_a_small_part_of_the_time() {
        let now = Instant::now();
        let mut pace = pace();
        assert_eq!(pace.due(now), now);
        pace.tried(now, held(2, true));
        assert_eq!(pace.due(now), now + 128 * MS);
        pace.tried(now, held(20, true));
        assert_eq!(pace.due(now), now + 1000 * MS, "no longer than the promise");
        pace.tried(
            now,
            Attempt {
                held: None,
                proven: false,
            },
        );
        assert_eq!(pace.due(now), now + 1000 * MS, "nothing was proved");
        let free = |proven| Attempt { held: None, proven };
        pace.tried(now, free(true));
        assert_eq!(pace.due(now), now + 50 * MS);
        pace.tried(now, free(false));
        assert_eq!(pace.due(now), now + 100 * MS, "its batch waited in vain");
    }

    #[test]
    fn who_waited_in_vain_is_left_alone_for_longer() {
        let now = Instant::now();
        let mut pace = pace();
        let mut rests = [0; 6];
        for rest in &mut rests {
            pace.tried(now, held(1, false));
            *rest = pace.due(now).duration_since(now).as_millis();
        }
        assert_eq!(rests, [100, 200, 400, 800, 1000, 1000]);
        pace.tried(now, held(1, true));
        assert_eq!(pace.due(now), now + 64 * MS);
    }

    #[test]
    fn a_late_point_is_tried_for_more_than_once() {
        let now = Instant::now();
        let mut pace = pace();
        pace.sent(now, false);
        (0..6).for_each(|_| pace.tried(now, held(1, false)));
        let late = now + 1000 * MS;
        assert!(pace.hurries(late, 0) && pace.due(late) <= late);
        pace.tried(late, held(1, false));
        assert_eq!(pace.due(late), late + 100 * MS);
    }

    #[test]
    fn nobody_waits_where_little_goes_on() {
        let now = Instant::now();
        let mut pace = pace();
        assert!(!pace.is_busy(now) && !pace.is_unproven());
        pace.sent(now, false);
        assert!(pace.is_busy(now + 100 * MS) && pace.is_unproven());
        assert!(!pace.is_busy(now + 200 * MS));
        pace.sent(now, true);
        assert!(!pace.is_busy(now) && !pace.is_unproven());
    }

    #[test]
    fn a_late_point_is_hurried_now_and_then() {
        let now = Instant::now();
        let at = |ms: u32| now + ms * MS;
        for (bytes, first, seconds) in [(CHEAP_BYTES_MAX + 1, 3000, 3), (CHEAP_BYTES_MAX, 1000, 3)]
        {
            let mut pace = pace();
            assert!(!pace.hurries(at(0), bytes));
            pace.sent(at(0), false);
            let hurried: Vec<u32> = (0..240)
                .map(|tenth| tenth * 100)
                .filter(|ms| pace.hurries(at(*ms), bytes))
                .collect();
            assert_eq!(hurried.first(), Some(&first));
            assert_eq!(hurried.len(), 10 * seconds, "{bytes}: {hurried:?}");
            pace.sent(at(26_000), true);
            assert!(!pace.hurries(at(26_000), bytes));
        }
    }
}

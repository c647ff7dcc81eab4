//! The pacing rule: idle means immediate, load widens the interval so that coalescing pays.

use std::time::{Duration, Instant};

/// Rounds take at most one part in so many of the time.
const SHARE: u32 = 4;

/// Bounds of a pace.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PaceLimits {
    /// Shortest time from the start of one round to the start of the next.
    pub shortest: Duration,
    /// Longest; half of the promise (RPO), so that a round still fits.
    pub longest: Duration,
}

/// Decides when the next round of some repeated work may start. Pure: told the time.
///
/// A round that took `d` is followed by a rest so long that work takes at most a quarter of the time:
/// the interval is four times what rounds cost of late, between the limits. After a quiet spell the next
/// round is due at once.
#[derive(Clone, Copy, Debug)]
pub struct Pacer {
    limits: PaceLimits,
    last_start: Option<Instant>,
    interval: Duration,
}

impl Pacer {
    /// A pacer whose first round is due at once.
    pub fn new(limits: PaceLimits) -> Self {
        Self {
            limits,
            last_start: None,
            interval: limits.shortest,
        }
    }

    /// When the next round may start; not after `now` when it may start at once.
    pub fn due(&self, now: Instant) -> Instant {
        self.last_start.map_or(now, |start| start + self.interval)
    }

    /// A round that started at `start` took `cost`. A dear one widens the interval at once, cheap
    /// ones narrow it by and by.
    pub fn finished(&mut self, start: Instant, cost: Duration) {
        let wanted = cost.saturating_mul(SHARE);
        let next = if wanted > self.interval {
            wanted
        } else {
            (self.interval * 3 + wanted) / 4
        };
        self.interval = next.clamp(self.limits.shortest, self.limits.longest);
        self.last_start = Some(start);
    }

    /// What the interval is now.
    pub fn interval(&self) -> Duration {
        self.interval
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: PaceLimits = PaceLimits {
        shortest: Duration::from_millis(1),
        longest: Duration::from_millis(500),
    };

    #[test]
    fn idle_means_immediate() {
        let now = Instant::now();
        let mut pacer = Pacer::new(LIMITS);
        assert!(pacer.due(now) <= now);
        pacer.finished(now, Duration::from_micros(100));
        assert!(pacer.due(now) <= now + Duration::from_secs(1));
    }

    #[test]
    fn load_widens_up_to_the_limit_and_rest_narrows_again() {
        let now = Instant::now();
        let mut pacer = Pacer::new(LIMITS);
        pacer.finished(now, Duration::from_millis(40));
        assert_eq!(pacer.due(now), now + Duration::from_millis(160));
        pacer.finished(now, Duration::from_secs(5));
        assert_eq!(pacer.interval(), LIMITS.longest);
        (0..50).for_each(|_| pacer.finished(now, Duration::ZERO));
        assert_eq!(pacer.interval(), LIMITS.shortest);
    }
}

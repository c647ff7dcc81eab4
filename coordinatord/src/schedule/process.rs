//! Schedule processing unit: from the queue to backup commands.

use std::time::{Duration, Instant};

use super::rule::{PaceLimits, Pacer};

/// What is under way to the receiver, and how much may be.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Window {
    /// Connected to a receiver that takes batches.
    pub open: bool,
    /// Bytes of batches sent and not yet stored.
    pub under_way_bytes: u64,
    /// How many batches that is.
    pub under_way_batches: usize,
    /// What the receiver allows.
    pub limit_bytes: u64,
}

/// Most batches under way at once: enough to fill the receiver's group commit.
const BATCHES_UNDER_WAY_MAX: usize = 32;

impl Window {
    /// May another batch be sent?
    pub fn has_room(&self) -> bool {
        self.open
            && self.under_way_bytes < self.limit_bytes
            && self.under_way_batches < BATCHES_UNDER_WAY_MAX
    }
}

/// Decides when the next batch is made.
pub struct ScheduleProcessor {
    pacer: Pacer,
}

impl ScheduleProcessor {
    /// With these bounds.
    pub fn new(limits: PaceLimits) -> Self {
        Self {
            pacer: Pacer::new(limits),
        }
    }

    /// When to make the next batch: `None` while there is nothing to do or no room for it.
    pub fn due(&self, now: Instant, waiting: bool, window: Window) -> Option<Instant> {
        (waiting && window.has_room()).then(|| self.pacer.due(now))
    }

    /// A batch of live changes was made. Bulk work is paced by the window alone.
    pub fn finished(&mut self, start: Instant, cost: Duration) {
        self.pacer.finished(start, cost);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: PaceLimits = PaceLimits {
        shortest: Duration::ZERO,
        longest: Duration::from_secs(1),
    };
    const OPEN: Window = Window {
        open: true,
        under_way_bytes: 0,
        under_way_batches: 0,
        limit_bytes: 100,
    };

    #[test]
    fn a_batch_is_due_only_with_work_and_room() {
        let now = Instant::now();
        let processor = ScheduleProcessor::new(LIMITS);
        let cases = [
            (true, OPEN, true),
            (false, OPEN, false),
            (
                true,
                Window {
                    open: false,
                    ..OPEN
                },
                false,
            ),
            (
                true,
                Window {
                    under_way_bytes: 100,
                    ..OPEN
                },
                false,
            ),
            (
                true,
                Window {
                    under_way_batches: BATCHES_UNDER_WAY_MAX,
                    ..OPEN
                },
                false,
            ),
        ];
        for (waiting, window, expected) in cases {
            assert_eq!(
                processor.due(now, waiting, window).is_some(),
                expected,
                "{window:?}"
            );
        }
    }
}

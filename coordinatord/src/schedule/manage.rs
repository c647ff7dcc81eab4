//! Schedule managing unit: from intake into the queue.

use std::time::Instant;

use super::rule::{PaceLimits, Pacer};
use crate::intake::Hint;
use crate::queue::Queue;

/// Moves hints into the queue. Its cost is that of merging, so its rounds are short; under a flood
/// the intake merges further while it rests.
pub struct ScheduleManager {
    pacer: Pacer,
}

impl ScheduleManager {
    /// With these bounds.
    pub fn new(limits: PaceLimits) -> Self {
        Self {
            pacer: Pacer::new(limits),
        }
    }

    /// Takes `hints` in; `now` is when the round starts, `clock` gives the time it ended. True: there were too many,
    /// and the queue has forgotten them for one look at everything.
    pub fn take_in(
        &mut self,
        queue: &mut Queue,
        hints: &[Hint],
        now: Instant,
        clock: impl Fn() -> Instant,
    ) -> bool {
        hints.iter().for_each(|hint| queue.push(hint));
        let crowded = queue.is_crowded();
        if crowded {
            queue.widen_to_everything();
        }
        self.pacer
            .finished(now, clock().saturating_duration_since(now));
        crowded
    }

    /// When the next round may start.
    pub fn due(&self, now: Instant) -> Instant {
        self.pacer.due(now)
    }
}

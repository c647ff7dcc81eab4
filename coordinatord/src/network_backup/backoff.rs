//! How long to wait before the next attempt to connect.

use std::time::Duration;

/// First wait.
const SHORTEST: Duration = Duration::from_millis(50);
/// No wait is longer: a receiver that comes back is found within this.
const LONGEST: Duration = Duration::from_secs(5);

/// Doubles from 50 ms to 5 s; begins anew once a connection was good.
#[derive(Debug)]
pub(super) struct Backoff {
    next: Duration,
}

impl Backoff {
    pub(super) const fn new() -> Self {
        Self { next: SHORTEST }
    }

    /// How long to wait now.
    pub(super) fn wait(&mut self) -> Duration {
        let now = self.next;
        self.next = (now * 2).min(LONGEST);
        now
    }

    /// The peer answered: the next failure is a first one.
    pub(super) fn reset(&mut self) {
        self.next = SHORTEST;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubles_up_to_the_limit_and_begins_anew() {
        let mut backoff = Backoff::new();
        let waits: Vec<u128> = (0..9).map(|_| backoff.wait().as_millis()).collect();
        assert_eq!(waits, [50, 100, 200, 400, 800, 1600, 3200, 5000, 5000]);
        backoff.reset();
        assert_eq!(backoff.wait(), SHORTEST);
    }
}

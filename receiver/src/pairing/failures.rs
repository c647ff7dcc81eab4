//! How often may somebody try pairing codes? Pure; the time is an argument.
//!
//! A secret of 128 bits can't be guessed. The limit keeps a guesser from filling the log and
//! keeping the disk busy, and it is kept per address so that he shuts out nobody else.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// Failures that an address may have within [`PERIOD`].
pub(super) const FAILURES_MAX: u32 = 5;
/// After so long an address begins anew.
const PERIOD: Duration = Duration::from_secs(60);
/// Addresses remembered at most; with more guessers at once, nobody is paired.
const ADDRESSES_MAX: usize = 1024;

/// Failures by address.
#[derive(Debug, Default)]
pub(super) struct FailureLimit {
    failed: HashMap<IpAddr, (Instant, u32)>,
}

impl FailureLimit {
    /// Must this address wait?
    pub(super) fn exceeded(&mut self, from: IpAddr, now: Instant) -> bool {
        self.failed
            .retain(|_, (first, _)| now.saturating_duration_since(*first) < PERIOD);
        match self.failed.get(&from) {
            Some((_, count)) => *count >= FAILURES_MAX,
            None => self.failed.len() >= ADDRESSES_MAX,
        }
    }

    /// It failed once more.
    pub(super) fn count(&mut self, from: IpAddr, now: Instant) {
        self.failed.entry(from).or_insert((now, 0)).1 += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(last: u32) -> IpAddr {
        IpAddr::from(last.to_be_bytes())
    }

    #[test]
    fn an_address_waits_after_its_failures_and_begins_anew() {
        let (mut limit, start) = (FailureLimit::default(), Instant::now());
        for _ in 0..FAILURES_MAX {
            assert!(!limit.exceeded(address(1), start));
            limit.count(address(1), start);
        }
        assert!(limit.exceeded(address(1), start));
        assert!(!limit.exceeded(address(2), start));
        assert!(!limit.exceeded(address(1), start + PERIOD));
    }

    #[test]
    fn memory_is_bounded() {
        let (mut limit, start) = (FailureLimit::default(), Instant::now());
        for last in 0..ADDRESSES_MAX as u32 {
            assert!(!limit.exceeded(address(last), start));
            limit.count(address(last), start);
        }
        assert!(limit.exceeded(address(u32::MAX), start));
        assert!(!limit.exceeded(address(u32::MAX), start + PERIOD));
    }
}

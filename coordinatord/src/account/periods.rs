//! Changes of the last day, in periods.

use std::collections::VecDeque;

use everwrite_protocol::control::{Changes, Lately};
use everwrite_protocol::ids::Timestamp;
use serde::{Deserialize, Serialize};

use super::count;
use crate::intake::Sources;

/// Length of a period.
const PERIOD_NS: i64 = 5 * 60 * 1_000_000_000;
/// Periods that make an hour, and a day.
const HOUR: i64 = 12;
const DAY: i64 = 24 * HOUR;

/// Counts of the last 24 hours, by periods of five minutes.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Periods(VecDeque<Period>);

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
struct Period {
    /// Its number since 1970.
    number: i64,
    #[serde(flatten)]
    changes: Changes,
}

impl Periods {
    /// Counts a change found at `now`.
    pub fn count(&mut self, now: Timestamp, sources: Sources) {
        let number = number(now);
        // A clock that was set back leaves periods of the future behind.
        self.0
            .retain(|period| (number - DAY + 1..=number).contains(&period.number));
        if self.0.back().is_none_or(|last| last.number != number) {
            let changes = Changes::default();
            self.0.push_back(Period { number, changes });
        }
        if let Some(period) = self.0.back_mut() {
            count(&mut period.changes, sources);
        }
    }

    /// The last hour and the last day, to a period.
    pub fn lately(&self, now: Timestamp) -> Lately {
        Lately {
            hour: self.last(number(now), HOUR),
            day: self.last(number(now), DAY),
        }
    }

    fn last(&self, now: i64, periods: i64) -> Changes {
        let recent = |period: &&Period| (now - periods + 1..=now).contains(&period.number);
        let recent = self.0.iter().filter(recent);
        recent.fold(Changes::default(), |sum, period| sum.and(period.changes))
    }
}

fn number(now: Timestamp) -> i64 {
    now.0.div_euclid(PERIOD_NS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::intake::Source;

    fn at(minutes: i64) -> Timestamp {
        Timestamp(minutes * 60 * 1_000_000_000)
    }

    #[test]
    fn what_is_old_is_forgotten() {
        let mut periods = Periods::default();
        periods.count(at(0), Source::Scan.into());
        periods.count(at(30), Source::Shim.into());
        periods.count(at(89), Source::Scan.into());
        let lately = periods.lately(at(89));
        assert_eq!((lately.hour.missed, lately.hour.all()), (1, 2));
        assert_eq!((lately.day.missed, lately.day.all()), (2, 3));
        assert_eq!(periods.lately(at(89 + 60)).hour.all(), 0);
        assert_eq!(periods.lately(at(24 * 60 + 29)).day.all(), 2);
        assert_eq!(periods.lately(at(30 * 60)).day.all(), 0);
    }

    #[test]
    fn it_is_bounded_whatever_the_clock_does() {
        let mut periods = Periods::default();
        (0..10_000).for_each(|minutes| periods.count(at(minutes), Source::Shim.into()));
        assert_eq!(periods.0.len() as i64, DAY);
        periods.count(at(20), Source::Kernel.into());
        let lately = periods.lately(at(20));
        assert_eq!(
            (periods.0.len(), lately.day.all(), lately.hour.kernel),
            (1, 1, 1)
        );
    }
}

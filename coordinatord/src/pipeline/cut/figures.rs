//! What cuts have cost.

use std::collections::VecDeque;
use std::time::Duration;

use everwrite_protocol::control::CutFigures;
use everwrite_protocol::wire::CutKind;

/// Holds of which the length is kept.
const HOLDS_MAX: usize = 4096;

/// Counts since start.
#[derive(Debug, Default)]
pub(super) struct Figures {
    proven: u64,
    unproven: u64,
    held: u64,
    holds: VecDeque<u32>,
    why: String,
}

impl Figures {
    /// A batch was sent.
    pub(super) fn sent(&mut self, kind: &CutKind) {
        if kind.is_consistent() {
            self.proven += 1;
            return;
        }
        self.unproven += 1;
        if let Some(why) = kind.why() {
            why.clone_into(&mut self.why);
        }
    }

    /// Programs were made to wait so long at most.
    pub(super) fn held(&mut self, lasted: Duration) {
        self.held += 1;
        if self.holds.len() >= HOLDS_MAX {
            self.holds.pop_front();
        }
        let micros = u32::try_from(lasted.as_micros()).unwrap_or(u32::MAX);
        self.holds.push_back(micros);
    }

    /// For people.
    pub(super) fn report(&self) -> CutFigures {
        let mut holds: Vec<u32> = self.holds.iter().copied().collect();
        holds.sort_unstable();
        let at = |percent: usize| {
            let place = holds.len().saturating_sub(1) * percent / 100;
            holds.get(place).copied().map_or(0, u64::from)
        };
        CutFigures {
            consistent: self.proven,
            fuzzy: self.unproven,
            holds: self.held,
            hold_us_p50: at(50),
            hold_us_p99: at(99),
            hold_us_max: at(100),
            last_doubt: self.why.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_length_of_holds_is_told() {
        let mut figures = Figures::default();
        assert_eq!(figures.report().hold_us_max, 0);
        (1..=5000).for_each(|micros| figures.held(Duration::from_micros(micros)));
        let report = figures.report();
        assert_eq!((report.holds, report.hold_us_max), (5000, 5000));
        assert_eq!((report.hold_us_p50, report.hold_us_p99), (2952, 4959));
    }
}

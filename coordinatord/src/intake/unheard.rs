//! Programs that we know we don't hear: they asked for a segment and were refused, or their shim
//! says that it is blind. What they change is found by looking everywhere, now and then while they
//! run, and once more when they have ended.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use super::process::ProcessKey;

/// Time between two looks at everything while an unheard program runs.
const LOOK_INTERVAL: Duration = Duration::from_secs(30);
/// Time between two looks at who has ended.
const CHECK_INTERVAL: Duration = Duration::from_secs(5);
/// Programs remembered. Beyond, the list counts as full until all on it have ended.
const PROGRAMS_MAX: usize = 16 * 1024;

/// The list.
#[derive(Debug)]
pub(super) struct Unheard {
    programs: HashSet<ProcessKey>,
    /// Some programs did not fit on the list, or ended before they could be put on it.
    more: bool,
    check_at: Instant,
    look_at: Instant,
}

impl Unheard {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            programs: HashSet::new(),
            more: false,
            check_at: now,
            look_at: now,
        }
    }

    /// Adds a program; `None` for one that has already ended.
    pub(super) fn add(&mut self, program: Option<ProcessKey>, now: Instant) {
        if self.is_empty() {
            self.check_at = now + CHECK_INTERVAL;
            self.look_at = now + LOOK_INTERVAL;
        }
        match program {
            Some(program) if self.programs.len() < PROGRAMS_MAX => {
                self.programs.insert(program);
            }
            _ => self.more = true,
        }
    }

    /// Is everything to be looked at? `hurry`: somebody waits for the answer.
    pub(super) fn is_due(
        &mut self,
        now: Instant,
        hurry: bool,
        exists: impl Fn(ProcessKey) -> bool,
    ) -> bool {
        if self.is_empty() || !(hurry || now >= self.check_at) {
            return false;
        }
        self.check_at = now + CHECK_INTERVAL;
        let before = self.programs.len();
        self.programs.retain(|program| exists(*program));
        let ended = self.programs.len() < before || (self.programs.is_empty() && self.more);
        if self.programs.is_empty() {
            self.more = false;
        }
        let due = ended || hurry || now >= self.look_at;
        if due {
            self.look_at = now + LOOK_INTERVAL;
        }
        due
    }

    /// Is nobody on the list?
    pub(super) fn is_empty(&self) -> bool {
        self.programs.is_empty() && !self.more
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn program(pid: u32) -> ProcessKey {
        ProcessKey {
            pid,
            started_ticks: 1,
        }
    }

    #[test]
    fn looks_now_and_then_and_at_the_end() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut unheard = Unheard::new(start);
        assert!(!unheard.is_due(at(0), true, |_| true));
        unheard.add(Some(program(1)), at(0));
        assert!(!unheard.is_due(at(6), false, |_| true));
        assert!(
            unheard.is_due(at(6), true, |_| true),
            "a barrier can't know what it changed"
        );
        assert!(!unheard.is_due(at(20), false, |_| true));
        assert!(unheard.is_due(at(40), false, |_| true));
        assert!(unheard.is_due(at(46), false, |_| false), "it has ended");
        assert!(!unheard.is_due(at(1000), true, |_| true), "nobody is left");
    }

    #[test]
    fn one_that_ended_too_early_to_be_known_is_looked_after_once() {
        let start = Instant::now();
        let mut unheard = Unheard::new(start);
        unheard.add(None, start);
        assert!(unheard.is_due(start + Duration::from_secs(5), false, |_| true));
        assert!(!unheard.is_due(start + Duration::from_secs(99), true, |_| true));
    }

    #[test]
    fn the_list_is_bounded() {
        let start = Instant::now();
        let mut unheard = Unheard::new(start);
        (0..40_000).for_each(|pid| unheard.add(Some(program(pid)), start));
        assert_eq!(unheard.programs.len(), PROGRAMS_MAX);
        assert!(unheard.is_due(start + Duration::from_secs(5), false, |_| false));
        assert!(unheard.is_empty());
    }
}

//! Programs that we know we don't hear: they asked for a segment and got none, or their shim says that
//! it is blind. What they change is found by looking everywhere, now and then while they run, and once
//! more when they have ended.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::process::ProcessKey;

/// Time between two looks at everything while an unheard program runs.
const LOOK_INTERVAL: Duration = Duration::from_secs(30);
/// Time between two looks at who has ended.
const CHECK_INTERVAL: Duration = Duration::from_secs(5);
/// Programs remembered. Beyond, the list counts as full until all on it have ended.
const PROGRAMS_MAX: usize = 16 * 1024;
/// Programs that found no policy page look for one once a second; then what they are about to do takes
/// some time.
const LATECOMERS_AFTER: Duration = Duration::from_secs(2);

/// What becomes of the changes that a program makes while it is not heard.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Meanwhile {
    /// Its shim keeps them in mind, and tells them when it is let in.
    Remembered,
    /// Nobody knows them.
    Lost,
}

/// The list.
#[derive(Debug)]
pub(super) struct Unheard {
    programs: HashMap<ProcessKey, Meanwhile>,
    /// Some programs did not fit on the list, or ended before they could be put on it.
    more: bool,
    latecomers_at: Option<Instant>,
    check_at: Instant,
    look_at: Instant,
}

impl Unheard {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            programs: HashMap::new(),
            more: false,
            latecomers_at: None,
            check_at: now,
            look_at: now,
        }
    }

    /// Adds a program; `None` for one that has already ended.
    pub(super) fn add(&mut self, program: Option<ProcessKey>, meanwhile: Meanwhile, now: Instant) {
        if self.is_empty() {
            self.check_at = now + CHECK_INTERVAL;
            self.look_at = now + LOOK_INTERVAL;
        }
        match program {
            Some(program) if self.programs.len() < PROGRAMS_MAX => {
                let known = self.programs.entry(program).or_insert(meanwhile);
                if meanwhile == Meanwhile::Lost {
                    *known = meanwhile;
                }
            }
            _ => self.more = true,
        }
    }

    /// Programs that run may not know yet that somebody listens, or are in calls that they began
    /// before.
    pub(super) fn expect_latecomers(&mut self, now: Instant) {
        self.latecomers_at = Some(now + LATECOMERS_AFTER);
    }

    /// The program is heard from now on. True when what it did before is lost.
    pub(super) fn is_heard(&mut self, program: ProcessKey) -> bool {
        self.programs.remove(&program) == Some(Meanwhile::Lost)
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
        self.programs.retain(|program, _| exists(*program));
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

    /// Is everything to be looked at for the sake of latecomers?
    pub(super) fn latecomers_are_due(&mut self, now: Instant) -> bool {
        self.latecomers_at.take_if(|at| *at <= now).is_some()
    }

    /// Is there anything that only time brings?
    pub(super) fn is_waiting(&self) -> bool {
        !self.is_empty() || self.latecomers_at.is_some()
    }

    fn is_empty(&self) -> bool {
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
        unheard.add(Some(program(1)), Meanwhile::Lost, at(0));
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
        unheard.add(None, Meanwhile::Lost, start);
        assert!(unheard.is_due(start + Duration::from_secs(5), false, |_| true));
        assert!(!unheard.is_due(start + Duration::from_secs(99), true, |_| true));
    }

    #[test]
    fn the_list_is_bounded() {
        let start = Instant::now();
        let mut unheard = Unheard::new(start);
        (0..40_000).for_each(|pid| unheard.add(Some(program(pid)), Meanwhile::Lost, start));
        assert_eq!(unheard.programs.len(), PROGRAMS_MAX);
        assert!(unheard.is_due(start + Duration::from_secs(5), false, |_| false));
        assert!(unheard.is_empty());
    }

    #[test]
    fn one_that_is_heard_leaves_the_list() {
        let start = Instant::now();
        let mut unheard = Unheard::new(start);
        unheard.add(Some(program(1)), Meanwhile::Remembered, start);
        unheard.add(Some(program(2)), Meanwhile::Lost, start);
        unheard.add(Some(program(2)), Meanwhile::Remembered, start);
        assert!(!unheard.is_heard(program(1)));
        assert!(unheard.is_heard(program(2)));
        assert!(!unheard.is_heard(program(2)) && !unheard.is_waiting());
    }

    #[test]
    fn latecomers_are_looked_after_once() {
        let start = Instant::now();
        let mut unheard = Unheard::new(start);
        unheard.expect_latecomers(start);
        assert!(unheard.is_waiting() && !unheard.latecomers_are_due(start));
        assert!(unheard.latecomers_are_due(start + LATECOMERS_AFTER));
        assert!(!unheard.is_waiting());
    }
}

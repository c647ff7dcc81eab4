//! The account of this pipeline: what rounds found is counted, and a burst of losses told of.

use std::time::{Duration, Instant};

use everwrite_protocol::control::{Burst, CaptureGap, Changes, Lately, Miss, ProgramChanges};
use everwrite_protocol::ids::{FileId, SequenceNumber, Timestamp};

use super::Pipeline;
use crate::account::{Change, Gap, Loss, Suspected};
use crate::clock::{self, wall_clock};
use crate::round::Findings;

/// What the account says, for the coverage.
#[derive(Clone, Debug, Default)]
pub struct AccountReport {
    /// By program, since start.
    pub programs: Vec<ProgramChanges>,
    /// The misses of the last day.
    pub misses: Vec<Miss>,
    /// The capture gaps of the last day.
    pub gaps: Vec<CaptureGap>,
}

/// The gaps that the log has not told of yet.
#[derive(Debug, Default)]
pub(super) struct GapsTold {
    untold: usize,
    last: Option<Gap>,
    at: Option<Instant>,
}

impl GapsTold {
    /// Time between two lines of the log.
    const EVERY: Duration = Duration::from_secs(10);

    /// There are these, too. How many to tell of now, and the last of them, if it is time for that.
    fn notice(&mut self, gaps: &[Gap], now: Instant) -> Option<(usize, Gap)> {
        self.untold += gaps.len();
        self.last = gaps.last().cloned().or_else(|| self.last.take());
        let due = self
            .at
            .is_none_or(|at| now.duration_since(at) >= Self::EVERY);
        let last = self.last.take_if(|_| due)?;
        self.at = Some(now);
        Some((std::mem::take(&mut self.untold), last))
    }
}

impl Pipeline {
    /// A batch was made of these findings.
    pub(super) fn account_for(&mut self, findings: Findings, sequence: SequenceNumber) {
        let now = clock::now();
        for change in findings.changes {
            if let Some(complete) = self.account.tally.found(change, now) {
                self.count(&complete);
            }
        }
        self.tell_gaps(&findings.gaps, now);
        self.look_for_bursts(&findings.losses, sequence, now);
    }

    /// All hints of calls that returned before `asked` have been taken in.
    pub(super) fn close_changes(&mut self, asked: Instant) {
        for change in self.account.tally.close(asked) {
            self.count(&change);
        }
    }

    fn count(&mut self, change: &Change) {
        let origin = self.tools.intake.origin(change.origin);
        let witness = change.suspect.is_some() && self.tools.witness.report().is_listening();
        let miss = self.account.count(change, &origin, witness, wall_clock());
        if let Some(miss) = miss {
            let path =
                String::from_utf8_lossy(&miss.path.to_bytes().unwrap_or_default()).into_owned();
            tracing::warn!(
                path,
                cause = miss.suspicion(),
                "missed: changed, and nobody announced it"
            );
        }
    }

    /// What was doubtful is settled, and what was not told yet is told.
    pub(super) fn settle_gaps(&mut self, now: Instant) {
        match self.state.settle_doubts(now) {
            Ok(gaps) => self.tell_gaps(&gaps, now),
            Err(error) => self.failure = Some(format!("{error:#}")),
        }
    }

    /// Each is counted and kept; the log has a line now and then, for a storm of temporary files brings thousands.
    fn tell_gaps(&mut self, gaps: &[Gap], now: Instant) {
        for gap in gaps {
            self.account.gap(gap, wall_clock());
        }
        let Some((files, last)) = self.gaps_told.notice(gaps, now) else {
            return;
        };
        tracing::warn!(
            files,
            last = %last.path.display(),
            cause = last.cause.told(),
            "gone before they could be read, so not in the history; `everwrite coverage` names them"
        );
    }

    fn look_for_bursts(&mut self, losses: &[Loss], sequence: SequenceNumber, now: Instant) {
        let limits = self.config.brakes.limits();
        let clocks = (now, wall_clock());
        let losses: Vec<Loss> = losses.iter().map(|loss| self.of_one(loss)).collect();
        for suspected in self.account.bursts.take(&losses, sequence, clocks, limits) {
            if let Some(burst) = suspected.raised {
                let (removed, overwritten) = (suspected.removed, suspected.overwritten);
                self.account.kept.grow(burst, removed, overwritten);
                self.account.touch();
                continue;
            }
            // Unknown is taken for small: rather one warning too many.
            let left = self.state.index.files_below(suspected.root).unwrap_or(0);
            let before = left + suspected.removed;
            if suspected.is_burst(before, limits) {
                self.raise(&suspected, before);
            } else {
                self.account.bursts.declined(&suspected);
            }
        }
    }

    /// The loss, whoever told of the process that it is put down to.
    fn of_one(&mut self, loss: &Loss) -> Loss {
        let origin = self.tools.intake.origin(loss.origin);
        Loss {
            origin: self.account.processes.one(loss.origin, &origin),
            ..*loss
        }
    }

    fn raise(&mut self, suspected: &Suspected, files_before: u64) {
        let burst = self.burst(suspected, files_before);
        let back = match burst.point {
            Some(point) => format!("`everwrite restore PATH --at @{}`", point.0),
            None => "nothing was stored before it".to_owned(),
        };
        tracing::warn!(
            root = burst.root,
            program = burst.program,
            executable = burst.executable,
            pid = burst.pid,
            uid = burst.uid,
            removed = burst.removed,
            overwritten = burst.overwritten,
            files_before,
            back,
            "one process deletes or overwrites many files"
        );
        let number = self.account.kept.raise(burst);
        self.account.bursts.raised(suspected, number);
        self.account.save();
    }

    fn burst(&self, suspected: &Suspected, files_before: u64) -> Burst {
        let origin = self.tools.intake.origin(suspected.origin);
        let known = origin.pid != 0;
        Burst {
            id: 0,
            at: wall_clock(),
            root: self.root_name(suspected.root),
            receiver: self.receiver.name.clone(),
            program: if known { origin.program } else { String::new() },
            executable: origin.executable,
            pid: origin.pid,
            uid: origin.uid,
            removed: suspected.removed,
            overwritten: suspected.overwritten,
            files_before,
            point: suspected.point_before(),
            acknowledged: false,
        }
    }

    fn root_name(&self, file: FileId) -> String {
        let root = self.state.root(file);
        root.map_or_else(String::new, |root| root.name.to_string())
    }

    pub(super) fn account_report(&self) -> AccountReport {
        AccountReport {
            programs: self.account.programs.report(),
            misses: self.account.kept.misses(wall_clock()).cloned().collect(),
            gaps: self.account.kept.gaps(wall_clock()).cloned().collect(),
        }
    }

    pub(super) fn changes(&self) -> (Changes, Lately) {
        let lately = self.account.kept.periods.lately(wall_clock());
        (self.account.changes, lately)
    }

    pub(super) fn acknowledge(&mut self, until: Timestamp) -> u64 {
        let acknowledged = self.account.kept.acknowledge(until);
        self.account.save();
        acknowledged
    }
}

#[cfg(test)]
mod tests {
    use everwrite_protocol::control::GapCause;

    use super::*;

    #[test]
    fn the_log_tells_of_many_gaps_at_once() {
        let gap = |path: &str| Gap {
            path: path.into(),
            cause: GapCause::Died,
        };
        let (mut told, now) = (GapsTold::default(), Instant::now());
        assert_eq!(told.notice(&[], now), None);
        let (a, b, c) = (gap("a"), gap("b"), gap("c"));
        assert_eq!(told.notice(&[a, b.clone()], now), Some((2, b.clone())));
        assert_eq!(told.notice(std::slice::from_ref(&c), now), None);
        let later = now + GapsTold::EVERY;
        assert_eq!(
            told.notice(&[], later),
            Some((1, c)),
            "and none is left untold"
        );
        assert_eq!(told.notice(&[], later + GapsTold::EVERY), None);
        let next = later + GapsTold::EVERY;
        assert_eq!(told.notice(std::slice::from_ref(&b), next), Some((1, b)));
    }
}

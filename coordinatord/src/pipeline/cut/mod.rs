//! Cuts: which batches are states that the disk really had.
//!
//! Every batch is a recovery point. It is *crash-consistent* when a barrier that began after its last
//! read has passed through intake and witness and left nothing dirty: whatever changed before the
//! barrier has been read, and nothing that was read has changed since. Then what the receiver has is what
//! the disk had when the barrier began, across all files of all its roots.
//!
//! Where little goes on that needs no more than asking. Under load something would always be dirty: there
//! a round sends most of it, then programs with the shim are made to wait, their last changes are read, and
//! the barrier finds nothing. It is the barrier that proves, not the wait: whoever does not wait (no shim,
//! a mapping, a wait that was too long) is heard by the witness, and the point is fuzzy.
//!
//! ```text
//!        ┌──────── a batch, little goes on ───────────────┐
//!        │                                                ▼
//!      IDLE ── a batch, much goes on ──▶ HOLDING ──▶ PROVING ── nothing dirty ──▶ sent, crash-consistent
//!        ▲                             (quiet)        │  ▲ │
//!        │                                            └──┘ └── still dirty ─────▶ sent, fuzzy, with why
//!        └──────────────────────────────────────────  another round
//! ```

mod figures;
mod fsync;
mod pace;

use std::time::{Duration, Instant};

use everwrite_protocol::control::CutFigures;
use everwrite_protocol::ids::Timestamp;
use everwrite_protocol::local::Inode;
use everwrite_protocol::wire::{Cut, CutKind};

pub use pace::CutSettings;

use figures::Figures;
use fsync::FsyncPoints;
use pace::{Attempt, CutPace};

use super::{Pipeline, Request};
use crate::clock::{self, wall_clock};
use crate::intake::{Hint, Hold, Source};
use crate::reconcile::RootVerdict;
use crate::round::{Effort, Outcome};

/// How long calls under way may take to end before what they have done so far is looked at.
const QUIET_PATIENCE: Duration = Duration::from_millis(5);
/// A batch waits so long for its proof at most.
const PROOF_TIME: Duration = Duration::from_millis(20);
/// Attempts in vain after which a checkpoint is made of what there is.
const CHECKPOINT_RETRIES: u32 = 3;
/// Rounds of one attempt.
const ROUNDS_MAX: u32 = 4;
/// An attempt waits so long at most for programs to make durable what they have begun to write.
const FSYNC_PATIENCE: Duration = Duration::from_millis(10);

/// How an attempt stands.
#[derive(Default)]
enum Phase {
    #[default]
    Idle,
    /// Programs wait; what they did before is being told.
    Holding { hold: Hold, until: Instant },
    /// What was read is to be proved.
    Proving(Box<Proof>),
}

/// A state that may turn out to be one that the disk had.
struct Proof {
    /// What has not been sent of it.
    batch: Option<(Outcome, Instant)>,
    hold: Option<Hold>,
    until: Instant,
    /// When the barrier was asked for.
    at: Timestamp,
    rounds: u32,
}

/// What a recovery point is worth.
pub(super) struct Worth {
    pub(super) kind: CutKind,
    /// The moment that it shows; `None`: about now.
    pub(super) at: Option<Timestamp>,
}

impl Worth {
    fn fuzzy(why: String) -> Self {
        Self {
            kind: CutKind::FuzzyBecause(why),
            at: None,
        }
    }

    fn consistent(kind: CutKind, at: Timestamp) -> Self {
        Self { kind, at: Some(at) }
    }
}

/// The part of a pipeline that is about cuts.
pub(super) struct Cutting {
    pace: CutPace,
    hold_max: Duration,
    phase: Phase,
    /// Number of the barrier that is waited for; older ones mean nothing.
    asked: u64,
    /// Attempts in vain for the checkpoint that is waited for.
    in_vain: u32,
    fsync_points: FsyncPoints,
    figures: Figures,
}

impl Cutting {
    pub(super) fn new(settings: CutSettings, longest: Duration) -> Self {
        Self {
            pace: CutPace::new(settings, longest),
            hold_max: settings.hold_max,
            phase: Phase::Idle,
            asked: 0,
            in_vain: 0,
            fsync_points: FsyncPoints::default(),
            figures: Figures::default(),
        }
    }

    /// Hints have come.
    pub(super) fn take_hints(&mut self, hints: &[Hint]) {
        self.fsync_points.take(hints, clock::now());
    }

    /// When the next attempt may be made: best where programs have made durable what they wrote.
    fn due(&self, now: Instant) -> Instant {
        let due = self.pace.due(now);
        let patient = due + FSYNC_PATIENCE;
        if now < patient && self.fsync_points.is_between(now) {
            return patient;
        }
        due
    }

    /// Is there something to be proved, or to be named, though nothing is to be sent?
    fn wants_point(&self, now: Instant) -> bool {
        self.pace.is_unproven() || self.fsync_points.is_one(now)
    }

    /// What a point is called that was proved.
    fn name_point(&mut self) -> CutKind {
        let is_one = self.fsync_points.is_one(clock::now());
        self.fsync_points.made();
        match is_one {
            true => CutKind::FsyncPoint,
            false => CutKind::CrashConsistent,
        }
    }

    /// Is an attempt under way? Then no other batch may be made.
    pub(super) fn is_under_way(&self) -> bool {
        !matches!(self.phase, Phase::Idle)
    }

    /// When to give up.
    pub(super) fn deadline(&self) -> Option<Instant> {
        match &self.phase {
            Phase::Idle => None,
            Phase::Holding { until, .. } => Some(*until),
            Phase::Proving(proof) => Some(proof.until),
        }
    }

    /// A batch is on its way.
    pub(super) fn sent(&mut self, cut: &Cut) {
        self.pace.sent(clock::now(), cut.kind.is_consistent());
        self.figures.sent(&cut.kind);
    }

    /// For people.
    pub(super) fn report(&self) -> CutFigures {
        self.figures.report()
    }

    /// The index is taken back to what the receiver has: what was not sent is gone.
    pub(super) fn forget(&mut self) {
        self.phase = Phase::Idle;
    }
}

impl Pipeline {
    /// When an attempt is due for what was sent already.
    pub(super) fn closing_cut_due(&self, now: Instant) -> Option<Instant> {
        let wanted = self.cutting.wants_point(now) && self.may_prove().is_ok();
        wanted.then(|| self.cutting.due(now))
    }

    /// Is an attempt to be made with the next batch, or for a checkpoint at once?
    pub(super) fn is_cut_due(&self, now: Instant) -> bool {
        let due = self.awaits_checkpoint() || self.cutting.due(now) <= now;
        due && self.may_prove().is_ok()
    }

    /// Has there been no consistent point for too long? Then nothing is put off.
    pub(super) fn is_cut_late(&mut self) -> bool {
        if !self.cutting.pace.is_unproven() || self.may_prove().is_err() {
            return false;
        }
        let put_off_bytes = self.state.put_off_bytes();
        self.cutting.pace.hurries(clock::now(), put_off_bytes)
    }

    /// Whether anything could be proved now; if not, why not.
    fn may_prove(&self) -> Result<(), String> {
        let witness = self.tools.witness.report();
        if !witness.hears_all {
            return Err("not all programs are heard here, see `everwrite doctor`".to_owned());
        }
        if self.is_copying() {
            return Err("a scan is going on".to_owned());
        }
        let unbound = |root: &&crate::round::ProtectedRoot| {
            root.file.is_none() || root.verdict != RootVerdict::Go
        };
        if let Some(root) = self.state.roots.iter().find(unbound) {
            return Err(format!("root {} is not at work", root.name));
        }
        let silent = |device| witness.silent_stores.contains(&device);
        match self.state.mapped.keys().find(|file| silent(file.device)) {
            Some(file) => Err(format!("{} is mapped", self.describe(*file))),
            None => Ok(()),
        }
    }

    /// A path of the file, as far as one is known.
    fn describe(&self, file: Inode) -> String {
        let row = self.state.index.by_inode(file.device, file.inode, 0);
        let name = row.ok().flatten().and_then(|row| {
            let names = self.state.index.names_of(row.id).ok()?;
            Some(names.first()?.1.to_string())
        });
        name.unwrap_or_else(|| "a file".to_owned())
    }

    /// The next batch, and an attempt to prove it.
    pub(super) fn begin_cut(&mut self, now: Instant) -> u64 {
        let wants_hold = self.cutting.pace.is_busy(now) && self.tools.intake.has_programs();
        if !wants_hold || self.cutting.hold_max.is_zero() {
            self.round_to_prove(Effort::Usual, None, now + PROOF_TIME);
            return 0;
        }
        // Most of it, before anybody has to wait.
        let sent = self.make_batch(now, false);
        if self.state.has_put_off() && !self.awaits_checkpoint() {
            self.tried(None, false);
            return sent;
        }
        let hold = self.tools.intake.hold(self.cutting.hold_max);
        let until = clock::now() + self.cutting.hold_max;
        self.cutting.phase = Phase::Holding { hold, until };
        self.ask();
        sent
    }

    /// Asks to be told when all that has happened so far is known.
    fn ask(&mut self) {
        self.cutting.asked += 1;
        let request = Request::Quiet(self.cutting.asked);
        self.behind_hints.when_quiet(QUIET_PATIENCE, request);
    }

    /// Reads what is dirty, and asks whether that was all.
    fn round_to_prove(&mut self, effort: Effort, hold: Option<Hold>, until: Instant) {
        let batch = self.round(effort).filter(|outcome| outcome.batch.is_some());
        let batch = batch.map(|outcome| (outcome, clock::now()));
        let wanted = self.cutting.wants_point(clock::now()) || self.wants_checkpoint();
        if batch.is_none() && !wanted {
            return;
        }
        self.prove(Proof {
            batch,
            hold,
            until,
            at: wall_clock(),
            rounds: 1,
        });
    }

    fn prove(&mut self, proof: Proof) {
        self.cutting.phase = Phase::Proving(Box::new(Proof {
            at: wall_clock(),
            ..proof
        }));
        self.ask();
    }

    /// All that had happened when `number` was asked for is known.
    pub(super) fn is_quiet(&mut self, number: u64) {
        if number != self.cutting.asked {
            return;
        }
        match std::mem::take(&mut self.cutting.phase) {
            Phase::Idle => {}
            Phase::Holding { hold, until } => {
                self.round_to_prove(Effort::Quick, Some(hold), until);
            }
            Phase::Proving(proof) => self.judge(*proof),
        }
    }

    fn judge(&mut self, proof: Proof) {
        let doubt = self.doubt();
        let held = proof.hold.as_ref().map(Hold::lasted);
        tracing::trace!(doubt, rounds = proof.rounds, ?held, "a cut is judged");
        match doubt {
            None => self.end_cut(proof, None),
            Some(why) if self.is_in_vain(&proof) => self.end_cut(proof, Some(why)),
            Some(why) => self.read_more(proof, why),
        }
    }

    /// Would another round help?
    fn is_in_vain(&self, proof: &Proof) -> bool {
        proof.rounds >= ROUNDS_MAX
            || proof.until <= clock::now()
            || self.state.has_put_off()
            || !self.may_work()
    }

    /// Something became dirty. If it leads to nothing new, the batch may still be proved; else the next one.
    fn read_more(&mut self, mut proof: Proof, why: String) {
        if let Some(outcome) = self
            .round(Effort::Quick)
            .filter(|outcome| outcome.batch.is_some())
        {
            let newer = Some((outcome, clock::now()));
            if let Some((outcome, made)) = std::mem::replace(&mut proof.batch, newer) {
                self.send_cut(outcome, made, Worth::fuzzy(why), false);
            }
        }
        proof.rounds += 1;
        self.prove(proof);
    }

    /// It takes too long: what there is is sent as what it is.
    pub(super) fn give_up_cut(&mut self, now: Instant) {
        if self.cutting.deadline().is_none_or(|until| until > now) {
            return;
        }
        match std::mem::take(&mut self.cutting.phase) {
            Phase::Idle => {}
            Phase::Holding { hold, .. } => self.tried(Some(hold), false),
            Phase::Proving(proof) => {
                let why = self.doubt();
                let why = why.unwrap_or_else(|| "it was not proved in time".to_owned());
                self.end_cut(*proof, Some(why));
            }
        }
    }

    fn end_cut(&mut self, proof: Proof, why: Option<String>) {
        let proven = why.is_none();
        let worth = match why {
            None => Worth::consistent(self.cutting.name_point(), proof.at),
            Some(why) => Worth::fuzzy(why),
        };
        self.tried(proof.hold, proven);
        let last = !self.tries_again_for_checkpoint(proven);
        match proof.batch {
            Some((outcome, made)) => drop(self.send_cut(outcome, made, worth, last)),
            None if !last => {}
            None if proven || self.wants_checkpoint() => drop(self.send_empty(worth)),
            None => {}
        }
    }

    /// A checkpoint that is asked for is worth some more attempts.
    fn tries_again_for_checkpoint(&mut self, proven: bool) -> bool {
        let again =
            !proven && self.awaits_checkpoint() && self.cutting.in_vain < CHECKPOINT_RETRIES;
        self.cutting.in_vain = if again { self.cutting.in_vain + 1 } else { 0 };
        again
    }

    /// Programs go on.
    fn tried(&mut self, hold: Option<Hold>, proven: bool) {
        let held = hold.as_ref().map(Hold::lasted);
        drop(hold);
        let held = held.map(|held| held.min(self.cutting.hold_max));
        if let Some(held) = held {
            self.cutting.figures.held(held);
        }
        self.cutting
            .pace
            .tried(clock::now(), Attempt { held, proven });
    }

    /// What a batch is worth that nobody tries to prove.
    pub(super) fn unproven(&self) -> Worth {
        let why = self.may_prove().err();
        Worth::fuzzy(why.unwrap_or_else(|| "between two cuts".to_owned()))
    }

    /// Why what was read may not be a state that the disk had.
    fn doubt(&self) -> Option<String> {
        if let Err(why) = self.may_prove() {
            return Some(why);
        }
        if !self.switch_on {
            return Some("the switch was turned off".to_owned());
        }
        let dirty = self.state.oldest_told()?;
        let origin = self.tools.intake.origin(dirty.origin);
        let how = match dirty.sources.has(Source::Shim) {
            true => "was not done",
            false => "without the shim",
        };
        Some(match origin.pid {
            0 => "files were changing".to_owned(),
            pid => format!("{} ({pid}), {how}, was writing", origin.program),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::intake::{OriginId, What};

    const SETTINGS: CutSettings = CutSettings {
        shortest: Duration::from_millis(50),
        hold_max: Duration::from_millis(20),
    };

    fn hint(what: What) -> Hint {
        Hint {
            origin: OriginId(1),
            source: Source::Shim,
            at: Instant::now(),
            what,
        }
    }

    /// As after a crash: it never asks for durability of what it wrote last.
    #[test]
    fn a_program_that_is_never_done_is_not_waited_for() {
        let file = Inode {
            device: 1,
            inode: 1,
        };
        let write = || hint(What::Append { file, birth: 0 });
        let mut cutting = Cutting::new(SETTINGS, Duration::from_secs(1));
        cutting.take_hints(&[write(), hint(What::Sync { file }), write()]);
        let now = Instant::now();
        cutting.pace.sent(now, false);
        let soon = now + FSYNC_PATIENCE;
        assert!(cutting.due(now) > now && cutting.due(soon) <= soon);
        let late = now + Duration::from_secs(2);
        assert!(cutting.pace.hurries(late, 0));
        assert!(cutting.due(late) <= late);
    }
}

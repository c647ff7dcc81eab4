//! A pipeline: everything between hints and one receiver. One loop, one thread, one owner of the
//! state.
//!
//! ```text
//!  front --Event--> [ apply ] --> queue --due?--> [ Round ] --> Uplink --UplinkEvent--> front … [ apply ]
//! ```
//!
//! The loop waits for an event or for the moment when the next batch is due, applies the event, and
//! makes a batch when the schedule says so. What has to wait for the world (questions to the
//! receiver, barriers through the intake) happens outside and comes back as an event, save the delta
//! ladder, which a round waits for.

mod account;
mod apply;
mod barrier;
mod connection;
mod cut;
mod durable;
mod report;
mod state_word;
mod tick;
mod written_back;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use everwrite_protocol::control::{ApiError, PathText, ReconcileAnswer};
use everwrite_protocol::ids::{SequenceNumber, Timestamp};
use everwrite_protocol::local::Inode;
use everwrite_protocol::wire::{Cut, CutKind};
use tokio::sync::{mpsc, oneshot};

pub use account::AccountReport;
pub use cut::CutSettings;
pub use report::PipelineReport;
pub use state_word::{RootSituation, state_word};

use crate::account::Account;
use crate::clock::{self, wall_clock};
use crate::config;
use crate::front::WhenQuiet;
use crate::intake::Hint;
use crate::network_backup::{Uplink, UplinkEvent};
use crate::queue::Ticket;
use crate::round::{Effort, FilePace, Findings, Outcome, Round, State, Tools};
use crate::schedule::{PaceLimits, ScheduleManager, ScheduleProcessor, Window};

use account::GapsTold;
use barrier::Waiting;
use connection::Connection;
use cut::{Cutting, Worth};
use durable::LateSyncs;
use written_back::WrittenBack;

/// Everything that can happen to a pipeline.
pub enum Event {
    /// Somewhere to look.
    Hints(Arc<Vec<Hint>>),
    /// From the line to the receiver.
    Uplink(UplinkEvent),
    /// All hints of calls that returned before [`Request::Barrier`] was asked for have been applied.
    Request(Request),
}

/// What the front asks of a pipeline.
pub enum Request {
    /// Protect this root from now on.
    Protect(config::Root),
    /// Stop protecting it.
    Unprotect(String),
    /// The settings changed (exclude rules).
    Configured(Arc<config::Config>),
    /// The switch.
    Switch(bool),
    /// Everything that is dirty now is to be stored. Comes after the hints it is to cover.
    Barrier {
        /// Also in the mirror.
        applied: bool,
        /// Make a named recovery point of it.
        checkpoint: Option<String>,
        /// How it ended.
        reply: oneshot::Sender<Passed>,
    },
    /// Somebody waits until these files are stored, and all that was told before. Comes after the hints it is
    /// to cover.
    Durable {
        /// Empty: not known.
        files: Arc<Vec<Inode>>,
        /// They are.
        reply: oneshot::Sender<()>,
    },
    /// All hints of calls that returned before now have been applied: what was sent until now can
    /// be trusted once the queue has caught up.
    Settle {
        /// When that was asked for.
        asked: Instant,
    },
    /// Compare disk and index now.
    Reconcile {
        /// One root, or all.
        root: Option<String>,
        /// The root may be empty.
        accept_empty: bool,
        /// What was found.
        reply: oneshot::Sender<Result<ReconcileAnswer, ApiError>>,
    },
    /// All that had happened when this was asked for is known, and calls that were under way then have
    /// ended where that did not take long.
    Quiet(u64),
    /// How things stand.
    Report(oneshot::Sender<PipelineReport>),
    /// Who told of what, and what nobody told of.
    Account(oneshot::Sender<AccountReport>),
    /// Somebody has seen the bursts that were noticed until then.
    Acknowledge {
        /// When.
        until: Timestamp,
        /// How many that makes.
        reply: oneshot::Sender<u64>,
    },
    /// Is this path in the index?
    Indexed {
        /// Absolute path below a root.
        path: PathText,
        /// `Some` when the index has it.
        reply: oneshot::Sender<bool>,
    },
    /// Finish.
    Stop(oneshot::Sender<()>),
}

/// The last batch that a barrier waited for; or why not everything is stored, for people.
pub type Passed = Result<SequenceNumber, String>;

/// A batch that is not stored yet.
struct UnderWay {
    sequence: SequenceNumber,
    bytes: u64,
    /// Oldest change in it.
    since: Instant,
}

/// A scan that has listed everything.
#[derive(Clone, Copy)]
struct ScanListed {
    /// What it queued lies before this.
    ticket: Ticket,
    /// The batch that holds the last of it.
    batch: Option<SequenceNumber>,
}

/// A batch, as a recovery point.
struct Point {
    sequence: SequenceNumber,
    kind: CutKind,
    time: Timestamp,
}

/// One receiver's pipeline. See the module.
pub struct Pipeline {
    receiver: config::Receiver,
    paths: config::Paths,
    config: Arc<config::Config>,
    state: State,
    tools: Tools,
    uplink: Uplink,
    connection: Connection,
    manager: ScheduleManager,
    processor: ScheduleProcessor,
    under_way: VecDeque<UnderWay>,
    waiting: Vec<Waiting>,
    /// Who waits for a scan, and how many misses there were before.
    reconciles: Vec<(u64, oneshot::Sender<Result<ReconcileAnswer, ApiError>>)>,
    switch_on: bool,
    stored_point: Option<Point>,
    /// Number and time of the last one that is crash-consistent.
    consistent_point: Option<(SequenceNumber, Timestamp)>,
    /// Batches under way.
    cuts: VecDeque<Point>,
    /// A scan has listed everything; it ends when the hints of its time have been applied.
    scan_listed: Option<ScanListed>,
    /// The last cut is partial, and the scan that made it so has ended.
    wants_closing_cut: bool,
    cutting: Cutting,
    behind_hints: Box<dyn WhenQuiet>,
    late_syncs: LateSyncs,
    last_scan_end: Option<(Instant, Timestamp)>,
    last_scan_cost: Duration,
    written_back: WrittenBack,
    account: Account,
    gaps_told: GapsTold,
    batches_stored: u64,
    failure: Option<String>,
    retry_at: Option<Instant>,
    next_tick: Instant,
    stopped: Option<oneshot::Sender<()>>,
}

/// Batches of at least this size are paced by the window alone.
const BULK_BYTES: u64 = 1 << 20;
/// How often roots, mappings and the need for a scan are checked.
const TICK: Duration = Duration::from_secs(1);

impl Pipeline {
    /// Runs until told to stop, or until the front is gone.
    pub fn run(mut self, mut events: mpsc::Receiver<Event>) {
        while self.turn(&mut events, None) {}
    }

    /// Waits for an event, for the moment when something is due, or until `latest`; does what is to be done
    /// then. False: told to stop, or the front is gone.
    pub fn turn(&mut self, events: &mut mpsc::Receiver<Event>, latest: Option<Instant>) -> bool {
        let due = self.next_deadline(clock::now());
        let deadline = latest.map_or(due, |latest| due.min(latest));
        let event = self.tools.waits.wait_for(async {
            let wait = tokio::time::timeout_at(deadline.into(), events.recv());
            wait.await
        });
        match event {
            Ok(Some(event)) => self.apply(event),
            Ok(None) => return false,
            Err(_elapsed) => {}
        }
        // Whatever else has come in meanwhile belongs to the same batch.
        while let Ok(event) = events.try_recv() {
            self.apply(event);
        }
        if let Some(stopped) = self.stopped.take() {
            self.account.save();
            let _ = stopped.send(());
            return false;
        }
        self.tick(clock::now());
        self.work(clock::now());
        self.settle_barriers();
        true
    }

    /// When to wake even if nothing happens.
    fn next_deadline(&self, now: Instant) -> Instant {
        let due = self
            .batch_due(now)
            .map(|due| due.max(self.retry_at.unwrap_or(due)));
        let delayed = self.state.next_wake();
        let cut = match self.cutting.deadline() {
            Some(until) => Some(until),
            None => self.closing_cut_due(now).filter(|_| self.may_close()),
        };
        let due = due.filter(|_| !self.cutting.is_under_way());
        // What has rested long enough is work as any other, and may have to wait for room.
        let delayed = delayed.filter(|wake| *wake > now);
        [
            Some(self.next_tick),
            due,
            cut,
            delayed.filter(|_| self.may_work() && !self.cutting.is_under_way()),
        ]
        .into_iter()
        .flatten()
        .min()
        .unwrap_or(now + TICK)
    }

    fn may_work(&self) -> bool {
        self.switch_on && self.connection.is_ready()
    }

    /// May a cut be tried without a batch that is due? It may lead to one nevertheless.
    fn may_close(&self) -> bool {
        self.may_work() && self.window().has_room()
    }

    fn batch_due(&self, now: Instant) -> Option<Instant> {
        let waiting =
            self.state.has_work(now) || self.wants_checkpoint() || self.wants_partial_closed();
        let due = self
            .processor
            .due(now, waiting && self.may_work(), self.window());
        // Programs wait for it.
        due.map(|due| if self.awaits_durable() { now } else { due })
    }

    fn window(&self) -> Window {
        Window {
            open: self.connection.is_ready(),
            under_way_bytes: self.under_way.iter().map(|batch| batch.bytes).sum(),
            under_way_batches: self.under_way.len(),
            limit_bytes: self.connection.window_bytes,
        }
    }

    /// Makes the next batch if it is due, and tries to prove it if that is.
    fn work(&mut self, now: Instant) {
        self.give_up_cut(now);
        if self.cutting.is_under_way() || self.retry_at.is_some_and(|at| at > now) {
            return;
        }
        let due = self.batch_due(now).is_some_and(|due| due <= now);
        let closing = self.may_close() && self.closing_cut_due(now).is_some_and(|due| due <= now);
        if !due && !closing {
            return;
        }
        let bulk = self.state.is_listing();
        let sent = if self.is_cut_due(now) {
            self.begin_cut(now)
        } else {
            self.make_batch(now, true)
        };
        if !bulk && sent < BULK_BYTES {
            self.processor.finished(now, clock::since(now));
        }
    }

    /// Makes and sends the next batch; gives its size in bytes. The `last` one may get a name.
    fn make_batch(&mut self, now: Instant, last: bool) -> u64 {
        match self.round(Effort::Usual) {
            Some(outcome) if outcome.batch.is_some() => {
                self.send_cut(outcome, now, self.unproven(), last)
            }
            Some(_) if last && self.wants_checkpoint() || self.wants_partial_closed() => {
                self.send_empty(self.unproven())
            }
            _ => 0,
        }
    }

    /// Looks at what is due. `None`: nothing came of it, and it is tried again later.
    fn round(&mut self, effort: Effort) -> Option<Outcome> {
        self.retry_at = None;
        self.state.hurry |= self.is_cut_late();
        match Round::run(&mut self.state, &self.tools, effort) {
            Ok(mut outcome) => {
                self.failure = None;
                // Now, before any hint that comes while the batch is proved.
                if outcome.batch.is_some() {
                    let findings = std::mem::take(&mut outcome.findings);
                    self.account_for(findings, outcome.sequence);
                }
                Some(outcome)
            }
            Err(error) => {
                let text = format!("{error:#}");
                tracing::error!(receiver = %self.receiver.name, error = %text, "a batch could not be made");
                self.failure = Some(text);
                self.retry_at = Some(clock::now() + TICK);
                None
            }
        }
    }

    /// The last cut was partial, and nothing has to follow it but its end.
    fn wants_partial_closed(&self) -> bool {
        self.state.scan.is_none() && self.wants_closing_cut
    }

    /// A batch without changes.
    fn send_empty(&mut self, worth: Worth) -> u64 {
        let now = clock::now();
        let Some(builder) = self.empty_batch() else {
            return 0;
        };
        let sequence = builder.sequence();
        let outcome = Outcome {
            batch: Some(builder),
            sequence,
            oldest: None,
            findings: Findings::default(),
        };
        self.send_cut(outcome, now, worth, true)
    }

    /// Sends what came of a round that began `now`; gives its size in bytes. The `last` batch may get a name.
    fn send_cut(&mut self, outcome: Outcome, now: Instant, worth: Worth, last: bool) -> u64 {
        let Some(builder) = outcome.batch else {
            return 0;
        };
        let checkpoint = if last { self.checkpoint_due() } else { None };
        self.wants_closing_cut &= self.state.scan.is_some();
        let kind = self.kind_of(worth.kind);
        let time = worth.at.unwrap_or_else(wall_clock);
        let announced = outcome
            .oldest
            .filter(|mark| mark.ticket != Ticket::BACKGROUND);
        let since = announced.map_or(now, |mark| mark.since);
        let age = i64::try_from(clock::since(since).as_nanos()).unwrap_or(i64::MAX);
        let oldest_change = Timestamp(wall_clock().0.saturating_sub(age));
        let batch = builder.finish(|sequence, parts| Cut {
            sequence,
            parts,
            time,
            kind: kind.clone(),
            checkpoint,
            oldest_change,
        });
        let sequence = batch.cut.sequence;
        self.cutting.sent(&batch.cut);
        let bytes = batch.bytes();
        self.under_way.push_back(UnderWay {
            sequence,
            bytes,
            since,
        });
        self.cuts.push_back(Point {
            sequence,
            kind,
            time,
        });
        self.uplink.send(batch);
        bytes
    }

    /// While a tree is copied or compared after a gap, a point is a part of the way.
    fn kind_of(&mut self, kind: CutKind) -> CutKind {
        let copying = self.is_copying();
        self.wants_closing_cut |= copying;
        if copying { CutKind::Partial } else { kind }
    }

    /// Is everything copied, or compared after a gap?
    fn is_copying(&self) -> bool {
        let scan = self.state.scan.as_ref();
        scan.is_some_and(|scan| !scan.counts_misses())
    }
}

/// Everything a pipeline is made of.
pub struct PipelineParts {
    /// Whom to send to.
    pub receiver: config::Receiver,
    /// Where the source keeps its files.
    pub paths: config::Paths,
    /// All settings.
    pub config: Arc<config::Config>,
    /// The index and what is dirty.
    pub state: State,
    /// Intake, questions, runtime.
    pub tools: Tools,
    /// The line.
    pub uplink: Uplink,
    /// Asks for what comes behind hints.
    pub behind_hints: Box<dyn WhenQuiet>,
    /// The switch.
    pub switch_on: bool,
}

impl Pipeline {
    /// A pipeline that has not connected yet.
    pub fn new(parts: PipelineParts) -> Self {
        let schedule = parts.config.schedule;
        let limits = PaceLimits {
            shortest: Duration::from_millis(schedule.interval_ms_min),
            longest: Duration::from_millis(schedule.interval_ms_max),
        };
        let mut state = parts.state;
        state.pace = FilePace::new(limits.longest);
        let promised = parts.config.roots.iter().map(|root| root.rpo_ms).min();
        let promised = Duration::from_millis(promised.unwrap_or(config::RPO_MS_DEFAULT));
        let cutting = Cutting::new(parts.config.cuts.settings(), promised);
        let file = parts.paths.account(&parts.receiver.name);
        let account = Account::open(file, clock::now());
        Self {
            receiver: parts.receiver,
            paths: parts.paths,
            config: parts.config,
            state,
            tools: parts.tools,
            uplink: parts.uplink,
            connection: Connection::default(),
            manager: ScheduleManager::new(limits),
            processor: ScheduleProcessor::new(limits),
            under_way: VecDeque::new(),
            waiting: Vec::new(),
            reconciles: Vec::new(),
            switch_on: parts.switch_on,
            stored_point: None,
            consistent_point: None,
            cuts: VecDeque::new(),
            scan_listed: None,
            wants_closing_cut: false,
            cutting,
            behind_hints: parts.behind_hints,
            late_syncs: LateSyncs::default(),
            last_scan_end: None,
            last_scan_cost: Duration::ZERO,
            written_back: WrittenBack::default(),
            account,
            gaps_told: GapsTold::default(),
            batches_stored: 0,
            failure: None,
            retry_at: None,
            next_tick: clock::now(),
            stopped: None,
        }
    }
}

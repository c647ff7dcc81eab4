//! The reader: one thread that makes its rounds through all segments and sends what they say.
//!
//! It never blocks without bound and never drops: what can't be sent waits in a [`Merge`], which
//! grows wider under pressure.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::mpsc::{Sender, UnboundedSender};
use tokio::sync::oneshot;

use super::bell::Bell;
use super::durable::DurableAsk;
use super::ends::Ends;
use super::hint::{Hint, OriginId, Source, What};
use super::lane::{Lane, LaneReport};
use super::mappings::Mappings;
use super::merge::Merge;
use super::pace::{Pace, Wait};
use super::policy::Policy;
use super::process::ProcessKey;
use super::segment::Visit;
use super::unheard::{Meanwhile, Unheard};

/// Quiet lanes visited in one round while others are active: with thousands of processes a round
/// stays short, and a quiet one is found again after some rounds.
const QUIET_VISITS: usize = 128;
/// Time between two tries to send into a full channel.
const FULL_INTERVAL: Duration = Duration::from_millis(1);
/// Time between two looks whether calls under way have ended: most take some microseconds.
const QUIESCE_INTERVAL: Duration = Duration::from_micros(50);

/// What other threads tell the reader.
pub(super) enum News {
    /// A process was let in.
    Lane(Box<Lane>),
    /// The process of this lane has gone before it had the segment.
    Withdrawn(u64),
    /// A process came in vain; `None` when it has ended already.
    Unheard(Option<ProcessKey>, Meanwhile),
    /// Running programs may not know yet that somebody listens.
    Latecomers,
    /// Somebody asks who is here.
    Census(oneshot::Sender<Vec<LaneReport>>),
    /// Somebody waits until everything said so far is sent.
    Barrier(oneshot::Sender<()>),
    /// The same, but first calls under way may end, until then.
    Quiesce(Instant, oneshot::Sender<()>),
    /// The end.
    Stop,
}

/// Figures since start.
#[derive(Debug, Default)]
pub(super) struct Figures {
    /// Hints taken from segments.
    pub(super) hints: AtomicU64,
    /// Times that something was lost, and everything had to be looked at.
    pub(super) lost: AtomicU64,
    /// Calls for durability that did not wait until the receiver had stored what they cover.
    pub(super) late_syncs: AtomicU64,
}

/// The thread's state.
pub(super) struct Reader {
    news: mpsc::Receiver<News>,
    bell: Arc<Bell>,
    ends: Arc<Ends>,
    figures: Arc<Figures>,
    policy: Arc<Policy>,
    hints: Sender<Vec<Hint>>,
    durable_asks: UnboundedSender<DurableAsk>,
    /// Those whose hints have not been sent yet.
    asks: Vec<DurableAsk>,
    lanes: Vec<Lane>,
    /// Where among the lanes the quiet ones are visited next.
    turn: usize,
    unheard: Unheard,
    mappings: Mappings,
    merge: Merge,
    barriers: Vec<oneshot::Sender<()>>,
    /// Barriers that wait for calls under way, and until when.
    quiescing: Vec<(Instant, oneshot::Sender<()>)>,
    /// Somebody waits for the answer: nothing is put off.
    hurry: bool,
    stopped: bool,
}

impl Reader {
    pub(super) fn new(
        news: mpsc::Receiver<News>,
        bell: Arc<Bell>,
        ends: Arc<Ends>,
        figures: Arc<Figures>,
        policy: Arc<Policy>,
        hints: Sender<Vec<Hint>>,
        durable_asks: UnboundedSender<DurableAsk>,
    ) -> Self {
        Self {
            news,
            bell,
            ends,
            figures,
            policy,
            hints,
            durable_asks,
            asks: Vec::new(),
            lanes: Vec::new(),
            turn: 0,
            unheard: Unheard::new(Instant::now()),
            mappings: Mappings::default(),
            merge: Merge::new(Source::Shim),
            barriers: Vec::new(),
            quiescing: Vec::new(),
            hurry: false,
            stopped: false,
        }
    }

    /// Makes rounds until told to stop, or until nobody wants hints any more.
    pub(super) fn run(mut self) {
        self.bell.adopt();
        let mut pace = Pace::new(Instant::now());
        let (mut armed, mut rung) = (false, false);
        while !self.stopped {
            let now = Instant::now();
            // Just armed, or rung by who knows whom: every lane counts.
            let found = self.round(now, armed || rung);
            self.send(now);
            match self.wait(&mut pace, now, found, rung) {
                Wait::Sleep(longest) if armed => {
                    rung = self.bell.sleep(longest);
                    armed = !rung;
                }
                Wait::Sleep(_) => {
                    self.bell.arm();
                    (armed, rung) = (true, false);
                }
                Wait::Doze(longest) => {
                    rung = self.bell.doze(longest);
                    armed = false;
                }
                Wait::Pause(pause) => {
                    self.bell.disarm();
                    (armed, rung) = (false, false);
                    self.bell.pause(pause);
                }
            }
        }
    }

    /// What could not be sent is tried again soon, whatever the pace says.
    fn wait(&self, pace: &mut Pace, now: Instant, found: bool, rung: bool) -> Wait {
        let anyone = !self.lanes.is_empty() || self.unheard.is_waiting() || !self.merge.is_empty();
        let wait = pace.next(now, found, rung, anyone);
        if !self.quiescing.is_empty() {
            Wait::Pause(QUIESCE_INTERVAL)
        } else if self.merge.is_due(now) {
            Wait::Pause(FULL_INTERVAL)
        } else {
            wait
        }
    }

    /// One round: news, lanes, ends. True when anything was found.
    fn round(&mut self, now: Instant, all: bool) -> bool {
        let waiting = self.barriers.len();
        let news = self.hear_news(now);
        self.hurry = self.barriers.len() > waiting;
        let mut taken = self.end_quiescing(now);
        let barrier = self.barriers.len() > waiting;
        let visit = if barrier { Visit::Barrier } else { Visit::Poll };
        let syncs = self.notice_syncs();
        taken += self.visit_lanes(now, visit, all || barrier || syncs);
        if syncs {
            let longest = self.policy.durable_longest();
            let lanes = self.lanes.iter_mut();
            self.asks
                .extend(lanes.filter_map(|lane| lane.take_sync(longest)));
        }
        let ended = self.bury_all(now);
        self.look_after_unheard(now);
        self.figures.hints.fetch_add(taken, Relaxed);
        self.figures.lost.store(self.merge.losses(), Relaxed);
        news || taken > 0 || ended
    }

    /// Is anybody waiting for the receiver? Whatever any program did before that is read after this.
    fn notice_syncs(&mut self) -> bool {
        if !self.policy.is_durable() {
            return false;
        }
        let late: u32 = self.lanes.iter().map(Lane::take_late_syncs).sum();
        self.figures.late_syncs.fetch_add(late.into(), Relaxed);
        let waiting = self.lanes.iter_mut().map(Lane::notice_sync);
        waiting.fold(false, |any, one| any | one)
    }

    /// Who waits for calls under way waits no longer when there are none, or its patience is at its end.
    /// Gives the hints taken.
    fn end_quiescing(&mut self, now: Instant) -> u64 {
        if self.quiescing.is_empty() {
            return 0;
        }
        let taken = self.visit_lanes(now, Visit::Poll, true);
        let quiet = !self.lanes.iter().any(Lane::is_writing);
        let ready = self
            .quiescing
            .extract_if(.., |(until, _)| quiet || *until <= now);
        self.barriers.extend(ready.map(|(_, done)| done));
        taken
    }

    fn hear_news(&mut self, now: Instant) -> bool {
        let mut any = false;
        while let Ok(news) = self.news.try_recv() {
            any = true;
            match news {
                News::Lane(lane) => self.let_in(*lane, now),
                News::Withdrawn(token) => self.lanes.retain(|lane| lane.token != token),
                News::Unheard(program, meanwhile) => self.unheard.add(program, meanwhile, now),
                News::Latecomers => self.unheard.expect_latecomers(now),
                News::Census(answer) => self.count(answer),
                News::Barrier(done) => self.barriers.push(done),
                News::Quiesce(until, done) => self.quiescing.push((until, done)),
                News::Stop => self.stopped = true,
            }
        }
        any
    }

    /// Tells who is here. What a process was before it became another program is not.
    fn count(&self, answer: oneshot::Sender<Vec<LaneReport>>) {
        let here = self.lanes.iter().filter(|lane| !lane.superseded);
        // Whoever asked may have gone.
        let _ = answer.send(here.map(Lane::report).collect());
    }

    /// A process that comes again may be a new image of an old process: what the old one left open
    /// is told now.
    fn let_in(&mut self, lane: Lane, now: Instant) {
        if self.unheard.is_heard(lane.process) {
            self.merge.add(lane.origin, now, What::Everything);
        }
        let merge = &mut self.merge;
        let same = |old: &&mut Lane| old.process == lane.process;
        for old in self.lanes.iter_mut().filter(same) {
            old.superseded = true;
            old.reader
                .tell_open(&mut |what| merge.add(old.origin, now, what));
        }
        self.lanes.push(lane);
    }

    /// Visits all lanes, or the active ones and some of the quiet ones; gives the hints taken.
    fn visit_lanes(&mut self, now: Instant, visit: Visit, all: bool) -> u64 {
        let count = self.lanes.len();
        let turn = self.turn % count.max(1);
        let mut taken = 0;
        for (index, lane) in self.lanes.iter_mut().enumerate() {
            let distance = (index + count - turn) % count;
            if !(all || distance < QUIET_VISITS || lane.is_active(now)) {
                continue;
            }
            taken += lane.visit(visit, now, &mut self.mappings, &mut self.merge);
            if lane.goes_blind() {
                let program = Some(lane.process);
                self.unheard.add(program, Meanwhile::Lost, now);
            }
        }
        self.turn = turn + QUIET_VISITS;
        taken
    }

    /// Visits the lanes of all processes that have ended a last time. True when there were any.
    fn bury_all(&mut self, now: Instant) -> bool {
        let mut any = false;
        loop {
            let ended = self.ends.ended();
            // One that is not here yet comes with the next news, and is told again.
            let buried = ended.iter().filter(|token| self.bury(**token, now)).count();
            any |= buried > 0;
            if buried == 0 {
                return any;
            }
        }
    }

    fn bury(&mut self, token: u64, now: Instant) -> bool {
        let Some(index) = self.lanes.iter().position(|lane| lane.token == token) else {
            return false;
        };
        let mut lane = self.lanes.swap_remove(index);
        let taken = lane.visit(Visit::Last, now, &mut self.mappings, &mut self.merge);
        self.figures.hints.fetch_add(taken, Relaxed);
        let late = lane.take_late_syncs();
        self.figures.late_syncs.fetch_add(late.into(), Relaxed);
        if lane.was_for_nothing() {
            self.merge.add(lane.origin, now, What::Everything);
        }
        true
    }

    fn look_after_unheard(&mut self, now: Instant) {
        if self.unheard.is_due(now, self.hurry, ProcessKey::exists) {
            self.merge.add(OriginId::SCAN, now, What::Everything);
        }
        if self.unheard.latecomers_are_due(now) {
            self.merge.look_everywhere(now);
        }
    }

    /// Sends what is due if there is room in the channel, and answers barriers when nothing waits.
    fn send(&mut self, now: Instant) {
        if std::mem::take(&mut self.hurry) {
            self.merge.hurry();
        }
        if self.merge.is_due(now) {
            match self.hints.try_reserve() {
                Ok(permit) => {
                    let hints = self.merge.take(now);
                    // Before anybody looks: what is written from now on is told.
                    if hints.iter().any(Hint::may_bring_in) {
                        self.policy.renew_outside();
                    }
                    permit.send(hints);
                }
                Err(TrySendError::Full(())) => return,
                Err(TrySendError::Closed(())) => self.stopped = true,
            }
        }
        for ask in self.asks.drain(..) {
            // Without a front nobody is answered, and all have a time limit.
            let _ = self.durable_asks.send(ask);
        }
        for done in self.barriers.drain(..) {
            // Whoever asked may have gone.
            let _ = done.send(());
        }
    }
}

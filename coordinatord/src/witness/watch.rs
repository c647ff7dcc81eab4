//! The witness's thread: waits for the kernel or for orders, drains, sends hints.
//!
//! The ring is drained before fanotify: then the name of a file that was made before it was written is
//! always among the same hints.

use std::os::fd::AsFd;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tokio::sync::mpsc::Sender;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::oneshot;

use super::Settings;
use super::area::{Area, Found, are_the_same};
use super::directories;
use super::event::Event;
use super::hear::{Clock, Hearing};
use super::names::{self, NameWatch};
use super::report::{ABSENT, OFF, PARTIAL, UNAVAILABLE, WATCHING, WitnessReport};
use super::rings;
use super::tracer::{self, Tracer};
use super::tracer_report::TracerProblem;
use crate::intake::{Hint, Intake};

/// So much is gathered before it is drained.
const GATHER: Duration = Duration::from_millis(2);
/// Nothing younger is told. A shim's hint takes less: what it told is read then, or waits to be read with
/// what is told here.
const TOLD_AFTER: Duration = Duration::from_millis(3);
/// Time between two tries to send into a full channel.
const FULL_INTERVAL: Duration = Duration::from_millis(1);
/// Buffers of fanotify read before hints are sent in between.
const BUFFERS_MAX: usize = 64;

/// What others tell the thread.
pub(super) enum Order {
    /// Watch these; none: watch nothing. Where anything new is watched, everything is looked at once.
    Watch(Found),
    /// Somebody waits until everything of before is sent.
    Barrier(oneshot::Sender<()>),
    /// The end.
    Stop,
}

/// The thread's state.
pub(super) struct Watch {
    settings: Settings,
    orders: mpsc::Receiver<Order>,
    bell: Arc<rustix::fd::OwnedFd>,
    hints: Sender<Vec<Hint>>,
    intake: Arc<Intake>,
    report: Arc<Mutex<WitnessReport>>,
    hearing: Hearing,
    tracer: Result<Tracer, String>,
    tracer_state: &'static str,
    names: Result<NameWatch, String>,
    /// Roots that are not there, and why.
    missing: Vec<String>,
    /// The roots that all this is about.
    roots: Vec<PathBuf>,
    /// Areas on which names are not heard, and why.
    deaf: Vec<String>,
    /// Events that are too young to be told.
    young: Vec<Event>,
    barriers: Vec<oneshot::Sender<()>>,
    drops: u64,
    stopped: bool,
}

impl Watch {
    pub(super) fn new(
        settings: Settings,
        orders: mpsc::Receiver<Order>,
        bell: Arc<rustix::fd::OwnedFd>,
        hints: Sender<Vec<Hint>>,
        intake: Arc<Intake>,
        report: Arc<Mutex<WitnessReport>>,
        hearing: Hearing,
    ) -> Self {
        Self {
            settings,
            orders,
            bell,
            hints,
            intake,
            report,
            hearing,
            tracer: Err(String::new()),
            tracer_state: OFF,
            names: Err(String::new()),
            missing: Vec::new(),
            roots: Vec::new(),
            deaf: Vec::new(),
            young: Vec::new(),
            barriers: Vec::new(),
            drops: 0,
            stopped: false,
        }
    }

    /// Runs until told to stop, or until nobody wants hints any more.
    pub(super) fn run(mut self) {
        loop {
            let now = Instant::now();
            self.take_orders(now);
            let found = self.drain(now);
            self.send(now);
            self.tell();
            if self.stopped {
                return;
            }
            if !found || !self.barriers.is_empty() {
                self.wait(self.longest_wait(now), true);
            }
            if self.barriers.is_empty() {
                self.wait(GATHER, false);
            }
        }
    }

    fn take_orders(&mut self, now: Instant) {
        // Counts up until it is read, so no ring is lost.
        let _ = rustix::io::read(&*self.bell, &mut [0; 8]);
        while let Ok(order) = self.orders.try_recv() {
            match order {
                Order::Watch(found) => self.watch(found, now),
                Order::Barrier(done) => self.barriers.push(done),
                Order::Stop => self.stopped = true,
            }
        }
    }

    /// Watches these areas from now on. Nothing happens when they are as they were.
    fn watch(&mut self, found: Found, now: Instant) {
        let Found { areas, .. } = found;
        (self.missing, self.roots) = (found.missing, found.roots);
        if are_the_same(&areas, &self.hearing.areas) {
            return;
        }
        self.drain(now);
        self.begin(areas);
        if !self.hearing.areas.is_empty() {
            // What changed before anybody listened.
            self.hearing.merge.look_everywhere(now);
        }
    }

    fn begin(&mut self, areas: Vec<Area>) {
        self.deaf.clear();
        self.hearing.watch(Vec::new());
        // Everything is about to be looked at.
        self.young.clear();
        if areas.is_empty() {
            // Dropped, and with them all that hangs on them in the kernel.
            (self.tracer, self.names) = (Err(String::new()), Err(String::new()));
            self.tracer_state = OFF;
            return;
        }
        self.start_tracer(&areas);
        if self.tracer.as_ref().is_ok_and(Tracer::hears_calls) {
            self.hearing.are_untold(rings::processes_with_rings());
        }
        self.start_names(&areas);
        self.hearing.watch(areas);
    }

    /// Areas go by their number, so other areas want another tracer.
    fn start_tracer(&mut self, areas: &[Area]) {
        self.tracer = Err(String::new());
        let started = if self.settings.ebpf {
            start_tracer(&self.settings, areas)
        } else {
            (OFF, Err("turned off in the settings".to_owned()))
        };
        (self.tracer_state, self.tracer) = started;
    }

    fn start_names(&mut self, areas: &[Area]) {
        self.names = NameWatch::start().map_err(|error| names::reason(&error));
        for area in areas {
            if let Err(reason) = self.start_names_on(area) {
                self.deaf.push(format!("{}: {reason}", area.path.display()));
            }
        }
    }

    fn start_names_on(&self, area: &Area) -> Result<(), String> {
        if let Some(reason) = &area.unheard {
            return Err(reason.clone());
        }
        let ranges = self.tracer.as_ref();
        let ranges = ranges.is_ok_and(|tracer| tracer.tells_ranges_on(area.magic));
        let names = self.names.as_ref()?;
        // Else what is told could not be placed.
        directories::can_be_opened(area)
            .and_then(|()| names.mark(area.marked(), !ranges))
            .map_err(|error| names::reason(&error))?;
        if !area.tells_of_all() {
            return Err("on this kind of file system not all may be heard".to_owned());
        }
        // What overlayfs writes into its upper directory is hidden from fanotify.
        if area.is_shown_elsewhere() && !ranges {
            return Err(
                "overlayfs: only where eBPF tells of ranges in its upper directory (ext4, xfs) are all writes heard"
                    .to_owned(),
            );
        }
        if let Some(overlay) = area.upper_of.as_ref().filter(|_| !ranges) {
            return Err(format!(
                "the overlay at {} keeps its changes in it, of which not all are heard",
                overlay.display()
            ));
        }
        Ok(())
    }

    /// Takes in all that the kernel has told. True when there was anything.
    fn drain(&mut self, now: Instant) -> bool {
        self.hearing.begin();
        let events = self.drain_tracer(now);
        let records = self.drain_names(now);
        let all = !self.barriers.is_empty();
        if all && self.hearing.explained.is_waiting() {
            // Calls that were about to end when fanotify told of them.
            self.drain_tracer(now);
        }
        self.hearing.pending(now, all);
        events || records
    }

    fn drain_tracer(&mut self, now: Instant) -> bool {
        let Ok(tracer) = self.tracer.as_mut() else {
            return false;
        };
        let all = !self.barriers.is_empty();
        self.young.extend(tracer.drain(all));
        let clock = Clock::now();
        let limit = now.checked_sub(TOLD_AFTER).unwrap_or(now);
        let is_old = |event: &Event| all || clock.moment(event.at) <= limit;
        let old = self.young.partition_point(is_old);
        for event in self.young.drain(..old) {
            self.hearing.event(&event, tracer, clock);
        }
        let lost = tracer.take_lost();
        if !lost.is_empty() {
            self.drops += lost.files.len() as u64 + u64::from(lost.more);
            self.hearing.lost(&lost, now);
        }
        old > 0 || !self.young.is_empty()
    }

    fn drain_names(&mut self, now: Instant) -> bool {
        let Ok(names) = self.names.as_mut() else {
            return false;
        };
        for any in 0..BUFFERS_MAX {
            match names.next() {
                Ok(Some(records)) => {
                    for record in records {
                        let tracer = self.tracer.as_mut().ok();
                        self.hearing.record(record.as_ref(), tracer, now);
                    }
                }
                Ok(None) => return any > 0,
                Err(error) => {
                    self.names = Err(format!("reading from fanotify failed: {error}"));
                    self.deaf.push("names are not heard any more".to_owned());
                    return true;
                }
            }
        }
        true
    }

    /// Sends what is due if there is room in the channel, and answers barriers when nothing waits.
    fn send(&mut self, now: Instant) {
        let merge = &mut self.hearing.merge;
        if !self.barriers.is_empty() {
            merge.hurry();
        }
        if merge.is_due(now) {
            match self.hints.try_reserve() {
                Ok(permit) => {
                    let hints = merge.take(now);
                    // Before anybody looks: what is written from now on is told.
                    if hints.iter().any(Hint::may_bring_in) {
                        self.intake.renew_outside();
                    }
                    permit.send(hints);
                }
                Err(TrySendError::Full(())) => return,
                Err(TrySendError::Closed(())) => self.stopped = true,
            }
        }
        for done in self.barriers.drain(..) {
            // Whoever asked may have gone.
            let _ = done.send(());
        }
    }

    fn longest_wait(&self, now: Instant) -> Duration {
        if self.hearing.merge.is_due(now) || !self.barriers.is_empty() {
            return FULL_INTERVAL;
        }
        let later = Duration::from_secs(3600);
        let waiting = [self.hearing.pending.next(), self.hearing.explained.next()];
        let pending = waiting.into_iter().flatten().min();
        let pending = pending.map_or(later, |at| at.saturating_duration_since(now));
        let merged = if self.hearing.merge.is_empty() {
            later
        } else {
            Duration::from_millis(100)
        };
        pending.min(merged)
    }

    /// Waits for orders, and for the kernel if `all`.
    fn wait(&self, longest: Duration, all: bool) {
        let tracer = self.tracer.as_ref().ok().map(AsFd::as_fd);
        let names = self.names.as_ref().ok().map(AsFd::as_fd);
        let kernel = [tracer, names].into_iter().flatten().filter(|_| all);
        let bell = std::iter::once(self.bell.as_fd());
        let mut waited: Vec<_> = bell
            .chain(kernel)
            .map(|descriptor| PollFd::from_borrowed_fd(descriptor, PollFlags::IN))
            .collect();
        let longest = Timespec {
            tv_sec: longest.as_secs().cast_signed(),
            tv_nsec: longest.subsec_nanos().into(),
        };
        // Woken too early, it drains nothing.
        let _ = poll(&mut waited, Some(&longest));
    }

    fn tell(&self) {
        let mut report = self.report.lock().unwrap_or_else(PoisonError::into_inner);
        let counters = self
            .tracer
            .as_ref()
            .map(Tracer::counters)
            .unwrap_or_default();
        report.ebpf.state = self.tracer_state.to_owned();
        report.ebpf.reason = self.tracer.as_ref().err().cloned().unwrap_or_default();
        report.ebpf.hints = counters.told;
        report.ebpf.drops = self.drops;
        report.ebpf.calls = self.tracer.as_ref().is_ok_and(Tracer::hears_calls);
        let watching = !self.hearing.areas.is_empty();
        report.names.state = match (watching, &self.names, self.deaf.is_empty()) {
            (false, ..) => OFF,
            (true, Err(_), _) => UNAVAILABLE,
            (true, Ok(_), true) => WATCHING,
            (true, Ok(_), false) => PARTIAL,
        }
        .to_owned();
        report.names.reason = match &self.names {
            Err(reason) => reason.clone(),
            Ok(_) => [&self.deaf[..], &self.missing].concat().join("; "),
        };
        report.names.hints = self.hearing.names_heard;
        report.names.overflows = self.hearing.overflows;
        let silent = self
            .hearing
            .areas
            .iter()
            .filter(|area| !area.tells_of_stores());
        report.silent_stores = silent.map(|area| area.top().device).collect();
        report.roots.clone_from(&self.roots);
        report.hears_all = watching
            && self.tracer.as_ref().is_ok_and(Tracer::tells_of_stores)
            && self.deaf.is_empty()
            && self.missing.is_empty()
            && counters.unplaced == 0;
    }
}

/// A tracer that watches these, or why there is none.
fn start_tracer(settings: &Settings, areas: &[Area]) -> (&'static str, Result<Tracer, String>) {
    let wants = |area: &Area| area.can_place_numbers() && tracer::wants_calls(area.magic);
    let calls = settings.calls && areas.iter().any(wants);
    let started = Tracer::start(settings.ring_bytes, calls).and_then(|mut tracer| {
        for (area, number) in areas.iter().zip(1..) {
            tracer.add_root(area.as_fd(), area.magic, number)?;
        }
        Ok(tracer)
    });
    let state = match &started {
        Ok(_) => WATCHING,
        Err(TracerProblem::NotBuilt) => ABSENT,
        Err(_) => UNAVAILABLE,
    };
    if let Err(problem) = &started {
        tracing::warn!(%problem, "no eBPF: what programs outside the shim change is heard by fanotify, if at all");
    }
    (state, started.map_err(|problem| problem.to_string()))
}

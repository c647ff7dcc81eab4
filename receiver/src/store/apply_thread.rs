//! The thread that applies, and how far everything is.

use std::io;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use everwrite_protocol::ids::SequenceNumber;

use super::{Stage, StoreError, StoreEvent};
use crate::apply::Applier;
use crate::log::LogWriter;

/// How long stored batches wait for more to be applied with them.
const GATHER: Duration = Duration::from_millis(200);
/// How long to wait after an error.
const RETRY: Duration = Duration::from_millis(500);

/// How far storing and applying are; wakes those who wait for it.
pub(super) struct Progress {
    state: Mutex<State>,
    changed: Condvar,
    events: Box<dyn Fn(StoreEvent) + Send + Sync>,
}

#[derive(Debug)]
struct State {
    stored: SequenceNumber,
    applied: SequenceNumber,
    /// Someone waits for this batch to be applied.
    wanted: SequenceNumber,
    stopping: bool,
}

impl std::fmt::Debug for Progress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Progress")
            .field("state", &self.state)
            .finish_non_exhaustive()
    }
}

impl Progress {
    pub(super) fn new(
        stored: SequenceNumber,
        applied: SequenceNumber,
        events: Box<dyn Fn(StoreEvent) + Send + Sync>,
    ) -> Self {
        let state = State {
            stored,
            applied,
            wanted: SequenceNumber(0),
            stopping: false,
        };
        Self {
            state: Mutex::new(state),
            changed: Condvar::new(),
            events,
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn stored(&self) -> SequenceNumber {
        self.lock().stored
    }

    pub(super) fn applied(&self) -> SequenceNumber {
        self.lock().applied
    }

    pub(super) fn tell(&self, event: StoreEvent) {
        (self.events)(event);
    }

    pub(super) fn set_stored(&self, sequence: SequenceNumber) {
        self.lock().stored = sequence;
        self.changed.notify_all();
        self.tell(StoreEvent::Stored(sequence));
    }

    /// A batch came again: whoever sent it may have missed the answer.
    pub(super) fn repeat_stored(&self, sequence: SequenceNumber) {
        let stored = self.stored();
        if sequence <= stored {
            self.tell(StoreEvent::Stored(stored));
        }
    }

    fn set_applied(&self, sequence: SequenceNumber) {
        self.lock().applied = sequence;
        self.changed.notify_all();
        self.tell(StoreEvent::Applied(sequence));
    }

    pub(super) fn stop(&self) {
        self.lock().stopping = true;
        self.changed.notify_all();
    }

    pub(super) fn wait_stored(&self, sequence: SequenceNumber, wait: Duration) -> bool {
        let waiting = |state: &mut State| state.stored < sequence && !state.stopping;
        let waited = self.changed.wait_timeout_while(self.lock(), wait, waiting);
        let (state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        state.stored >= sequence
    }

    /// Has `sequence` applied and waits for it. `false`: it took too long.
    pub(super) fn wait_applied(&self, sequence: SequenceNumber, wait: Duration) -> bool {
        let mut state = self.lock();
        if state.applied >= sequence {
            return true;
        }
        state.wanted = state.wanted.max(sequence);
        self.changed.notify_all();
        let waiting = |state: &mut State| state.applied < sequence && !state.stopping;
        let waited = self.changed.wait_timeout_while(state, wait, waiting);
        let (state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        state.applied >= sequence
    }

    /// Waits until there is something to apply, and a moment for more, unless the last window left
    /// some. `None`: it is time to stop.
    fn wait_work(&self, backlog: bool) -> Option<SequenceNumber> {
        let mut state = self.lock();
        while state.applied >= state.stored && !state.stopping {
            state = self
                .changed
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
        let gathering =
            |state: &mut State| state.wanted <= state.applied && !state.stopping && !backlog;
        let waited = self.changed.wait_timeout_while(state, GATHER, gathering);
        let (state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        (!state.stopping).then_some(state.stored)
    }

    /// Waits before another attempt.
    fn pause(&self) {
        let deadline = Instant::now() + RETRY;
        let paused = |state: &mut State| !state.stopping && Instant::now() < deadline;
        drop(self.changed.wait_timeout_while(self.lock(), RETRY, paused));
    }
}

/// The thread.
#[derive(Debug)]
pub(super) struct ApplyThread {
    progress: Arc<Progress>,
    hands: Hands,
}

#[derive(Debug)]
enum Hands {
    Thread(Option<JoinHandle<()>>),
    Callers(Box<Mutex<Worker>>),
}

impl ApplyThread {
    pub(super) fn start(
        applier: Applier,
        writer: Arc<LogWriter>,
        progress: Arc<Progress>,
    ) -> io::Result<Self> {
        let worker = Worker::new(applier, writer, &progress);
        let thread = std::thread::Builder::new()
            .name("apply".into())
            .spawn(move || worker.run())?;
        let hands = Hands::Thread(Some(thread));
        Ok(Self { progress, hands })
    }

    /// One that applies in [`turn`](Self::turn)s only.
    pub(super) fn without_thread(
        applier: Applier,
        writer: Arc<LogWriter>,
        progress: Arc<Progress>,
    ) -> Self {
        let worker = Worker::new(applier, writer, &progress);
        let hands = Hands::Callers(Box::new(Mutex::new(worker)));
        Self { progress, hands }
    }

    /// Without a thread: applies a window, if there is anything to apply. Is there more?
    pub(super) fn turn(&self) -> bool {
        let Hands::Callers(worker) = &self.hands else {
            return false;
        };
        let mut worker = worker.lock().unwrap_or_else(PoisonError::into_inner);
        let stored = self.progress.stored();
        self.progress.applied() < stored && worker.turn(stored).unwrap_or(false)
    }

    /// Ends it; a window under way is finished first.
    pub(super) fn stop(&mut self) {
        self.progress.stop();
        if let Hands::Thread(thread) = &mut self.hands
            && let Some(thread) = thread.take()
        {
            // A panic of the thread has been reported by its hook; there is nothing to add.
            let _ = thread.join();
        }
    }
}

#[derive(Debug)]
struct Worker {
    applier: Applier,
    writer: Arc<LogWriter>,
    progress: Arc<Progress>,
    stalled: bool,
}

impl Worker {
    fn new(applier: Applier, writer: Arc<LogWriter>, progress: &Arc<Progress>) -> Self {
        Self {
            applier,
            writer,
            progress: Arc::clone(progress),
            stalled: false,
        }
    }

    fn run(mut self) {
        let mut backlog = false;
        while let Some(stored) = self.progress.wait_work(backlog) {
            match self.turn(stored) {
                Some(more) => backlog = more,
                None => self.progress.pause(),
            }
        }
    }

    /// Applies a window. Is there more? `None`: it could not be applied.
    fn turn(&mut self, stored: SequenceNumber) -> Option<bool> {
        match self.window(stored) {
            Ok(applied) => {
                self.went_on(applied);
                Some(applied.is_some_and(|applied| applied < stored))
            }
            Err(error) => {
                self.failed(&error);
                None
            }
        }
    }

    /// A bug must stop neither the log nor this thread: a panic is an error like others. The window is
    /// made to be done again from wherever it stopped.
    fn window(&mut self, stored: SequenceNumber) -> Result<Option<SequenceNumber>, StoreError> {
        let Self {
            applier, writer, ..
        } = self;
        let window = AssertUnwindSafe(|| applier.apply_window(stored, writer));
        std::panic::catch_unwind(window).unwrap_or(Err(StoreError::Bug("applying a window")))
    }

    fn went_on(&mut self, applied: Option<SequenceNumber>) {
        if std::mem::take(&mut self.stalled) {
            self.progress.tell(StoreEvent::Resumed(Stage::Mirror));
        }
        if let Some(applied) = applied {
            self.progress.set_applied(applied);
        }
    }

    /// What is stored stays stored; the window is tried again until it works.
    fn failed(&mut self, error: &StoreError) {
        if !std::mem::replace(&mut self.stalled, true) {
            tracing::error!(%error, "can't apply stored batches to the mirror");
            let reason = error.to_string();
            self.progress
                .tell(StoreEvent::Stalled(Stage::Mirror, reason));
        }
    }
}

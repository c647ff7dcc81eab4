//! What stands where intake, witness and front stand: hints of what programs did reach the pipeline complete,
//! doubled, late, in another order, too wide; or, in a gap, not at all, and then somebody says so.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use everwrite_coordinatord::clock;
use everwrite_coordinatord::front::WhenQuiet;
use everwrite_coordinatord::intake::{Hint, OriginId, Source, What};
use everwrite_coordinatord::pipeline::{Event, Request};
use everwrite_protocol::ids::Timestamp;
use tokio::sync::mpsc;

use crate::dice::Dice;
use crate::programs::Done;
use crate::trace::Trace;

/// Longest that a hint is late.
const LATE_MS: u64 = 300;

#[derive(Clone)]
pub(crate) struct Ear {
    state: Arc<Mutex<State>>,
    dice: Dice,
    trace: Trace,
}

#[derive(Default)]
struct State {
    /// To the pipeline, while the coordinator lives.
    to: Option<mpsc::Sender<Event>>,
    waiting: Vec<(Instant, Hint)>,
    /// Nothing is heard.
    deaf: bool,
    /// Something was not heard, and nobody has said so yet.
    lost: bool,
    /// There are programs that nobody can hear.
    some_unheard: bool,
    /// How many operations there have been.
    operations: usize,
    /// What was asked whether it was quiet: by the wall clock, after so many operations.
    asked: Vec<(Timestamp, usize)>,
}

impl Ear {
    pub(crate) fn new(dice: Dice, trace: Trace, some_unheard: bool) -> Self {
        let state = State {
            some_unheard,
            ..State::default()
        };
        Self {
            state: Arc::new(Mutex::new(state)),
            dice,
            trace,
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A coordinator has started. What was told to its predecessor, or to nobody, it will not hear.
    pub(crate) fn serve(&self, to: mpsc::Sender<Event>) {
        let mut state = self.state();
        state.to = Some(to);
        state.waiting.clear();
        (state.deaf, state.lost) = (false, false);
    }

    pub(crate) fn coordinator_died(&self) {
        self.state().to = None;
    }

    /// From now on nothing is heard, or something again.
    pub(crate) fn set_deaf(&self, deaf: bool) {
        self.state().deaf = deaf;
    }

    /// A program did something.
    pub(crate) fn told(&self, done: Done) {
        let mut state = self.state();
        if !state.hears() || state.some_unheard && self.dice.percent(30) {
            return;
        }
        let late = self.dice.percent(30);
        for what in done.told {
            for _ in 0..1 + u64::from(self.dice.percent(10)) {
                let wait = if late {
                    self.dice.ms(LATE_MS)
                } else {
                    self.dice.ms(3)
                };
                let what = self.widened(what.clone());
                self.announce(&mut state, what, wait);
            }
        }
    }

    /// The same, of which is told after that time.
    pub(crate) fn told_after(&self, wait: Duration, done: Done) {
        let mut state = self.state();
        if state.hears() {
            for what in done.told {
                self.announce(&mut state, what, wait);
            }
        }
    }

    fn announce(&self, state: &mut State, what: What, wait: Duration) {
        let source = match self.dice.percent(50) {
            true => Source::Shim,
            false => Source::Kernel,
        };
        let now = clock::now();
        let hint = Hint {
            origin: OriginId(1),
            source,
            at: now,
            what,
        };
        state.waiting.push((now + wait, hint));
        let ear = self.clone();
        drop(tokio::spawn(async move {
            tokio::time::sleep(wait).await;
            ear.deliver();
        }));
    }

    fn widened(&self, what: What) -> What {
        if !self.dice.percent(8) {
            return what;
        }
        match what {
            What::Write { file, birth, .. } | What::Append { file, birth } => {
                What::Whole { file, birth }
            }
            What::Name {
                directory,
                arrived: false,
                ..
            } => What::Names { directory },
            other => other,
        }
    }

    /// Delivers what is due.
    fn deliver(&self) {
        let now = clock::now();
        self.deliver_if(|due| due <= now);
    }

    fn deliver_if(&self, is_due: impl Fn(Instant) -> bool) {
        let mut state = self.state();
        let (mut due, later): (Vec<_>, Vec<_>) = std::mem::take(&mut state.waiting)
            .into_iter()
            .partition(|(due, _)| is_due(*due));
        state.waiting = later;
        due.sort_by_key(|(due, _)| *due);
        let hints: Vec<Hint> = due.into_iter().map(|(_, hint)| hint).collect();
        if !hints.is_empty() {
            state.send(Event::Hints(Arc::new(hints)));
        }
    }

    /// Everything that was announced until now is told; and if something was lost, that.
    fn flush(&self) {
        self.deliver_if(|_| true);
        let mut state = self.state();
        if std::mem::take(&mut state.lost) {
            self.trace.note("hints were lost");
            state.send(Event::Hints(Arc::new(vec![Hint {
                origin: OriginId(1),
                source: Source::Kernel,
                at: clock::now(),
                what: What::Everything,
            }])));
        }
    }

    /// Hands a request on, behind all hints of what happened before.
    pub(crate) fn request(&self, request: Request) {
        self.flush();
        self.state().send(Event::Request(request));
    }

    fn request_later(&self, wait: Duration, request: Request) {
        let (ear, to) = (self.clone(), self.state().to.clone());
        tokio::spawn(async move {
            tokio::time::sleep(wait).await;
            let same =
                |now: &mpsc::Sender<Event>| to.as_ref().is_some_and(|to| to.same_channel(now));
            if ear.state().to.as_ref().is_some_and(same) {
                ear.request(request);
            }
        });
    }

    /// As the front does each second.
    pub(crate) fn settle(&self) {
        let asked = clock::now();
        self.request_later(self.dice.ms(20), Request::Settle { asked });
    }

    /// What the disk had gone through when it was asked at this time whether it was quiet.
    pub(crate) fn states_at(&self, time: Timestamp) -> Vec<usize> {
        let state = self.state();
        let asked = state.asked.iter().filter(|(at, _)| *at == time);
        asked.map(|(_, operations)| *operations).collect()
    }
}

impl State {
    /// Something happens: is it heard?
    fn hears(&mut self) -> bool {
        self.operations += 1;
        self.lost |= self.deaf && self.to.is_some();
        !self.deaf && self.to.is_some()
    }

    fn send(&self, event: Event) {
        if let Some(to) = &self.to {
            // A coordinator that has been killed hears nothing.
            let _ = to.try_send(event);
        }
    }
}

impl WhenQuiet for Ear {
    fn when_quiet(&self, patience: Duration, request: Request) {
        let mut state = self.state();
        let operations = state.operations;
        state.asked.push((clock::wall_clock(), operations));
        drop(state);
        let longest = patience.as_millis() as u64 + 3;
        self.request_later(self.dice.ms(longest), request);
    }
}

//! The intake: the coordinator's ear. It hears what the shims say and turns it into [`Hint`]s.
//!
//! ```text
//!                 policy page  <── policy ──────────────┐
//! shim ── socket ──> door, hall ── lanes, origins ──────┤ Intake
//! shim ── segment ──> reader ── merge ── channel of hints
//!             └ bell ──┘   └ ends, unheard
//! ```
//!
//! Two threads: the *door* lets processes in and beats the heart, the *reader* makes its rounds
//! through the segments. A lane outlives its process until it has been read to the end.
//!
//! Everything that a shim says is untrusted. The worst that a hostile one can do is to have its own
//! changes found late, by a scan, to have places looked at that did not change, and to make the
//! reader of all the others up to 250 ms late by playing with the doorbell that they share.

mod bell;
mod door;
mod dues;
mod durable;
mod ends;
mod error;
mod greeting;
mod hall;
mod hint;
mod lane;
mod mappings;
mod memory;
mod merge;
mod origins;
mod pace;
mod places;
mod policy;
mod process;
#[cfg(test)]
mod producer;
mod reader;
mod room;
mod segment;
mod slots;
mod socket;
#[cfg(test)]
mod tests;
mod unheard;
mod unsynced;

use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

use everwrite_protocol::control::{AttachedProcess, Coverage, ShimCapture};
use everwrite_protocol::wire::Origin;
use everwrite_receiver::open_files;
use tokio::sync::mpsc::{Sender, UnboundedReceiver, unbounded_channel};
use tokio::sync::oneshot;

pub use durable::{DurableAsk, DurableFsync};
pub use error::{IntakeError, SOCKET_PATH_BYTES_MAX, TooManyDevices};
pub use hint::{Hint, OriginId, Source, Sources, What};
pub(crate) use merge::Merge;
pub(crate) use origins::Origins;
pub use places::{Places, RootPlace};
pub use policy::coordinator_is_alive;
pub(crate) use process::Program;

use bell::Bell;
use door::{Caller, Door};
use ends::Ends;
use hall::Hall;
use lane::LaneReport;
use policy::Policy;
use reader::{Figures, News, Reader};
use room::Room;
use socket::Claim;

use crate::clock;

/// The ear. Stops listening when dropped.
pub struct Intake {
    hall: Hall,
    figures: Arc<Figures>,
    door: Caller,
    threads: Vec<JoinHandle<()>>,
    durable_asks: Mutex<Option<UnboundedReceiver<DurableAsk>>>,
    /// Somebody simulates programs.
    assumed: AtomicBool,
    _claim: Claim,
}

impl Intake {
    /// Makes `run_directory` where it is missing, takes over the policy page in it (a new epoch; switch
    /// and devices as they were, off and none when it is new) and listens. Hints go to `hints`; when nobody receives them any
    /// more, the intake goes deaf.
    pub fn start(run_directory: &Path, hints: Sender<Vec<Hint>>) -> Result<Self, IntakeError> {
        let claim = socket::claim(run_directory)?;
        let listener = socket::listen(run_directory, &claim)?;
        let policy = Arc::new(Policy::open(run_directory)?);
        let (news, heard) = mpsc::channel();
        let (asks, durable_asks) = unbounded_channel();
        let hall = Hall {
            policy,
            origins: Arc::default(),
            room: Arc::new(Room::within(open_files::limit())),
            bell: Arc::new(Bell::new().map_err(resources("make the doorbell"))?),
            ends: Arc::new(Ends::new().map_err(resources("watch for the end of processes"))?),
            news,
        };
        let (door, caller) =
            Door::new(hall.clone(), listener).map_err(resources("wait at the local socket"))?;
        let figures = Arc::<Figures>::default();
        let reader = Reader::new(
            heard,
            Arc::clone(&hall.bell),
            Arc::clone(&hall.ends),
            Arc::clone(&figures),
            Arc::clone(&hall.policy),
            hints,
            asks,
        );
        let mut intake = Self {
            hall,
            figures,
            door: caller,
            threads: Vec::new(),
            durable_asks: Mutex::new(Some(durable_asks)),
            assumed: AtomicBool::new(false),
            _claim: claim,
        };
        intake.spawn("intake-reader", move || reader.run())?;
        intake.spawn("intake-door", move || door.run())?;
        Ok(intake)
    }

    /// Has the shims tell of files on these file systems (`st_dev`), and no others. At most 64; when
    /// there are more, the first 64 are watched and the error says so.
    pub fn set_devices(&self, devices: &[u64]) -> Result<(), TooManyDevices> {
        self.hall.policy.set_devices(devices)
    }

    /// Has the shims keep silent about what lies outside `places` on a watched device. `None`: that
    /// can't be told, they tell of everything there. Nothing happens when it is as it was.
    pub fn set_places(&self, places: Option<&Places>) {
        if self.hall.policy.set_places(places) {
            self.hall.tell(News::Latecomers);
        }
    }

    /// Something that lay outside all roots may be inside one now.
    pub fn renew_outside(&self) {
        self.hall.policy.renew_outside();
    }

    /// The switch. When off, every hook passes straight through. Some time after it was turned on
    /// everything is to be looked at: calls that programs began before were not announced.
    pub fn set_switch(&self, on: bool) {
        if self.hall.policy.set_switch(on) {
            self.hall.tell(News::Latecomers);
        }
    }

    /// Returns when every hint of a call that returned before now has been sent to the channel.
    /// Calls that are under way now are sent too, as far as they are announced.
    ///
    /// Whoever receives the hints must go on receiving while this is awaited: the channel is bounded.
    pub async fn barrier(&self) {
        let (done, wait) = oneshot::channel();
        self.door.barrier(done);
        // An error means that the intake has stopped: nothing is sent any more.
        let _ = wait.await;
    }

    /// Returns when no shim is in the middle of a change any more, or after `patience`, and then when all that
    /// was announced has been sent. Who is about to attach is not waited for.
    pub async fn quiesce(&self, patience: Duration) {
        let (done, wait) = oneshot::channel();
        self.hall
            .tell(News::Quiesce(Instant::now() + patience, done));
        // As above.
        let _ = wait.await;
    }

    /// Has `fsync` wait for the receiver, or not.
    pub fn set_durable(&self, durable: Option<DurableFsync>) {
        self.hall.policy.set_durable(durable);
    }

    /// intake --programs that wait for the receiver--> whoever takes this, once. Each comes after the hints of
    /// what it waits for.
    pub fn durable_asks(&self) -> Option<UnboundedReceiver<DurableAsk>> {
        let mut asks = self
            .durable_asks
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        asks.take()
    }

    /// Calls for durability that did not wait until they were answered, since start.
    pub fn late_syncs(&self) -> u64 {
        self.figures.late_syncs.load(Relaxed)
    }

    /// Has programs with the shim wait before they change anything that is protected, until this is dropped,
    /// or for `longest`.
    pub fn hold(&self, longest: Duration) -> Hold {
        self.hall.policy.hold(longest);
        Hold {
            policy: Arc::clone(&self.hall.policy),
            since: clock::now(),
        }
    }

    /// Who `id` was.
    pub fn origin(&self, id: OriginId) -> Origin {
        self.hall.origins.origin(id)
    }

    /// Is any program heard by its shim?
    pub fn has_programs(&self) -> bool {
        self.hall.room.processes() > 0 || self.assumed.load(Relaxed)
    }

    /// From now on some program counts as heard by its shim: who simulates programs makes them wait, too.
    pub fn assume_programs(&self) {
        self.assumed.store(true, Relaxed);
    }

    /// Are programs with the shim to wait?
    pub fn is_holding(&self) -> bool {
        self.hall.policy.is_holding()
    }

    /// Who has a segment now, and what came out of it.
    pub async fn coverage(&self) -> Coverage {
        let (answer, lanes) = oneshot::channel();
        self.hall.tell(News::Census(answer));
        // An error means that the intake has stopped: nobody is heard.
        let lanes = lanes.await.unwrap_or_default();
        let attached = lanes.into_iter().map(|lane| self.attached(&lane));
        Coverage {
            attached: attached.collect(),
            ..Coverage::default()
        }
    }

    fn attached(&self, lane: &LaneReport) -> AttachedProcess {
        let origin = self.origin(lane.origin);
        AttachedProcess {
            pid: lane.process.pid,
            started_ticks: lane.process.started_ticks,
            uid: origin.uid,
            program: origin.program,
            executable: origin.executable,
            hints: lane.hints,
            blind: lane.blind,
        }
    }

    /// The table behind [`OriginId`].
    pub(crate) fn origins(&self) -> Arc<Origins> {
        Arc::clone(&self.hall.origins)
    }

    /// Figures since start.
    pub fn statistics(&self) -> ShimCapture {
        ShimCapture {
            processes: self.hall.room.processes() as u64,
            hints: self.figures.hints.load(Relaxed),
            lost: self.figures.lost.load(Relaxed),
            late_syncs: self.late_syncs(),
        }
    }

    fn spawn(
        &mut self,
        name: &str,
        run: impl FnOnce() + Send + 'static,
    ) -> Result<(), IntakeError> {
        let spawned = Builder::new().name(name.to_owned()).spawn(run);
        self.threads
            .push(spawned.map_err(resources("start a thread"))?);
        Ok(())
    }
}

/// Programs wait while there is one.
pub struct Hold {
    policy: Arc<Policy>,
    since: Instant,
}

impl Hold {
    /// How long they have been waiting at most.
    pub fn lasted(&self) -> Duration {
        clock::since(self.since)
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.policy.release();
    }
}

impl Drop for Intake {
    fn drop(&mut self) {
        self.door.stop();
        self.hall.tell(News::Stop);
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                tracing::error!("a thread of the intake had panicked");
            }
        }
        self.hall.policy.farewell();
    }
}

fn resources(doing: &'static str) -> impl FnOnce(io::Error) -> IntakeError {
    move |source| IntakeError::Resources { doing, source }
}

//! The witness: hears of changes that no shim announces, from the kernel itself. Static programs, raw
//! system calls, io_uring, stores into mappings, programs that ran before the coordinator.
//!
//! ```text
//! tracer (eBPF) ── events ──┐
//!                           ├─ hear ─ merge ── channel of hints ──▶ front
//! names (fanotify) ─ records┘
//! ```
//!
//! Two sources, each good at what the other is not: programs in the kernel tell which bytes of which
//! file are written, also through mappings; fanotify tells of names and attributes. Where there can be
//! no eBPF, or it knows nothing of a file system's writes, fanotify tells which files were written.
//!
//! What could not be told is known: the ring keeps a list of files that it had no room for, and
//! fanotify says that it overflowed. Either leads to wider hints.

mod area;
mod cgroups;
mod directories;
#[cfg_attr(
    not(feature = "ebpf"),
    allow(dead_code, reason = "without eBPF there are no events")
)]
mod event;
mod explained;
mod handle;
mod hear;
mod looker;
mod names;
mod overlay;
mod pending;
mod programs;
mod record;
mod report;
mod rings;
mod seen;
#[cfg(feature = "ebpf")]
mod symbols;
#[cfg(feature = "ebpf")]
mod tracer;
#[cfg(not(feature = "ebpf"))]
#[path = "tracer_absent.rs"]
mod tracer;
#[cfg_attr(
    not(feature = "ebpf"),
    allow(dead_code, reason = "without eBPF there is nothing to report")
)]
mod tracer_report;
mod watch;

use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread::{Builder, JoinHandle};

use rustix::event::{EventfdFlags, eventfd};
use rustix::fd::OwnedFd;
use tokio::sync::mpsc::Sender;
use tokio::sync::oneshot;

pub use report::WitnessReport;

use crate::intake::{Hint, Intake, Merge, Source};
use hear::Hearing;
use looker::Looker;
use programs::Programs;
use watch::{Order, Watch};

/// What people have decided about the witness.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Settings {
    /// Listen to the kernel at all.
    pub enabled: bool,
    /// Load programs into it.
    pub ebpf: bool,
    /// Where a file system has no hooks of its own, have programs hear the ends of system calls, of all programs of
    /// the machine; else files written there are compared whole.
    pub calls: bool,
    /// Bytes of what was told and not taken yet; a power of two, at least a page.
    pub ring_bytes: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            enabled: true,
            ebpf: true,
            calls: true,
            ring_bytes: 8 << 20,
        }
    }
}

/// The witness. Everything that it has in the kernel is gone when it is dropped.
pub struct Witness {
    settings: Settings,
    looker: Looker,
    orders: mpsc::Sender<Order>,
    bell: Arc<OwnedFd>,
    report: Arc<Mutex<WitnessReport>>,
    thread: Option<JoinHandle<()>>,
}

impl Witness {
    /// Starts the thread; it watches nothing yet. Hints go to `hints`.
    pub fn start(
        settings: Settings,
        intake: Arc<Intake>,
        hints: Sender<Vec<Hint>>,
    ) -> io::Result<Self> {
        let (orders, taken) = mpsc::channel();
        let bell = Arc::new(eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC)?);
        let report = Arc::new(Mutex::new(WitnessReport::off("nothing is protected")));
        let (rung, told) = (Arc::clone(&bell), Arc::clone(&report));
        let run = move || {
            let programs = Programs::new(intake.origins());
            let hearing = Hearing::new(Merge::new(Source::Kernel), programs);
            Watch::new(settings, taken, rung, hints, intake, told, hearing).run();
        };
        Ok(Self {
            settings,
            looker: Looker::default(),
            orders,
            bell,
            report,
            thread: Some(Builder::new().name("witness".to_owned()).spawn(run)?),
        })
    }

    /// One that hears nothing and says this of itself: who simulates programs tells what they do, and knows
    /// whether it tells all.
    pub fn assumed(report: WitnessReport) -> io::Result<Self> {
        let (orders, _nobody) = mpsc::channel();
        Ok(Self {
            settings: Settings::default(),
            looker: Looker::default(),
            orders,
            bell: Arc::new(eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC)?),
            report: Arc::new(Mutex::new(report)),
            thread: None,
        })
    }

    /// Watches these directories and no others, soon; none when the switch is off.
    pub fn watch(self: &Arc<Self>, roots: Vec<PathBuf>) {
        if self.settings.enabled && self.looker.wants(roots) {
            let witness = Arc::clone(self);
            tokio::task::spawn_blocking(move || {
                witness
                    .looker
                    .look(|found| witness.order(Order::Watch(found)));
            });
        }
    }

    /// Returns when every hint of a call that returned before now has been sent to the channel.
    ///
    /// Whoever receives the hints must go on receiving while this is awaited: the channel is bounded.
    pub async fn barrier(&self) {
        let (done, wait) = oneshot::channel();
        self.order(Order::Barrier(done));
        // An error means that the thread has ended: nothing is sent any more.
        let _ = wait.await;
    }

    /// How it stands. Not all is heard while roots have been added that are not watched yet.
    pub fn report(&self) -> WitnessReport {
        if !self.settings.enabled {
            return WitnessReport::off("turned off in the settings ([witness] enabled)");
        }
        let report = self.report.lock().unwrap_or_else(PoisonError::into_inner);
        let mut report = report.clone();
        report.hears_all &= self.looker.is_for(&report.roots);
        report
    }

    /// Is whatever changes below any root heard?
    pub fn hears_all(&self) -> bool {
        // Asked for each file that is looked at: nothing is copied.
        let report = self.report.lock().unwrap_or_else(PoisonError::into_inner);
        self.settings.enabled && report.hears_all && self.looker.is_for(&report.roots)
    }

    fn order(&self, order: Order) {
        // Without a thread nobody is to be told anything.
        let _ = self.orders.send(order);
        // Full means that it has been rung often enough.
        let _ = rustix::io::write(&*self.bell, &1u64.to_ne_bytes());
    }
}

impl Drop for Witness {
    fn drop(&mut self) {
        self.order(Order::Stop);
        if self
            .thread
            .take()
            .is_some_and(|thread| thread.join().is_err())
        {
            tracing::error!("the thread of the witness had panicked");
        }
    }
}

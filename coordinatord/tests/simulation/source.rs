//! The source's machine: the real pipeline, on one thread, killed and started again from its index.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use everwrite_coordinatord::clock;
use everwrite_coordinatord::config::{self, Config, Paths, Place};
use everwrite_coordinatord::front::Devices;
use everwrite_coordinatord::index::Index;
use everwrite_coordinatord::intake::Intake;
use everwrite_coordinatord::network_backup::{Target, Uplink};
use everwrite_coordinatord::pipeline::{Event, Pipeline, PipelineParts, Request};
use everwrite_coordinatord::round::{Limits, State, Tools, Waits};
use everwrite_coordinatord::witness::{Witness, WitnessReport};
use everwrite_protocol::control::{EbpfCapture, NamesCapture};
use tokio::runtime::Runtime;
use tokio::sync::mpsc;

use crate::ear::Ear;
use crate::network::Network;
use crate::receiver::SOURCE;

pub(crate) const ROOT: &str = "tree";
const RECEIVER: &str = "receiver";
/// More events than a pipeline ever leaves waiting here.
const EVENTS_MAX: usize = 100_000;
const UPLINK_EVENTS_MAX: usize = 256;

/// What outlives the coordinator.
pub(crate) struct Home {
    paths: Paths,
    root: PathBuf,
    /// Hears nobody, and makes programs wait.
    intake: Arc<Intake>,
    runtime: Arc<Runtime>,
    /// Is all that programs do told of?
    hears_all: bool,
    limits: Limits,
}

pub(crate) struct Coordinator {
    pipeline: Pipeline,
    events: mpsc::Receiver<Event>,
    runtime: Arc<Runtime>,
    /// For how long it has not waited for anything.
    busy: Duration,
}

/// Turns that take a millisecond at least, all together.
const TURNS_PER_MS: u32 = 20;
/// A pipeline that is never done for so long is busy with nothing.
const BUSY_MAX: Duration = Duration::from_millis(500);

impl Home {
    /// After a loss of power its directories may be gone.
    pub(crate) fn renew(&self) {
        self.paths.create().unwrap();
    }

    pub(crate) fn new(
        at: &Path,
        root: &Path,
        runtime: &Arc<Runtime>,
        hears_all: bool,
        limits: Limits,
    ) -> Self {
        let paths = Paths::at_home(at).unwrap();
        paths.create().unwrap();
        let (hints, _nobody) = mpsc::channel(1);
        let intake = Intake::start(paths.run(), hints).unwrap();
        intake.assume_programs();
        Self {
            intake: Arc::new(intake),
            paths,
            root: root.to_owned(),
            runtime: Arc::clone(runtime),
            hears_all,
            limits,
        }
    }

    /// Where programs see whether they are to wait.
    pub(crate) fn intake(&self) -> Arc<Intake> {
        Arc::clone(&self.intake)
    }

    pub(crate) fn index(&self) -> PathBuf {
        self.paths.index(RECEIVER)
    }

    /// A copy of the index as it is.
    pub(crate) fn copy_index(&self, to: &Path) {
        for suffix in ["", "-wal"] {
            let from = with(&self.index(), suffix);
            let _ = std::fs::remove_file(with(to, suffix));
            if from.exists() {
                std::fs::copy(from, with(to, suffix)).unwrap();
            }
        }
    }

    /// The index is as it was when `from` was copied; `None`: gone.
    pub(crate) fn replace_index(&self, from: Option<&Path>) {
        for suffix in ["", "-wal", "-shm"] {
            let to = with(&self.index(), suffix);
            let _ = std::fs::remove_file(&to);
            if let Some(from) = from
                .map(|from| with(from, suffix))
                .filter(|from| from.exists())
            {
                std::fs::copy(from, to).unwrap();
            }
        }
    }

    pub(crate) fn start(&self, network: &Network, ear: &Ear) -> Coordinator {
        let (sender, events) = mpsc::channel(EVENTS_MAX);
        let uplink = uplink(network, sender.clone());
        let (receiver, root) = (receiver(), self.protected());
        let config = Config {
            receivers: vec![receiver.clone()],
            roots: vec![root.clone()],
            ..Config::default()
        };
        let index = Index::open(&self.index()).unwrap();
        let pipeline = Pipeline::new(PipelineParts {
            receiver,
            paths: self.paths.clone(),
            config: Arc::new(config),
            state: State::within(self.limits, index).unwrap(),
            tools: Tools {
                devices: Arc::new(Devices::new(Arc::clone(&self.intake))),
                witness: Arc::new(Witness::assumed(report(self.hears_all)).unwrap()),
                intake: Arc::clone(&self.intake),
                queries: uplink.queries(),
                waits: Waits::Within(Arc::clone(&self.runtime)),
            },
            uplink,
            behind_hints: Box::new(ear.clone()),
            switch_on: true,
        });
        ear.serve(sender.clone());
        sender.try_send(Event::Request(Request::Protect(root))).ok();
        let runtime = Arc::clone(&self.runtime);
        Coordinator {
            pipeline,
            events,
            runtime,
            busy: Duration::ZERO,
        }
    }

    fn protected(&self) -> config::Root {
        config::Root {
            name: ROOT.to_owned(),
            path: self.root.clone(),
            to: RECEIVER.to_owned(),
            rpo_ms: 1000,
            durable_fsync: false,
            exclude: Vec::new(),
        }
    }
}

fn with(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

fn receiver() -> config::Receiver {
    config::Receiver {
        name: RECEIVER.to_owned(),
        place: Place::Network {
            address: "simulated:1".to_owned(),
            fingerprint: [0; 32],
        },
    }
}

fn uplink(network: &Network, events: mpsc::Sender<Event>) -> Uplink {
    let (sender, mut uplink_events) = mpsc::channel(UPLINK_EVENTS_MAX);
    tokio::spawn(async move {
        while let Some(event) = uplink_events.recv().await {
            if events.send(Event::Uplink(event)).await.is_err() {
                return;
            }
        }
    });
    let target: Target = receiver().place.target();
    Uplink::start_by(Box::new(network.clone()), target, SOURCE, sender)
}

fn report(hears_all: bool) -> WitnessReport {
    WitnessReport {
        ebpf: EbpfCapture::default(),
        names: NamesCapture::default(),
        hears_all,
        roots: Vec::new(),
        silent_stores: Vec::new(),
    }
}

impl Coordinator {
    /// Lives until then. The clock stands still while the pipeline works: its turns take time nevertheless.
    pub(crate) fn live(&mut self, until: Instant) {
        let mut turns = 0;
        while clock::now() < until {
            let began = clock::now();
            assert!(self.pipeline.turn(&mut self.events, Some(until)));
            if clock::now() > began {
                (turns, self.busy) = (0, Duration::ZERO);
                continue;
            }
            turns += 1;
            if turns == TURNS_PER_MS {
                turns = 0;
                self.busy += MS;
                assert!(self.busy < BUSY_MAX, "busy for {:?}", self.busy);
                self.runtime.block_on(tokio::time::sleep(MS));
            }
        }
    }
}

const MS: Duration = Duration::from_millis(1);

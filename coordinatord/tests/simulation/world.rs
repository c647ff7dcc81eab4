//! One run: programs work, and things go wrong, until all faults stop and all has to be well.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use everwrite_coordinatord::clock::{self, Simulated, simulate, wall_clock};
use everwrite_coordinatord::intake::Intake;
use everwrite_coordinatord::pipeline::Request;
use everwrite_coordinatord::queue::QueueLimits;
use everwrite_coordinatord::round::Limits;
use everwrite_protocol::ids::{SequenceNumber, Timestamp};
use tokio::runtime::Runtime;
use tokio::sync::oneshot;

use crate::dice::Dice;
use crate::ear::Ear;
use crate::judge;
use crate::network::Network;
use crate::power::{self, Power};
use crate::programs::Programs;
use crate::receiver::Machine;
use crate::source::{Coordinator, Home, ROOT};
use crate::trace::Trace;

/// When every run begins.
const BEGIN: Timestamp = Timestamp(1_800_000_000_000_000_000);
/// Longest that it takes until all is stored once nothing is wrong any more.
const CONVERGES: Duration = Duration::from_secs(300);
/// Longest that a program waits.
const HOLD_MS_MAX: u32 = 20;
/// When what is told late is told.
const LATE: Duration = Duration::from_millis(400);
/// Faults and whiles of one run.
const STEPS: u64 = 16;

/// What a run is like.
#[derive(Debug)]
struct Manner {
    /// Is all that programs do told of?
    hears_all: bool,
    /// Can every write be told from the one before by the file's times?
    fine_times: bool,
    /// Files larger than any batch.
    large: u32,
    /// How much the coordinator keeps apart and sends at once.
    limits: Limits,
    /// How long the receiver's disk takes.
    late_ms: u64,
    /// Longest time between two operations.
    rest_ms: u64,
}

impl Manner {
    fn of(dice: &Dice, fine_times: bool) -> Self {
        Self {
            hears_all: dice.percent(70),
            fine_times: fine_times && dice.percent(50),
            large: if dice.percent(15) { 2 } else { 0 },
            limits: limits(dice),
            late_ms: if dice.percent(25) { 400 } else { 8 },
            rest_ms: *dice.pick(&[20, 80, 300]).unwrap_or(&80),
        }
    }
}

/// Those of everyday, or ones that little goes beyond.
fn limits(dice: &Dice) -> Limits {
    let mut limits = Limits::default();
    if dice.percent(40) {
        limits.batch_bytes = 48 << 10;
    }
    if dice.percent(30) {
        limits.batch_commands = 2;
        limits.queue = QueueLimits {
            names_per_directory: 3,
            entries: 6,
        };
    }
    limits
}

/// What came of a run.
pub(crate) struct Ran {
    pub(crate) hash: String,
    pub(crate) trace: Trace,
    pub(crate) batches: usize,
    pub(crate) consistent: usize,
    pub(crate) kills: u32,
    /// How often programs have waited.
    pub(crate) waits: u32,
}

pub(crate) struct World {
    pub(crate) base: PathBuf,
    pub(crate) ear: Ear,
    pub(crate) machine: Machine,
    pub(crate) trace: Trace,
    /// More content does not fit a batch.
    pub(crate) batch_bytes: u64,
    /// How often programs have waited.
    waits: Arc<AtomicU32>,
    programs: Arc<Mutex<Programs>>,
    /// Programs rest.
    rest: Arc<Mutex<bool>>,
    network: Network,
    home: Home,
    coordinator: Option<Coordinator>,
    receiver_runs: bool,
    runtime: Arc<Runtime>,
    dice: Dice,
    boot: u64,
    file_clock: Timestamp,
    has_copy: bool,
    /// Of the disk on which the coordinator's state is; `None`: of one that forgets nothing.
    power: Option<Power>,
    checkpoints: u32,
    kills: u32,
}

/// Runs a seed; panics with what is wrong.
pub(crate) fn run(seed: u64, trace: &Trace, power: bool) -> Ran {
    let place = scratch();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    let runtime = Arc::new(runtime);
    let entered = Arc::clone(&runtime);
    let _guard = entered.enter();
    let power = power.then(|| Power::new(seed, &place.path().join("home/state")));
    let mut world = World::new(seed, place.path(), runtime, trace.clone(), power);
    for _ in 0..STEPS {
        world.step();
    }
    world.checkpoint();
    judge::judge(&world, &Dice::new(seed, 9));
    let batches = world.machine.batches();
    let consistent = batches.iter().filter(|it| it.cut.kind.is_consistent());
    let ran = Ran {
        hash: trace.hash(),
        trace: trace.clone(),
        batches: batches.len(),
        consistent: consistent.count(),
        kills: world.kills,
        waits: world.waits.load(Relaxed),
    };
    world.end();
    simulate(None);
    ran
}

/// In memory where there is such a place.
fn scratch() -> tempfile::TempDir {
    let memory = Path::new("/dev/shm");
    let builder = tempfile::Builder::new().prefix("everwrite-").to_owned();
    let in_memory = builder.tempdir_in(memory);
    in_memory.unwrap_or_else(|_| tempfile::tempdir().unwrap())
}

impl World {
    fn new(
        seed: u64,
        base: &Path,
        runtime: Arc<Runtime>,
        trace: Trace,
        power: Option<Power>,
    ) -> Self {
        let dice = |who| Dice::new(seed, who);
        let manner = Manner::of(&dice(0), judge::has_fine_times(base));
        trace.note(format!("seed {seed}: {manner:?}"));
        let [root, elsewhere, outside] = ["tree", "elsewhere", "outside"].map(|it| base.join(it));
        for directory in [&root, &elsewhere, &outside] {
            std::fs::create_dir(directory).unwrap();
        }
        std::fs::write(outside.join("secret"), judge::SECRET).unwrap();
        let programs = Programs::new(&root, &elsewhere, dice(1), manner.large);
        let network = Network::new(dice(3), trace.clone());
        let store = base.join("store");
        let mut world = Self {
            base: base.to_owned(),
            ear: Ear::new(dice(2), trace.clone(), !manner.hears_all),
            batch_bytes: manner.limits.batch_bytes,
            waits: Arc::default(),
            machine: Machine::new(
                store,
                manner.late_ms,
                network.clone(),
                dice(4),
                trace.clone(),
            ),
            programs: Arc::new(Mutex::new(programs)),
            rest: Arc::default(),
            network,
            home: Home::new(
                &base.join("home"),
                &root,
                &runtime,
                manner.hears_all,
                manner.limits,
            ),
            coordinator: None,
            receiver_runs: false,
            runtime,
            dice: dice(5),
            boot: 1,
            file_clock: match manner.fine_times {
                true => Timestamp(i64::MAX),
                // Whatever changes within ten seconds from now may have changed again unseen.
                false => wall_clock(),
            },
            has_copy: false,
            power,
            checkpoints: 0,
            kills: 0,
            trace,
        };
        world.set_wall(BEGIN);
        world.begin(dice(6), manner.rest_ms);
        world
    }

    fn begin(&mut self, dice: Dice, rest_ms: u64) {
        let (programs, rest) = (Arc::clone(&self.programs), Arc::clone(&self.rest));
        let (ear, trace) = (self.ear.clone(), self.trace.clone());
        let (intake, waits) = (self.home.intake(), Arc::clone(&self.waits));
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(dice.ms(rest_ms)).await;
                // Most have the shim.
                if intake.is_holding() && dice.percent(70) {
                    waits.fetch_add(1, Relaxed);
                    wait(&intake).await;
                }
                if !*locked(&rest) {
                    let done = locked(&programs).act();
                    trace.note(&done.what);
                    ear.told(done);
                }
            }
        });
        let ear = self.ear.clone();
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(Duration::from_secs(1)).await;
                ear.settle();
            }
        });
        self.start_receiver();
        self.start_coordinator();
    }

    fn set_wall(&self, wall: Timestamp) {
        simulate(Some(Simulated {
            wall,
            at: clock::now(),
            file: self.file_clock,
            boot: self.boot,
        }));
    }

    pub(crate) fn programs(&self) -> MutexGuard<'_, Programs> {
        locked(&self.programs)
    }

    // Time.

    fn pass(&mut self, time: Duration) {
        let until = clock::now() + time;
        match &mut self.coordinator {
            Some(coordinator) => coordinator.live(until),
            None => self
                .runtime
                .block_on(tokio::time::sleep_until(until.into())),
        }
    }

    // Faults.

    fn step(&mut self) {
        match self.dice.below(20) {
            0 => self.network.cut(),
            1 => self.network.cut_in_the_middle(),
            2 => self.outage(),
            3 | 4 => self.kill_receiver(),
            5 => self.kill_in_mirror(),
            6 | 7 => self.lose_power(),
            8 => self.fill_disk(),
            9 => self.be_deaf(),
            10 => self.switch(),
            11 => self.turn_clock_back(),
            12 => self.slow_network(),
            13 => self.copy_index(),
            14 => self.checkpoint(),
            15 => self.reconcile(),
            16..=18 if self.power.is_some() => self.lose_power(),
            _ => {}
        }
        let while_ms = *self.dice.pick(&[30, 200, 1500]).unwrap_or(&200);
        let time = self.dice.ms(while_ms);
        self.pass(time);
    }

    fn outage(&mut self) {
        if self.dice.percent(40) {
            self.tell_half();
        }
        self.trace.note("outage");
        self.network.set_down(true);
        self.network.cut();
        let time = self.dice.ms(4000);
        self.pass(time);
        self.network.set_down(false);
    }

    fn start_receiver(&mut self) {
        self.trace.note("the receiver starts");
        self.machine.start();
        self.receiver_runs = true;
    }

    fn kill_receiver(&mut self) {
        self.trace.note("the receiver is killed");
        self.kills += 1;
        self.machine.kill();
        self.stay_away();
    }

    fn kill_in_mirror(&mut self) {
        let steps = self.dice.below(4) as u32;
        self.trace.note(format!(
            "the receiver is killed while it applies, after {steps} steps"
        ));
        self.kills += 1;
        self.machine.kill_in_mirror(steps);
        self.stay_away();
    }

    fn stay_away(&mut self) {
        self.receiver_runs = false;
        let time = self.dice.ms(1500);
        self.pass(time);
        self.start_receiver();
    }

    fn start_coordinator(&mut self) {
        self.trace.note("the coordinator starts");
        let started = self.home.start(&self.network, &self.ear);
        self.coordinator = Some(started);
    }

    /// A program writes to a file that others write to as well.
    fn write_hot(&self, told_after: Duration) {
        let done = self.programs().write_hot();
        self.trace.note(&done.what);
        self.ear.told_after(told_after, done);
    }

    /// Of two writes to a file the first has been told of, and was looked at when both had been made.
    fn tell_half(&mut self) {
        self.write_hot(LATE);
        self.write_hot(Duration::ZERO);
        let time = self.dice.ms(LATE.as_millis() as u64);
        self.pass(time);
    }

    /// Dies; then, unheard, a file is written to that is written to again as soon as somebody listens.
    fn lose_power(&mut self) {
        if self.dice.percent(40) {
            self.tell_half();
        }
        self.stop_coordinator();
        let writes = self.dice.percent(40);
        if writes {
            self.write_hot(Duration::ZERO);
        }
        let time = self.dice.ms(500);
        self.pass(time);
        self.start_coordinator();
        if writes {
            self.write_hot(Duration::ZERO);
        }
    }

    fn stop_coordinator(&mut self) {
        let Some(power) = &mut self.power else {
            return self.kill_coordinator();
        };
        self.kills += 1;
        self.boot += 1;
        self.ear.coordinator_died();
        let happened = power.moment();
        self.coordinator = None;
        let how = power.goes(&happened);
        self.trace.note(format!("the source lost power: {how}"));
        self.home.renew();
        power::does_not_lead(&self.home.index(), self.machine.acknowledged());
        self.set_wall(wall_clock());
    }

    fn kill_coordinator(&mut self) {
        self.trace.note("the coordinator is killed");
        self.kills += 1;
        self.ear.coordinator_died();
        self.coordinator = None;
        match self.dice.below(10) {
            0 => {
                self.trace.note("its index is gone");
                self.home.replace_index(None);
            }
            1..=3 if self.has_copy => {
                self.trace
                    .note("its machine lost power: the index is an older one");
                self.boot += 1;
                self.home.replace_index(Some(&self.base.join("copy")));
                self.set_wall(wall_clock());
            }
            _ => {}
        }
    }

    fn copy_index(&mut self) {
        self.home.copy_index(&self.base.join("copy"));
        self.has_copy = true;
    }

    fn fill_disk(&mut self) {
        self.trace.note("the receiver's disk is full");
        self.machine.set_full(true);
        let longest = *self.dice.pick(&[2000, 6000, 20_000]).unwrap_or(&6000);
        let time = self.dice.ms(longest);
        self.pass(time);
        // What it has taken and not written is still to come.
        if self.dice.percent(40) {
            self.lose_power();
            self.pass(time);
        }
        self.trace.note("there is room again");
        self.machine.set_full(false);
    }

    fn be_deaf(&mut self) {
        self.trace.note("nothing is heard");
        self.ear.set_deaf(true);
        self.write_hot(Duration::ZERO);
        let time = self.dice.ms(800);
        self.pass(time);
        self.ear.set_deaf(false);
        self.write_hot(Duration::ZERO);
    }

    fn switch(&mut self) {
        self.trace.note("the switch is off");
        self.ear.request(Request::Switch(false));
        self.write_hot(Duration::ZERO);
        let time = self.dice.ms(800);
        self.pass(time);
        self.trace.note("the switch is on");
        self.ear.request(Request::Switch(true));
        self.write_hot(Duration::ZERO);
    }

    fn turn_clock_back(&mut self) {
        let back = self.dice.below(3_600_000_000_000) as i64;
        self.trace.note("the clock is turned back");
        self.set_wall(Timestamp(wall_clock().0 - back));
    }

    fn slow_network(&mut self) {
        self.trace.note("the network is slow");
        self.network.set_slow(true);
        self.network.cut();
        let time = self.dice.ms(3000);
        self.pass(time);
        self.network.set_slow(false);
        self.network.close();
    }

    fn reconcile(&mut self) {
        self.trace.note("reconcile");
        let (reply, _answer) = oneshot::channel();
        self.ear.request(Request::Reconcile {
            root: None,
            accept_empty: false,
            reply,
        });
    }

    // Peace.

    /// Programs rest, nothing goes wrong: a named recovery point of it is what the disk shows, and so is the
    /// mirror.
    fn checkpoint(&mut self) {
        *locked(&self.rest) = true;
        self.checkpoints += 1;
        let name = format!("checkpoint {}", self.checkpoints);
        let (reply, mut answer) = oneshot::channel();
        self.ear.request(Request::Barrier {
            applied: false,
            checkpoint: Some(name.clone()),
            reply,
        });
        let until = clock::now() + CONVERGES;
        let sequence = loop {
            if clock::now() >= until {
                panic!("{name} was not reached: {}", self.report());
            }
            self.pass(Duration::from_millis(100));
            match answer.try_recv() {
                Ok(passed) => break passed.unwrap(),
                Err(oneshot::error::TryRecvError::Empty) => {}
                Err(closed) => panic!("{name}: {closed}"),
            }
        };
        self.trace.note(format!("{name} is batch {}", sequence.0));
        self.compare(sequence, &name);
        *locked(&self.rest) = false;
    }

    /// How the pipeline stands, as `everwrite status` says it.
    fn report(&mut self) -> String {
        let (reply, mut answer) = oneshot::channel();
        self.ear.request(Request::Report(reply));
        self.pass(Duration::from_secs(1));
        let report = answer.try_recv();
        report.map_or_else(
            |error| error.to_string(),
            |report| {
                format!(
                    "{:#?} {:#?} {:#?}",
                    report.roots, report.uplink, report.scan
                )
            },
        )
    }

    fn compare(&mut self, sequence: SequenceNumber, name: &str) {
        let until = clock::now() + CONVERGES;
        loop {
            let store = self.machine.store();
            if store.is_some_and(|store| store.applied() >= sequence) {
                break;
            }
            assert!(clock::now() < until, "{name} was not applied");
            self.pass(Duration::from_millis(100));
        }
        judge::mirror_is_the_tree(self, name);
        judge::history_is(self, sequence, name);
    }

    fn end(mut self) {
        self.coordinator = None;
        self.machine.kill();
    }
}

/// As the shim does: until it may go on, or for as long as it ever waits.
async fn wait(intake: &Intake) {
    for _ in 0..HOLD_MS_MAX {
        if !intake.is_holding() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

pub(crate) fn root() -> &'static str {
    ROOT
}

fn locked<T>(it: &Mutex<T>) -> MutexGuard<'_, T> {
    it.lock().unwrap_or_else(PoisonError::into_inner)
}

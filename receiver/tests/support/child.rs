//! A child of a test, which stores and applies batches as fast as it can and tells what was
//! acknowledged, until it is killed.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use everwrite_receiver::store::{Settings, SourceStore, StoreEvent};

use super::generate::{Generator, Step};
use super::model::{Model, Tree};
pub(crate) use super::random::Random;
use super::{Batch, LONG, SOURCE, catch_up, compare, open_with, send};

const CHILD: &str = "EVERWRITE_TEST_STORE_TO_WRITE";
/// What a [`Manner`] is in the child.
const CONTENT: (&str, u64) = ("EVERWRITE_TEST_CONTENT", 0);
const SETTLES: (&str, u64) = ("EVERWRITE_TEST_SETTLES", 8);
const DIES_AFTER: (&str, u64) = ("EVERWRITE_TEST_DIES_AFTER", 0);
const DIES_US: (&str, u64) = ("EVERWRITE_TEST_DIES_US", 0);
/// What a child says of what it has found.
const FOUND: &str = "found ";
/// How many times the child is killed; another number by this variable.
pub(crate) const ROUNDS: (&str, u64) = ("EVERWRITE_TEST_KILLS", 25);
/// Where the log's segments are closed: each run comes to several.
const SEGMENT_BYTES: (&str, u64) = ("EVERWRITE_TEST_SEGMENT_BYTES", 48 << 10);
/// Another seed by this variable.
pub(crate) const SEED: (&str, u64) = ("EVERWRITE_TEST_SEED", 1);

/// A number that the environment may change.
pub(crate) fn setting((variable, default): (&str, u64)) -> u64 {
    std::env::var(variable).map_or(default, |value| value.parse().expect("a number"))
}

/// What a child stores, and how.
#[derive(Clone, Copy)]
pub(crate) struct Manner {
    /// Which batches.
    pub(crate) content: u64,
    /// After so many it waits until they are stored.
    pub(crate) settles: u64,
    /// After how many acknowledgements it kills itself, and after how many microseconds more: then what came
    /// meanwhile is being written, and not synced yet. 0: it is killed from outside, which takes longer.
    pub(crate) dies: (u64, u64),
}

impl Manner {
    pub(crate) const USUAL: Self = Self {
        content: CONTENT.1,
        settles: SETTLES.1,
        dies: (DIES_AFTER.1, DIES_US.1),
    };

    pub(crate) fn of_environment() -> Self {
        Self {
            content: setting(CONTENT),
            settles: setting(SETTLES),
            dies: (setting(DIES_AFTER), setting(DIES_US)),
        }
    }
}

/// Batches are the same in every run of the same content: numbers from numbers.
pub(crate) struct Batches {
    content: u64,
    generator: Generator,
    model: Model,
    sequence: u64,
}

impl Batches {
    pub(crate) fn new(content: u64) -> Self {
        Self {
            content,
            generator: Generator::default(),
            model: Model::default(),
            sequence: 0,
        }
    }

    /// The number of the last one.
    pub(crate) fn sequence(&self) -> u64 {
        self.sequence
    }

    /// What is true after the last one.
    pub(crate) fn tree(&self) -> Tree {
        self.model.tree()
    }

    pub(crate) fn next(&mut self) -> (u64, Batch) {
        self.sequence += 1;
        let mut random = Random(self.sequence + (self.content << 32));
        let count = random.below(14);
        let step =
            |random: &mut Random| -> Step { std::array::from_fn(|_| random.below(65_536) as u16) };
        let steps: Vec<Step> = (0..count).map(|_| step(&mut random)).collect();
        let batch = self.generator.batch(&self.model, &steps);
        self.model.apply(&batch);
        (self.sequence, batch)
    }
}

fn settings() -> Settings {
    Settings {
        segment_bytes: setting(SEGMENT_BYTES),
        ..Settings::default()
    }
}

/// What the child does, for ever; in the parent, nothing.
pub(crate) fn work() {
    let Some(directory) = std::env::var_os(CHILD) else {
        return;
    };
    let manner = Manner::of_environment();
    let (acknowledged, death) = (AtomicU64::new(0), death(manner.dies.1));
    let events = move |event| {
        if let StoreEvent::Stored(sequence) = event {
            tell(&format!("stored {}", sequence.0));
            if acknowledged.fetch_add(1, Relaxed) + 1 == manner.dies.0 {
                death.send(()).unwrap();
            }
        }
    };
    let store = SourceStore::open_with(settings(), Path::new(&directory), SOURCE, events).unwrap();
    let mut batches = Batches::new(manner.content);
    let stored = store.stored().0;
    while batches.sequence < stored {
        batches.next();
    }
    // The harness has begun a line of its own. What a welcome would say is acknowledged, too.
    tell(&format!("\nfound {stored}"));
    tell("ready");
    std::thread::scope(|scope| {
        // Somebody always waits for the mirror, so it is nearly always being changed.
        scope.spawn(|| while store.catch_up(LONG) {});
        loop {
            let (sequence, batch) = batches.next();
            send(&store, sequence, &batch);
            if sequence % manner.settles == 0 {
                store.settle(LONG);
            }
        }
    });
}

/// Who kills the child, so many microseconds after it was asked to.
fn death(after_us: u64) -> mpsc::Sender<()> {
    let (asked, wait) = mpsc::channel();
    std::thread::spawn(move || {
        if wait.recv().is_ok() {
            let until = Instant::now() + Duration::from_micros(after_us);
            while Instant::now() < until {
                std::hint::spin_loop();
            }
            let (this, signal) = (rustix::process::getpid(), rustix::process::Signal::KILL);
            rustix::process::kill_process(this, signal).unwrap();
        }
    });
    asked
}

/// Ends the child once nobody listens any more.
fn tell(line: &str) {
    let mut out = std::io::stdout().lock();
    if writeln!(out, "{line}").and_then(|()| out.flush()).is_err() {
        std::process::exit(1);
    }
}

fn spawn(directory: &Path, manner: Manner) -> Child {
    let mut command = Command::new(std::env::current_exe().unwrap());
    become_child(&mut command, directory, manner);
    let command = command.stdout(Stdio::piped()).stderr(Stdio::inherit());
    command.spawn().unwrap()
}

/// What a command that runs this test is to be told, to be the child.
pub(crate) fn become_child(command: &mut Command, directory: &Path, manner: Manner) {
    command
        .args(["child", "--exact", "--nocapture", "--test-threads=1"])
        .env(CHILD, directory)
        .env(CONTENT.0, manner.content.to_string())
        .env(SETTLES.0, manner.settles.to_string())
        .env(DIES_AFTER.0, manner.dies.0.to_string())
        .env(DIES_US.0, manner.dies.1.to_string());
}

/// Lets a child work until it acknowledged a few batches and a moment longer; tells the last one that
/// it acknowledged. `told` hears each of them at once, and whether the child has found it when it began.
pub(crate) fn run_and_kill(
    directory: &Path,
    manner: Manner,
    random: &mut Random,
    told: impl Fn(u64, bool) + Send + 'static,
) -> u64 {
    let mut child = spawn(directory, manner);
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let (tell, lines_told) = mpsc::channel();
    let reader = std::thread::spawn(move || {
        for line in lines.map_while(Result::ok) {
            told(number(&line), line.starts_with(FOUND));
            drop(tell.send(line));
        }
    });
    let deadline = Instant::now() + LONG;
    let wait =
        |limit: Instant| lines_told.recv_timeout(limit.saturating_duration_since(Instant::now()));
    let mut acknowledged = 0;
    loop {
        let line = wait(deadline).expect("the child gets ready");
        if line == "ready" {
            break;
        }
        acknowledged = number(&line).max(acknowledged);
    }
    let moment = if manner.dies.0 > 0 {
        deadline
    } else {
        for _ in 0..random.below(12) {
            acknowledged = number(&wait(deadline).expect("the child goes on")).max(acknowledged);
        }
        Instant::now() + Duration::from_micros(random.below(30_000))
    };
    while let Ok(line) = wait(moment) {
        acknowledged = number(&line).max(acknowledged);
    }
    assert!(Instant::now() < deadline, "the child dies");
    child.kill().unwrap();
    child.wait().unwrap();
    reader.join().unwrap();
    lines_told
        .iter()
        .fold(acknowledged, |last, line| number(&line).max(last))
}

/// The batch that such a line is about. Lines of the test's own machinery are 0.
pub(crate) fn number(line: &str) -> u64 {
    line.strip_prefix("stored ")
        .or_else(|| line.strip_prefix(FOUND))
        .and_then(|number| number.parse().ok())
        .unwrap_or(0)
}

/// Checks stores after each crash.
pub(crate) struct Checker {
    batches: Batches,
    trees: Vec<Tree>,
}

impl Checker {
    /// Of stores that hold what [`Manner::content`] says.
    pub(crate) fn new(content: u64) -> Self {
        let batches = Batches::new(content);
        let trees = vec![batches.model.tree()];
        Self { batches, trees }
    }

    /// How many batches were stored.
    pub(crate) fn batches(&self) -> u64 {
        self.batches.sequence
    }

    /// Opens the store, finds everything acknowledged in it, mirror and history as they should be.
    /// Gives the last batch stored.
    pub(crate) fn check(
        &mut self,
        directory: &Path,
        acknowledged: u64,
        random: &mut Random,
    ) -> u64 {
        let store = open_with(settings(), directory);
        let stored = store.stored().0;
        assert!(
            stored >= acknowledged,
            "{stored} stored, {acknowledged} acknowledged"
        );
        while self.batches.sequence < stored {
            self.batches.next();
            self.trees.push(self.batches.model.tree());
        }
        catch_up(&store, stored);
        let source = directory.join("src").join(SOURCE.to_string());
        compare::nothing_refused(&source);
        compare::mirror(&source.join("mirror"), &self.trees[stored as usize]);
        for _ in 0..4 {
            let at = random.below(stored + 1);
            compare::history(&store, at, &self.trees[at as usize]);
        }
        stored
    }
}

//! A store whose process is killed at any moment loses nothing that it acknowledged, and its mirror and
//! history are whole once it is opened again.
//!
//! The test runs itself as a child, which stores and applies batches as fast as it can and tells what
//! was acknowledged; it is killed in the middle of that, again and again, on the same store.

mod support;

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use everwrite_receiver::store::{SourceStore, StoreEvent};
use support::generate::{Generator, Step};
use support::model::Model;
use support::{Batch, LONG, SOURCE, catch_up, compare, open, scratch, send};

const CHILD: &str = "EVERWRITE_TEST_STORE_TO_WRITE";
/// How many times the child is killed; another number by this variable.
const ROUNDS: (&str, u64) = ("EVERWRITE_TEST_KILLS", 25);
/// Another seed by this variable.
const SEED: (&str, u64) = ("EVERWRITE_TEST_SEED", 1);

fn setting((variable, default): (&str, u64)) -> u64 {
    std::env::var(variable).map_or(default, |value| value.parse().expect("a number"))
}

/// The batches are the same in every run: numbers from numbers.
struct Batches {
    generator: Generator,
    model: Model,
    sequence: u64,
}

impl Batches {
    fn new() -> Self {
        Self {
            generator: Generator::default(),
            model: Model::default(),
            sequence: 0,
        }
    }

    fn next(&mut self) -> (u64, Batch) {
        self.sequence += 1;
        let mut random = Random(self.sequence);
        let count = random.below(14);
        let step =
            |random: &mut Random| -> Step { std::array::from_fn(|_| random.below(65_536) as u16) };
        let steps: Vec<Step> = (0..count).map(|_| step(&mut random)).collect();
        let batch = self.generator.batch(&self.model, &steps);
        self.model.apply(&batch);
        (self.sequence, batch)
    }
}

struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % limit
    }
}

/// Not a test of its own: what the child does, for ever.
#[test]
fn child() {
    let Some(directory) = std::env::var_os(CHILD) else {
        return;
    };
    let events = |event| {
        if let StoreEvent::Stored(sequence) = event {
            tell(&format!("stored {}", sequence.0));
        }
    };
    let store = SourceStore::open(Path::new(&directory), SOURCE, events).unwrap();
    let mut batches = Batches::new();
    let stored = store.stored().0;
    while batches.sequence < stored {
        batches.next();
    }
    // The harness has begun a line of its own.
    tell("\nready");
    std::thread::scope(|scope| {
        // Somebody always waits for the mirror, so it is nearly always being changed.
        scope.spawn(|| while store.catch_up(LONG) {});
        loop {
            let (sequence, batch) = batches.next();
            send(&store, sequence, &batch);
            if sequence % 8 == 0 {
                store.settle(LONG);
            }
        }
    });
}

/// Ends the child once nobody listens any more.
fn tell(line: &str) {
    let mut out = std::io::stdout().lock();
    if writeln!(out, "{line}").and_then(|()| out.flush()).is_err() {
        std::process::exit(1);
    }
}

fn spawn(directory: &Path) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["child", "--exact", "--nocapture", "--test-threads=1"])
        .env(CHILD, directory)
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .unwrap()
}

/// Lets a child work until it acknowledged a few batches and a moment longer; tells the last one that
/// it acknowledged.
fn run_and_kill(directory: &Path, random: &mut Random) -> u64 {
    let mut child = spawn(directory);
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let (told, lines_told) = mpsc::channel();
    let reader = std::thread::spawn(move || {
        lines
            .map_while(Result::ok)
            .for_each(|line| drop(told.send(line)));
    });
    let deadline = Instant::now() + LONG;
    let wait =
        |limit: Instant| lines_told.recv_timeout(limit.saturating_duration_since(Instant::now()));
    while wait(deadline).expect("the child gets ready") != "ready" {}
    let mut acknowledged = 0;
    for _ in 0..random.below(12) {
        acknowledged = number(&wait(deadline).expect("the child goes on")).max(acknowledged);
    }
    let moment = Instant::now() + Duration::from_micros(random.below(30_000));
    while let Ok(line) = wait(moment) {
        acknowledged = number(&line).max(acknowledged);
    }
    child.kill().unwrap();
    child.wait().unwrap();
    reader.join().unwrap();
    lines_told
        .iter()
        .fold(acknowledged, |last, line| number(&line).max(last))
}

/// Lines of the test's own machinery are 0.
fn number(line: &str) -> u64 {
    line.strip_prefix("stored ")
        .and_then(|number| number.parse().ok())
        .unwrap_or(0)
}

#[test]
fn nothing_acknowledged_is_lost() {
    let directory = scratch();
    let source = directory.path().join("src").join(SOURCE.to_string());
    let (rounds, mut random) = (setting(ROUNDS), Random(setting(SEED)));
    let mut batches = Batches::new();
    let mut trees = vec![batches.model.tree()];
    let mut in_between = 0;
    for round in 0..rounds {
        let acknowledged = run_and_kill(directory.path(), &mut random);
        in_between += u64::from(std::fs::read(source.join("apply.lock")).unwrap() == [1]);
        let store = open(directory.path());
        let stored = store.stored().0;
        assert!(
            stored >= acknowledged,
            "round {round}: {stored} stored, {acknowledged} acknowledged"
        );
        while batches.sequence < stored {
            batches.next();
            trees.push(batches.model.tree());
        }
        catch_up(&store, stored);
        compare::nothing_refused(&source);
        compare::mirror(&source.join("mirror"), &trees[stored as usize]);
        for _ in 0..4 {
            let at = random.below(stored + 1);
            compare::history(&store, at, &trees[at as usize]);
        }
    }
    assert!(
        batches.sequence > rounds,
        "the children did store something"
    );
    println!(
        "{in_between} of {rounds} kills met a mirror in between, {} batches",
        batches.sequence
    );
    assert!(in_between > 0, "some kills met the mirror in between");
}

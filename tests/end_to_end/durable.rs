//! Remote-durable fsync: what a program was told to be durable is at the receiver, whatever becomes of the
//! source.

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Stdio};
use std::time::{Duration, Instant};

use everwrite_protocol::control::State;
use harness::{DEADLINE, Pair, Place, Receiver, Source, wait_until};
use rustix::process::{Pid, Signal, kill_process};

/// Longest time from a writer's start to the blow.
const BLOW_MAX: Duration = Duration::from_millis(400);
const ROUNDS: usize = 8;

/// Appends a number, makes it durable by turns in all ways, says it; again and again, or `count` times.
/// What fails is said, too.
const WRITER: &str = r#"
import ctypes, mmap, os, sys
libc = ctypes.CDLL(None)
fd = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT | os.O_APPEND)
through = os.open(sys.argv[1], os.O_WRONLY | os.O_APPEND | os.O_DSYNC)
directory = os.open(os.path.dirname(sys.argv[1]), os.O_RDONLY)
def after_write(sync):
    return lambda line: (os.write(fd, line), sync(fd))
def store(line):
    os.write(fd, b"." * len(line))
    with mmap.mmap(fd, 0) as memory:
        memory[-len(line):] = line
        memory.flush()
ways = [
    after_write(os.fsync),
    after_write(os.fdatasync),
    lambda line: os.write(through, line),
    lambda line: os.writev(through, [line]),
    lambda line: os.pwritev(fd, [line], 0, os.RWF_DSYNC),
    store,
]
if os.uname().machine == "x86_64":
    ways.append(after_write(lambda fd: libc.syscall(74, fd)))
for number in range(int(sys.argv[2])):
    line = b"%08d\n" % number
    try:
        ways[number % len(ways)](line)
        if number % 2: os.fsync(directory)
        print(number, flush=True)
    except OSError as error:
        print(error.strerror, flush=True)
"#;

struct Writer {
    child: Child,
    words: BufReader<ChildStdout>,
}

impl Writer {
    fn start(pair: &Pair, file: &Path, count: u64) -> Self {
        let mut command = pair.source.command();
        command
            .args(["run", "--", "python3", "-c", WRITER])
            .arg(file);
        command.arg(count.to_string()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let words = BufReader::new(child.stdout.take().unwrap());
        Self { child, words }
    }

    /// The next thing that it says.
    fn word(&mut self) -> String {
        let mut line = String::new();
        self.words.read_line(&mut line).unwrap();
        line.trim().to_owned()
    }

    /// What it said until its end.
    fn said(mut self) -> Vec<String> {
        let said = self.words.by_ref().lines().map(Result::unwrap).collect();
        self.child.wait().unwrap();
        said
    }
}

/// A receiver, and a directory whose fsync waits for it.
fn durable(settings: &str) -> Pair {
    let place = Place::new();
    let receiver = Receiver::start(&place, "store");
    let source = Source::start_configured(&place, "home", settings);
    source.pair(&receiver.pairing_code());
    let tree = place.directory("tree");
    protect(&source, &tree, Pair::ROOT, &["--durable-fsync"]);
    Pair {
        source,
        receiver,
        tree,
        place,
    }
}

fn protect(source: &Source, tree: &Path, root: &str, more: &[&str]) {
    let mut command = source.command();
    command
        .arg("protect")
        .arg(tree)
        .args(["--name", root, "--no-wait"]);
    harness::run(command.args(more)).success();
    source.wait_continuous();
}

/// The numbers that the receiver has, with the source dead.
fn numbers_at_the_receiver(pair: &Pair, ledger: &str) -> Vec<u64> {
    let to: PathBuf = pair.place.path().join("restored");
    let id = pair.source_id();
    pair.receiver
        .store()
        .restore(&id, &format!("tree/{ledger}"), "newest", &to)
        .success();
    let text = std::fs::read_to_string(to.join(ledger)).unwrap();
    let numbers = text.lines().map(|line| line.parse().unwrap());
    numbers.collect()
}

fn kill_all(pair: &mut Pair, writer: &Writer) {
    let first = pair.place.seed.below(3);
    for victim in 0..3 {
        match (first + victim) % 3 {
            0 => pair.source.kill(),
            1 => pair.receiver.kill(),
            _ => {
                let pid = Pid::from_raw(writer.child.id().cast_signed()).unwrap();
                kill_process(pid, Signal::KILL).unwrap();
            }
        }
    }
}

/// Program, coordinator and receiver are killed one right after the other, in any order; what the receiver's
/// disk has is looked at before any of them comes back.
#[test]
fn what_was_durable_survives_the_source() {
    let mut pair = durable("[durable_fsync]\non_timeout = \"fail\"");
    let mut said = 0;
    for round in 0..ROUNDS {
        let ledger = format!("ledger-{round}");
        let mut writer = Writer::start(&pair, &pair.tree.join(&ledger), u64::MAX >> 8);
        let first = writer.word();
        pair.place.seed.moment(BLOW_MAX);
        kill_all(&mut pair, &writer);
        let told: Vec<u64> = [first]
            .iter()
            .chain(&writer.said())
            .filter_map(|word| word.parse().ok())
            .collect();
        if let Some(last) = told.last() {
            let stored = numbers_at_the_receiver(&pair, &ledger);
            assert!(
                stored.len() as u64 > *last && stored.iter().copied().eq(0..stored.len() as u64),
                "durable up to {last}, stored {} lines: {:?}",
                stored.len(),
                stored.last()
            );
            said += told.len();
        }
        pair.receiver.start_again();
        pair.source.start_again();
        pair.source.wait_continuous();
    }
    println!("{said} calls of fsync in {ROUNDS} rounds");
    assert!(said > 0, "nothing was ever durable");
}

/// Without a receiver it goes on after its time, and that is shown.
#[test]
fn who_has_waited_long_enough_goes_on() {
    let mut pair = durable("[durable_fsync]\ntimeout_ms = 300");
    pair.receiver.kill();
    let began = Instant::now();
    let said = Writer::start(&pair, &pair.tree.join("ledger"), 3).said();
    assert_eq!(said, ["0", "1", "2"]);
    assert!(
        began.elapsed() >= Duration::from_millis(900),
        "it did not wait"
    );
    wait_until("it is counted", || {
        pair.source.status().capture.shim.late_syncs >= 3
    });
    // It can't fail, and waits all the same.
    pair.run("python3 -c 'import os; open(\"more\", \"w\").write(\"more\"); os.sync()'");
    wait_until("sync(2) is counted", || {
        pair.source.status().capture.shim.late_syncs >= 4
    });
    pair.receiver.start_again();
    pair.source.everwrite(["sync"]).success();
    let status = pair.source.wait_state(State::Degraded);
    assert!(
        status.roots[0].reason.contains("fsync"),
        "{}",
        status.roots[0].reason
    );
}

#[test]
fn who_has_waited_long_enough_fails_where_that_is_wanted() {
    let mut pair = durable("[durable_fsync]\ntimeout_ms = 300\non_timeout = \"fail\"");
    let ledger = pair.tree.join("ledger");
    assert_eq!(Writer::start(&pair, &ledger, 1).said(), ["0"]);
    pair.receiver.kill();
    let said = Writer::start(&pair, &ledger, 2).said();
    assert_eq!(said, ["Input/output error"; 2]);
    // Nobody is there to ask any more.
    pair.source.kill();
    assert_eq!(
        Writer::start(&pair, &ledger, 1).said(),
        ["Input/output error"]
    );
}

/// Neither another root nor what is not protected waits.
#[test]
fn others_do_not_wait() {
    let mut pair = durable("[durable_fsync]\ntimeout_ms = 60000");
    let (other, outside) = (
        pair.place.directory("other"),
        pair.place.directory("outside"),
    );
    protect(&pair.source, &other, "other", &[]);
    let file = other.join("file");
    // It is known in which root it lies.
    assert_eq!(Writer::start(&pair, &file, 1).said(), ["0"]);
    pair.source.everwrite(["sync"]).success();
    pair.receiver.kill();
    let began = Instant::now();
    for file in [file, outside.join("file")] {
        assert_eq!(Writer::start(&pair, &file, 3).said(), ["0", "1", "2"]);
    }
    assert!(
        began.elapsed() < DEADLINE,
        "somebody waited for the receiver"
    );
    let late = pair.source.status().capture.shim.late_syncs;
    assert_eq!(late, 0);
}

/// One thread's fsync in a root that waits for no receiver does not let another's return that has to. (It may
/// have to wait for that itself.)
#[test]
fn what_one_thread_need_not_wait_for_is_no_answer_for_another() {
    let mut pair = durable("[durable_fsync]\ntimeout_ms = 500\non_timeout = \"fail\"");
    let other = pair.place.directory("other");
    protect(&pair.source, &other, "other", &[]);
    pair.run("echo known > waits");
    pair.source.run(&other, "echo known > goes-on");
    pair.source.everwrite(["sync"]).success();
    pair.receiver.kill();
    let script = r#"
import os, sys, threading
files = [os.open(path, os.O_WRONLY | os.O_APPEND) for path in sys.argv[1:]]
for file in files: os.write(file, b"more\n")
ends = []
def sync(file):
    try:
        os.fsync(file)
        return "stored"
    except OSError: return "failed"
first = threading.Thread(target=lambda: ends.append(sync(files[0])))
first.start()
while first.is_alive(): sync(files[1])
print(ends, flush=True)
"#;
    let mut command = pair.source.command();
    command.args(["run", "--", "python3", "-c", script]);
    command
        .arg(pair.tree.join("waits"))
        .arg(other.join("goes-on"));
    let said = harness::run(&mut command).success().text();
    assert_eq!(said.trim(), "['failed']");
}

//! Programs wait while a cut is finished, and never for longer than they may.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Stdio};
use std::time::{Duration, Instant};

use crate::ear::Ear;

/// Longer than any test takes.
const LONG: Duration = Duration::from_secs(1);
/// A word from a program that waits for nothing comes within this.
const PROMPT: Duration = Duration::from_millis(500);

/// Does what it is told, a call for each line, and says when it is done.
const PROGRAM: &str = "import os, sys
fd = os.open('file', os.O_RDWR | os.O_CREAT)
out = os.open('../outside', os.O_RDWR | os.O_CREAT)
calls = {
    'pwrite': lambda: os.pwrite(fd, b'x' * 10, 0), 'write': lambda: os.write(fd, b'y'),
    'rename': lambda: os.rename('file', 'other'), 'truncate': lambda: os.ftruncate(fd, 5),
    'read': lambda: os.pread(fd, 5, 0), 'sync': lambda: os.fsync(fd), 'outside': lambda: os.write(out, b'z'),
}
calls['outside'](); calls['pwrite']()
print('ready', flush=True)
for line in sys.stdin:
    calls[line.strip()]()
    print(line.strip(), flush=True)
";

/// The program, told what to do through a pipe.
struct Program {
    child: Child,
    orders: ChildStdin,
    words: BufReader<ChildStdout>,
}

impl Program {
    fn start(ear: &Ear) -> Self {
        let mut command = ear.command("python3");
        let piped = command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = piped.arg("-c").arg(PROGRAM).spawn().unwrap();
        let words = BufReader::new(child.stdout.take().unwrap());
        let mut program = Self {
            orders: child.stdin.take().unwrap(),
            child,
            words,
        };
        assert_eq!(program.word(), "ready");
        program
    }

    fn order(&mut self, call: &str) {
        writeln!(self.orders, "{call}").unwrap();
    }

    fn word(&mut self) -> String {
        let mut line = String::new();
        self.words.read_line(&mut line).unwrap();
        line.trim().to_owned()
    }

    /// How long the call took.
    fn time_of(&mut self, call: &str) -> Duration {
        let began = Instant::now();
        self.order(call);
        assert_eq!(self.word(), call);
        began.elapsed()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn who_is_about_to_change_something_waits() {
    let ear = Ear::new();
    let mut program = Program::start(&ear);
    for call in ["pwrite", "write", "truncate", "rename"] {
        let hold = ear.intake.as_ref().unwrap().hold(LONG);
        let held = std::thread::scope(|scope| {
            let waiting = scope.spawn(|| program.time_of(call));
            while hold.lasted() < Duration::from_millis(50) {
                std::thread::yield_now();
            }
            assert!(!waiting.is_finished(), "{call} did not wait");
            drop(hold);
            waiting.join().unwrap()
        });
        assert!(held < PROMPT, "{call} was not woken: {held:?}");
    }
}

#[test]
fn who_changes_nothing_goes_on() {
    let ear = Ear::new();
    let mut program = Program::start(&ear);
    let hold = ear.intake.as_ref().unwrap().hold(LONG);
    let times = ["read", "sync", "outside"].map(|call| (call, program.time_of(call)));
    assert!(hold.lasted() < LONG, "{times:?}");
}

/// As when a coordinator is killed in the middle of a cut: nobody lets go.
#[test]
fn nobody_waits_for_ever() {
    let ear = Ear::new();
    let mut program = Program::start(&ear);
    let longest = Duration::from_millis(200);
    std::mem::forget(ear.intake.as_ref().unwrap().hold(longest));
    let first = program.time_of("pwrite");
    assert!(first < PROMPT && first > longest / 2, "{first:?}");
    let began = Instant::now();
    for _ in 0..100 {
        program.time_of("pwrite");
    }
    assert!(
        began.elapsed() < PROMPT,
        "each call waited: {:?}",
        began.elapsed()
    );
}

/// A new coordinator takes over a page that still says "wait".
#[test]
fn a_new_coordinator_lets_go() {
    let mut ear = Ear::new();
    let mut program = Program::start(&ear);
    std::mem::forget(ear.intake.as_ref().unwrap().hold(LONG));
    ear.stop();
    ear.start();
    assert!(program.time_of("pwrite") < PROMPT);
}

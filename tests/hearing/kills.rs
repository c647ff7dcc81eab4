//! SIGKILL at any moment: what was written was heard, to the byte.

use std::process::{Command, Stdio};
use std::time::Duration;

use everwrite_coordinatord::intake::What;
use harness::kills;

use crate::difference::missed;
use crate::ear::Ear;

/// Of all rounds those in which a process may die between asking for a segment and its first word: then
/// everything is to be looked at, as nobody knows why it said nothing.
const SPEECHLESS_SHARE_MAX: u32 = 5;

/// Kills what `command` gives at a moment that the seed chooses, again and again.
fn kill_and_compare(command: impl Fn(&Ear) -> Command) {
    let mut ear = Ear::new();
    let (rounds, mut speechless) = (kills() / 5, 0);
    for round in 0..rounds {
        if round % 10 == 0 {
            ear.shell("rm -f -- *");
            ear.said();
        }
        let (before, lost) = (ear.snapshot(), ear.lost());
        let mut child = command(&ear).stdout(Stdio::null()).spawn().unwrap();
        ear.place.seed.moment(Duration::from_millis(60));
        child.kill().unwrap();
        child.wait().unwrap();
        let said = ear.said();
        let missed = missed(&before, &ear.snapshot(), &said);
        let told = said.contains(&What::Everything);
        assert_eq!(told, ear.lost() > lost);
        speechless += u32::from(told);
        assert!(told || missed.is_empty(), "{missed:#?}\nheard: {said:#?}");
    }
    assert!(
        speechless <= rounds / SPEECHLESS_SHARE_MAX,
        "{speechless} of {rounds}"
    );
}

#[test]
fn a_copy_is_killed() {
    kill_and_compare(|ear| {
        let mut command = ear.command("dd");
        command.args([
            "if=/dev/urandom",
            "of=file",
            "bs=700",
            "count=100000",
            "status=none",
        ]);
        command
    });
}

#[test]
fn an_appending_writer_is_killed() {
    kill_and_compare(|ear| {
        let mut command = ear.command("dd");
        command.args([
            "if=/dev/urandom",
            "of=log",
            "bs=300",
            "status=none",
            "count=100000",
        ]);
        command.args(["oflag=append", "conv=notrunc"]);
        command
    });
}

#[test]
fn threads_that_write_everywhere_are_killed() {
    let script = "
import os, random, threading
def work():
    fd = os.open('file', os.O_RDWR | os.O_CREAT)
    while True: os.pwrite(fd, os.urandom(random.randrange(1, 900)), random.randrange(200000))
for _ in range(3): threading.Thread(target=work).start()";
    kill_and_compare(|ear| {
        let mut command = ear.command("python3");
        command.arg("-c").arg(script);
        command
    });
}

#[test]
fn names_that_come_and_go_are_killed() {
    let script = "
import os
n = 0
while True:
    n += 1
    with open(f't{n % 50}', 'w') as f: f.write(str(n))
    os.rename(f't{n % 50}', f'n{n % 37}')
    if n % 3 == 0: os.unlink(f'n{n % 37}')";
    kill_and_compare(|ear| {
        let mut command = ear.command("python3");
        command.arg("-c").arg(script);
        command
    });
}

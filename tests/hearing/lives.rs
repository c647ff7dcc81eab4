//! What processes go through: fork, exec, many at once, ends of all kinds.

use std::io::{Read, Write};
use std::process::Stdio;

use everwrite_coordinatord::intake::What;
use harness::run;

use crate::ear::Ear;

#[test]
fn a_storm_of_short_processes() {
    Ear::new().hears_all_of(|ear| {
        ear.shell("for i in $(seq 150); do sh -c \"echo $i > f$i\" & done; wait");
    });
}

#[test]
fn many_processes_write_one_file() {
    Ear::new().hears_all_of(|ear| {
        ear.shell(
            "for i in 1 2 3 4 5 6 7 8; do
               (for j in $(seq 40); do printf \"$i.$j \" >> log; printf $i | dd of=fixed bs=1 \
                 seek=$((i * 40 + j)) conv=notrunc status=none; done) & done; wait",
        );
    });
}

#[test]
fn an_image_that_is_replaced() {
    Ear::new().hears_all_of(|ear| {
        ear.shell("exec 3> a; printf one >&3; exec sh -c 'printf two >&3; exec dd if=/proc/uptime of=b status=none'");
    });
}

#[test]
fn children_share_the_offset_of_their_parent() {
    Ear::new().hears_all_of(|ear| {
        ear.shell("{ printf one; sh -c 'printf two'; (printf three); printf four; } > a");
    });
}

#[test]
fn a_program_that_ends_without_closing() {
    let script = "import os; fd = os.open('a', os.O_WRONLY | os.O_CREAT)
for i in range(3): os.write(fd, b'x' * 1000)
os._exit(0)";
    let mut ear = Ear::new();
    ear.hears_all_of(|ear| drop(run(ear.command("python3").arg("-c").arg(script)).success()));
}

/// A child that only ends has nothing to say of what its parent writes to.
#[test]
fn a_child_ends_with_a_file_that_its_parent_writes_to() {
    let script = "import os, sys; fd = os.open('a', os.O_WRONLY | os.O_CREAT)
os.write(fd, b'one')
if os.fork() == 0: sys.exit()
os.wait()
if os.fork() == 0: os.close(fd); os._exit(0)
os.wait(); os.write(fd, b'two')";
    let mut ear = Ear::new();
    ear.hears_all_of(|ear| drop(run(ear.command("python3").arg("-c").arg(script)).success()));
}

#[test]
fn who_it_was_is_known() {
    let mut ear = Ear::new();
    ear.said();
    ear.shell("dd if=/proc/uptime of=a status=none");
    let heard = ear.heard();
    let write = heard
        .iter()
        .find(|hint| matches!(hint.what, What::Write { .. }))
        .unwrap();
    let origin = ear.intake.as_ref().unwrap().origin(write.origin);
    assert_eq!(origin.program, "dd");
    assert!(origin.executable.ends_with("/dd"), "{origin:?}");
    assert!(origin.pid > 0 && origin.started_ticks > 0);
}

#[test]
fn processes_that_have_ended_leave_nothing_behind() {
    let mut ear = Ear::new();
    ear.shell("for i in $(seq 20); do sh -c \"echo $i > f$i\"; done");
    ear.said();
    assert_eq!(ear.intake.as_ref().unwrap().statistics().processes, 0);
}

#[test]
fn a_mapping_ends_when_nobody_has_it_any_more() {
    let script = "
import mmap, os, sys
def step(): sys.stdout.write('x'); sys.stdout.flush(); sys.stdin.read(1)
with open('a', 'r+b') as f: m = mmap.mmap(f.fileno(), 0)
m[0:4] = b'here'; m.flush(); step()
if os.fork() == 0: os._exit(0)
os.wait(); m[8:12] = b'more'; m.close(); step()";
    let mut ear = Ear::new();
    ear.shell("head -c 9000 /dev/zero > a");
    ear.said();
    let mut command = ear.command("python3");
    command.args(["-c", script]);
    let command = command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut program = command.spawn().unwrap();
    let (mut input, mut output) = (
        program.stdin.take().unwrap(),
        program.stdout.take().unwrap(),
    );
    let mut step = [0];
    let mut next = |output: &mut dyn Read| output.read_exact(&mut step).unwrap();

    next(&mut output);
    let said = ear.said();
    assert!(
        said.iter().any(|what| matches!(what, What::Mapped { .. })),
        "{said:?}"
    );
    assert!(
        said.iter().any(|what| matches!(what, What::Write { .. })),
        "flushed: {said:?}"
    );
    assert!(
        !said
            .iter()
            .any(|what| matches!(what, What::Unmapped { .. })),
        "{said:?}"
    );
    input.write_all(b"x").unwrap();
    next(&mut output);
    let said = ear.said();
    assert!(
        said.iter()
            .any(|what| matches!(what, What::Unmapped { .. })),
        "{said:?}"
    );
    input.write_all(b"x").unwrap();
    assert!(program.wait().unwrap().success());
}

#[test]
fn a_mapping_is_heard_of_again_by_the_next_coordinator() {
    let script = "
import mmap, sys
f = open('a', 'r+b'); m = mmap.mmap(f.fileno(), 0)
def step(): sys.stdout.write('x'); sys.stdout.flush(); sys.stdin.read(1)
step(); m[0:4] = b'seen'; step()";
    let mut ear = Ear::new();
    ear.shell("head -c 9000 /dev/zero > a");
    let mut command = ear.command("python3");
    command.args(["-c", script]);
    let command = command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut program = command.spawn().unwrap();
    let (mut input, mut output) = (
        program.stdin.take().unwrap(),
        program.stdout.take().unwrap(),
    );
    let mut step = [0];
    output.read_exact(&mut step).unwrap();
    ear.stop();
    ear.start();
    ear.hears_all_of(|_| {
        input.write_all(b"x").unwrap();
        output.read_exact(&mut step).unwrap();
        input.write_all(b"x").unwrap();
        assert!(program.wait().unwrap().success());
    });
}

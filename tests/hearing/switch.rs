//! A coordinator that comes and goes, and the switch, under programs that go on.

use everwrite_coordinatord::intake::What;
use harness::{DEADLINE, wait_for, wait_until};

use crate::difference::missed;
use crate::ear::Ear;
use crate::shell::Shell;

#[test]
fn a_program_that_goes_on_is_heard_by_the_next_coordinator() {
    let mut ear = Ear::new();
    let mut shell = Shell::new(&ear);
    shell.does(&ear, "exec 3> log; printf before >&3");
    ear.said();
    ear.stop();
    shell.does(&ear, "printf unheard >&3; printf x > other");
    ear.start();
    ear.hears_all_of(|ear| shell.does(ear, "printf after >&3; printf y > third"));
    shell.ends();
}

#[test]
fn a_program_that_began_before_the_first_coordinator_is_heard() {
    let mut ear = Ear::new();
    ear.stop();
    std::fs::remove_file(ear.place.path().join("run/policy")).unwrap();
    let mut shell = Shell::new(&ear);
    shell.does(&ear, "printf unheard > a");
    ear.start();
    // It looks for a coordinator once a second; what it does before is found by the look for latecomers.
    let everything = |said: &[What]| said.contains(&What::Everything);
    wait_for("a look for latecomers", DEADLINE, || {
        everything(&ear.said()).then_some(())
    });
    ear.hears_all_of(|ear| shell.does(ear, "printf heard > b"));
    shell.ends();
}

#[test]
fn off_is_silent_and_on_is_heard_at_once() {
    let mut ear = Ear::new();
    let mut shell = Shell::new(&ear);
    shell.does(&ear, "printf one > a");
    assert!(!ear.said().is_empty());
    ear.intake.as_ref().unwrap().set_switch(false);
    shell.does(&ear, "printf two > a; mv a b");
    assert_eq!(ear.said_of_tree(), []);
    ear.intake.as_ref().unwrap().set_switch(true);
    ear.hears_all_of(|ear| shell.does(ear, "printf three >> b; mkdir c"));
    shell.ends();
}

#[test]
fn a_device_that_is_added_is_heard_at_once() {
    let mut ear = Ear::new();
    ear.intake.as_ref().unwrap().set_devices(&[]).unwrap();
    let mut shell = Shell::new(&ear);
    shell.does(&ear, "exec 3> a; printf one >&3");
    assert_eq!(ear.said_of_tree(), []);
    ear.intake
        .as_ref()
        .unwrap()
        .set_devices(&[ear.device()])
        .unwrap();
    ear.hears_all_of(|ear| shell.does(ear, "printf two >&3; printf three > b"));
    shell.ends();
}

#[test]
fn nothing_is_lost_when_the_epoch_changes_under_busy_programs() {
    let mut ear = Ear::new();
    let before = ear.snapshot();
    let mut writer = ear
        .command("sh")
        .arg("-c")
        .arg("for i in $(seq 300); do echo $i >> log; echo $i > f$i; done")
        .spawn()
        .unwrap();
    let mut said = Vec::new();
    for turn in 1..=8 {
        let mark = ear.tree.join(format!("f{}", turn * 30));
        wait_until("some progress", || mark.exists());
        let devices = [ear.device(), 1_000_000 + turn];
        ear.intake.as_ref().unwrap().set_devices(&devices).unwrap();
        said.extend(ear.said());
    }
    assert!(writer.wait().unwrap().success());
    said.extend(ear.said());
    let missed = missed(&before, &ear.snapshot(), &said);
    assert!(missed.is_empty() && ear.lost() == 0, "{missed:#?}");
}

/// Starts a coordinator anew while the first write of `program` has been announced and not made.
#[track_caller]
fn restart_during_a_call(call: &str, program: &[&str]) {
    let mut ear = Ear::new();
    ear.shell("printf old > file; mkdir directory");
    ear.said();
    let mut command = ear.command("strace");
    let delay = format!("inject={call}:delay_enter=1500000:when=1");
    command.args([
        "-f",
        "-o",
        "/dev/null",
        "-e",
        &format!("trace={call}"),
        "-e",
        &delay,
    ]);
    // Only the program is to be heard.
    let shim = format!("LD_PRELOAD={}", crate::ear::shim().display());
    let mut traced = command
        .env_remove("LD_PRELOAD")
        .args(["-E", &shim])
        .args(program)
        .spawn()
        .unwrap();
    wait_until("the announcement", || !ear.said_of_tree().is_empty());
    let before = ear.snapshot();
    ear.stop();
    ear.start();
    ear.said();
    assert!(traced.wait().unwrap().success());
    let after = ear.snapshot();
    let missed = missed(&before, &after, &ear.said());
    assert!(missed.is_empty(), "{missed:#?}");
    assert_ne!(
        before.nodes, after.nodes,
        "the call was made after the restart"
    );
}

fn traces() -> bool {
    let version = std::process::Command::new("strace").arg("-V").output();
    let there = version.is_ok_and(|output| output.status.success());
    if !there {
        harness::skip("restart during a call", "strace is not installed");
    }
    there
}

#[test]
fn a_call_that_outlives_the_coordinator_is_told_to_the_next() {
    if traces() {
        let script = "import os; os.pwrite(os.open('file', os.O_WRONLY), b'new', 10)";
        restart_during_a_call("pwrite64", &["python3", "-c", script]);
        restart_during_a_call(
            "write",
            &[
                "dd",
                "if=/etc/hostname",
                "of=file",
                "status=none",
                "conv=notrunc",
            ],
        );
        restart_during_a_call(
            "rename,renameat,renameat2",
            &["mv", "file", "directory/name"],
        );
    }
}

//! Programs that were made to find faults in file systems: every way of writing that they know is heard,
//! to the byte.

use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use everwrite_coordinatord::intake::What;
use harness::{skip, wait_until};
use rustix::process::{Pid, Signal, kill_process_group, test_kill_process_group};

use crate::difference::missed;
use crate::ear::{Ear, shim};

/// The path of a program that scripts/setup brings; `None`, and said so, when it is not there.
fn find(program: &str) -> Option<String> {
    let tools = shim().ancestors().nth(2)?.join("tools/bin");
    let paths = std::env::var_os("PATH").unwrap_or_default();
    let paths = std::env::split_paths(&paths).chain([tools, PathBuf::from("/usr/sbin")]);
    let found = paths
        .map(|path| path.join(program))
        .find(|path| path.is_file());
    if found.is_none() {
        skip(program, "not installed (scripts/setup --for-tests)");
    }
    Some(found?.display().to_string())
}

#[test]
fn fsx() {
    let Some(program) = find("fsx") else { return };
    let weights = "[weights]\\nclose_open = 3\\nwrite = 10\\nmapwrite = 0\\nmapread = 1\\ntruncate = 3\\nfsync = 1\\n\
                   posix_fallocate = 2\\npunch_hole = 3\\ncopy_file_range = 4\\n";
    for operations in [300, 3000] {
        let mut ear = Ear::new();
        let settings = ear.place.path().join("fsx.toml");
        let seed = ear.place.seed.next() >> 32;
        ear.shell("head -c 100000 /dev/urandom > file");
        ear.hears_all_of(|ear| {
            let settings = settings.display();
            let line = format!("printf '{weights}' > {settings}; {program} -q -f {settings} -N {operations} -S {seed} file");
            drop(ear.shell(&line));
        });
    }
}

/// Each of them does nothing else than to write in one way.
#[test]
fn engines_of_fio() {
    let Some(program) = find("fio") else { return };
    for engine in [
        "sync", "psync", "vsync", "pvsync", "pvsync2", "libaio", "posixaio", "splice", "mmap",
    ] {
        let mut ear = Ear::new();
        let seed = ear.place.seed.next() >> 33;
        ear.hears_all_of(|ear| {
            let line = format!(
                "{program} --name={engine} --ioengine={engine} --rw=randwrite --bsrange=4k-12k --size=300k \
                 --iodepth=4 --fallocate=none --thread --randseed={seed} --output=/dev/null"
            );
            drop(ear.shell(&line));
        });
    }
}

/// They are killed before they clean up.
#[test]
fn stressors() {
    let Some(program) = find("stress-ng") else {
        return;
    };
    for together in [
        "--rename 1 --link 1 --symlink 1",
        "--fallocate 1 --fallocate-bytes 1M --fpunch 1",
        "--hdd 1 --hdd-bytes 1M --revio 1 --revio-bytes 1M --seek 1 --seek-size 1M",
        "--chmod 1 --chown 1 --utime 1",
        "--aio 1 --aiol 1 --sendfile 1 --sendfile-size 1M",
        "--dentry 1 --dir 1 --touch 1",
    ] {
        let heard = (0..10).any(|_| is_heard(&format!("exec {program} {together}")));
        assert!(
            heard,
            "{together}: everything was to be looked at, each time"
        );
    }
}

/// `false`: one of them died between asking for a segment and its first word.
fn is_heard(line: &str) -> bool {
    let mut ear = Ear::new();
    let before = ear.snapshot();
    killed(&ear, line);
    let said = ear.said();
    let missed = missed(&before, &ear.snapshot(), &said);
    let heard = !said.contains(&What::Everything);
    assert!(!heard || missed.is_empty(), "missed: {missed:#?}");
    heard
}

/// Runs it for a moment that the seed chooses, and kills all of it.
fn killed(ear: &Ear, line: &str) {
    let line = format!("{line} -q --temp-path .");
    let mut command = ear.command("sh");
    command
        .args(["-ec", &line])
        .process_group(0)
        .stdout(Stdio::null());
    let mut running = command.spawn().unwrap();
    ear.place.seed.moment(Duration::from_millis(500));
    assert!(running.try_wait().unwrap().is_none(), "{line}");
    let group = Pid::from_child(&running);
    kill_process_group(group, Signal::KILL).unwrap();
    running.wait().unwrap();
    wait_until("all of it is gone", || {
        test_kill_process_group(group).is_err()
    });
}

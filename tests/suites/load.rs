//! Programs that put a load on a file system: disk benchmarks and stress tests.

use std::os::unix::process::CommandExt;
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};

use crate::ground::{Ground, at_length, find};

/// Ways in which fio writes; it checks itself what it reads back.
const ENGINES: [&str; 8] = [
    "sync", "psync", "vsync", "pvsync", "pvsync2", "libaio", "posixaio", "mmap",
];

#[test]
fn fio() {
    let Some(program) = find("fio", "fio") else {
        return;
    };
    let ground = Ground::new();
    let size = if at_length() { "64M" } else { "2M" };
    for engine in ENGINES {
        for way in ["--thread --fallocate=none", "--fsync=32 --iodepth=8"] {
            let seed = ground.seed().next() >> 33;
            let script = format!(
                "{program} --name={engine}-$(echo {way} | cksum | cut -c1-4) --ioengine={engine} {way} --rw=randwrite \
                 --bsrange=4k-16k --size={size} --numjobs=2 --verify=crc32c --verify_fatal=1 --randseed={seed} --output=/dev/null"
            );
            ground.both_succeed(&script);
        }
    }
    ground.assert_stored();
}

#[test]
fn dbench() {
    let Some(program) = find("dbench", "dbench") else {
        return;
    };
    let load = "/usr/share/dbench/client.txt";
    let ground = Ground::new();
    let seconds = if at_length() { 60 } else { 3 };
    let script = format!("{program} -c {load} -t {seconds} -x --skip-cleanup -D . 4 >/dev/null");
    ground.both_succeed(&script);
    ground.assert_stored();
}

#[test]
fn bonnie() {
    let Some(program) = find("bonnie++", "bonnie++") else {
        return;
    };
    let ground = Ground::new();
    let megabytes = if at_length() { 256 } else { 16 };
    let script = format!("{program} -q -u root -d . -s {megabytes}:4k -r 8 -n 1:5000:0:3 -m x");
    ground.both_succeed(&script);
    ground.assert_stored();
}

/// What changes files, of its many.
const STRESSORS: [&str; 36] = [
    "access",
    "aio",
    "aiol",
    "chattr",
    "chmod",
    "chown",
    "copy-file",
    "dentry",
    "dir",
    "dirdeep",
    "dirmany",
    "dup",
    "fallocate",
    "fcntl",
    "fiemap",
    "filename",
    "flock",
    "fpunch",
    "fsize",
    "hdd",
    "io",
    "iomix",
    "link",
    "lockf",
    "mknod",
    "mmap",
    "open",
    "rename",
    "revio",
    "seek",
    "sendfile",
    "splice",
    "symlink",
    "sync-file",
    "touch",
    "utime",
];

/// `--xattr 1` and so on.
fn options(stressors: &[&str]) -> String {
    let seconds = if at_length() { 10 } else { 1 };
    let chosen: String = stressors.iter().map(|one| format!(" --{one} 1")).collect();
    format!("{chosen} --timeout {seconds} -q --temp-path . --hdd-bytes 4M --dirdeep-inodes 500")
}

#[test]
fn stress_ng() {
    let Some(program) = find("stress-ng", "stress-ng") else {
        return;
    };
    let ground = Ground::new();
    for together in STRESSORS.chunks(4) {
        let [bare, ours] = ground.both(&format!("{program} --verify{}", options(together)));
        assert_eq!(
            (bare.code, bare.stderr),
            (ours.code, ours.stderr),
            "{together:?}"
        );
    }
    ground.assert_stored();
}

/// It cleans up behind itself. Killed, it leaves what it was at.
#[test]
fn stress_ng_is_killed() {
    let Some(program) = find("stress-ng", "stress-ng") else {
        return;
    };
    let ground = Ground::new();
    let rounds = if at_length() { 100 } else { 4 };
    for _ in 0..rounds {
        let chosen = |_| STRESSORS[ground.seed().below(STRESSORS.len() as u64) as usize];
        let chosen: Vec<&str> = (0..5).map(chosen).collect();
        let mut running = ground.with(&format!("exec {program}{}", options(&chosen)));
        running.process_group(0).stdout(Stdio::null());
        let mut running = running.spawn().expect("run it");
        ground.seed().moment(Duration::from_millis(800));
        let group = Pid::from_child(&running);
        kill_process_group(group, Signal::KILL).expect("kill it");
        running.wait().expect("its end");
        ground.assert_mirrored();
    }
    ground.assert_stored();
}

//! More than the kernel can keep until it is taken.

use std::process::Command;

use harness::run;

use crate::scene::{TREE, all_was_heard, soon_mirrored, witnessed, witnessed_with, writing};

/// Many small files, by a program that ends as fast as it can.
#[test]
fn ten_thousand_files_at_once() {
    let Some(pair) = witnessed("ten_thousand_files_at_once", "") else {
        return;
    };
    let script = "i=0; while [ $i -lt 100 ]; do mkdir d$i; j=0; while [ $j -lt 100 ]; do
        echo $i $j > d$i/f$j; j=$((j+1)); done; i=$((i+1)); done";
    run(Command::new("busybox")
        .args(["sh", "-ec", script])
        .current_dir(&pair.tree))
    .success();
    all_was_heard(&pair);
}

/// A ring that holds a few dozen events: what it has no room for is known by file.
#[test]
fn a_tiny_ring_drops_and_says_so() {
    let settings = "witness.ring_kib = 4\n";
    let Some(pair) = witnessed_with("a_tiny_ring_drops_and_says_so", settings, TREE) else {
        return;
    };
    let drops = || pair.source.status().capture.ebpf.drops;
    for _ in 0..20 {
        run(&mut writing(&pair, &["append", "append", "2000"])).success();
        run(&mut writing(&pair, &["append", "write", "2000"])).success();
        if drops() > 0 {
            break;
        }
    }
    assert!(
        drops() > 0,
        "nothing was dropped: {:#?}",
        pair.source.status().capture
    );
    soon_mirrored(&pair);
    assert_eq!(
        pair.source.status().capture.scan.misses,
        0,
        "drops are known"
    );
    pair.assert_mirrored();
}

/// Files made and deleted all the time, as a database's journal is: their inode numbers are given to others while
/// it is still being told of them.
#[test]
fn numbers_given_to_others() {
    let Some(mut pair) = witnessed("numbers_given_to_others", "") else {
        return;
    };
    let script = "for n in 1 2 3 4; do python3 -c 'import os, sys
for i in range(400):
    file = os.open(sys.argv[1], os.O_CREAT | os.O_WRONLY)
    os.write(file, bytes(5000)); os.fsync(file); os.close(file); os.unlink(sys.argv[1])' $n & done; wait";
    harness::shell(&pair.tree, script);
    all_was_heard(&pair);
    let log = pair.source.daemon().log();
    assert!(!log.contains("could not be placed"), "{log}");
}

/// More names than fanotify keeps, while the coordinator does not listen: it says that some were lost, and all is
/// looked at.
#[test]
fn more_names_than_fanotify_keeps() {
    let Some(mut pair) = witnessed("more_names_than_fanotify_keeps", "echo x > file") else {
        return;
    };
    let kept = std::fs::read_to_string("/proc/sys/fs/fanotify/max_queued_events");
    let kept: u32 = kept
        .expect("read how many")
        .trim()
        .parse()
        .expect("a number");
    let daemon = pair.source.daemon().pid().to_string();
    let signal = |signal: &str| run(Command::new("kill").args([signal, &daemon])).success();
    signal("-STOP");
    let script = format!(
        "
import os
name = 'file'
for n in range({kept} + 1000):
    os.rename(name, str(n)); name = str(n)"
    );
    run(Command::new("python3")
        .args(["-c", &script])
        .current_dir(&pair.tree))
    .success();
    signal("-CONT");
    soon_mirrored(&pair);
    let capture = pair.source.status().capture;
    assert!(capture.names.overflows > 0, "{:?}", capture.names);
    assert_eq!(capture.scan.misses, 0, "that some were lost is known");
}

/// Deeper than programs in the kernel climb: that is known, and fanotify hears of it.
#[test]
fn deeper_than_the_kernel_s_programs_climb() {
    let test = "deeper_than_the_kernel_s_programs_climb";
    let deep = format!("mkdir -p {0}; cd {0}; seq 1000 > append", "d/".repeat(80));
    let Some(pair) = witnessed(test, &deep) else {
        return;
    };
    let mut command = writing(&pair, &["append", "append", "100"]);
    run(command.current_dir(pair.tree.join("d/".repeat(80)))).success();
    soon_mirrored(&pair);
    assert_eq!(
        pair.source.status().capture.scan.misses,
        0,
        "found by a scan"
    );
}

//! Times in which nobody looked: the coordinator down, the switch off, programs without the shim. A
//! reconcile finds what happened.

use std::time::{Duration, Instant};

use everwrite_protocol::control::State;
use harness::{Pair, shell};

/// Everything that can happen to a tree, told by nobody.
const UPHEAVAL: &str = "
    echo new > new; mkdir -p deep/er; echo new > deep/er/new
    echo changed >> changed; printf X | dd of=overwritten bs=1 seek=10 conv=notrunc status=none
    rm removed; rm -r removed-tree
    mv renamed renamed-to; mv tree-1 tree-2
    rm file-to-directory; mkdir file-to-directory; rmdir directory-to-file; echo f > directory-to-file
    mv swap-1 t; mv swap-2 swap-1; mv t swap-2
    cp changed replacement; mv replacement replaced
    chmod 600 mode; touch -d '2001-02-03 04:05:06.789' times; ln changed hard-link; ln -s changed soft-link
";

/// The tree to which that happens.
fn before(tree: &std::path::Path) {
    shell(
        tree,
        "mkdir removed-tree tree-1 directory-to-file; echo r > removed-tree/r; seq 100 > tree-1/f
        for f in changed overwritten removed renamed file-to-directory swap-1 swap-2 replaced mode times
        do echo this is $f > $f; done",
    );
}

#[test]
fn changes_while_the_coordinator_is_down() {
    let mut pair = Pair::start_with(before);
    pair.assert_mirrored();
    pair.source.daemon().terminate();
    shell(&pair.tree, UPHEAVAL);
    pair.source.start_again();
    pair.assert_mirrored();
}

#[test]
fn changes_while_the_switch_is_off() {
    let pair = Pair::start_with(before);
    pair.assert_mirrored();
    pair.source.everwrite(["off"]).success();
    assert_eq!(pair.source.status().state, State::Off);
    pair.run(UPHEAVAL);
    pair.source.everwrite(["on"]).success();
    pair.assert_mirrored();
}

#[test]
fn changes_by_programs_without_the_shim() {
    let pair = Pair::start_without_witness(before);
    pair.assert_mirrored();
    // No scan is under way any more that could find what comes now, as part of what it is for.
    pair.source.everwrite(["reconcile"]).success();
    shell(&pair.tree, UPHEAVAL);
    // It found something that no hint had announced: a negative answer.
    pair.source.everwrite(["reconcile"]).exits(1);
    assert!(
        pair.source.status().capture.scan.misses > 0,
        "misses are counted"
    );
    pair.assert_mirrored();
    pair.source.everwrite(["reconcile"]).success();
}

/// The same with the shim: nothing is left for a scan to find.
#[test]
fn changes_by_programs_with_the_shim() {
    let pair = Pair::start_without_witness(before);
    pair.run(UPHEAVAL);
    pair.assert_mirrored();
    pair.source.everwrite(["reconcile"]).success();
}

/// The times of a file move with each name that it gets and loses.
#[test]
fn names_that_come_and_go_are_announced() {
    let pair = Pair::start_with(|tree| {
        shell(tree, "mkdir d; echo 1 > one; echo 2 > two; ln one d/uno");
    });
    for script in [
        "ln two deux",
        "rm d/uno",
        "mv deux d/zwei",
        "rm two",
        "ln -f one d/zwei",
    ] {
        pair.run(script);
        pair.source.everwrite(["reconcile"]).success();
    }
    pair.assert_mirrored();
}

/// A scan that comes upon what a program is just doing does not take it for missed: the hint is on its way.
#[test]
fn a_scan_beside_a_program_at_work() {
    let pair = Pair::start_with(|tree| {
        shell(
            tree,
            "mkdir a b; for i in $(seq 500); do echo $i > a/$i; done",
        );
    });
    let work = "exec python3 -c '
import os, random, shutil, time
end = time.time() + 120
while time.time() < end:
    a, b = (random.choice(\"ab\") + \"/\" + str(random.randrange(2000)) for _ in \"xx\")
    try:
        match random.randrange(7):
            case 0 | 1 | 2: open(a, \"a\").write(a)
            case 3: os.rename(a, b)
            case 4: os.link(a, b)
            case 5: os.unlink(a)
            case 6: os.mkdir(\"new\"); open(\"new/\" + a[2:], \"w\"); os.rename(\"new\", b + \"d\"); shutil.rmtree(b + \"d\")
    except OSError: shutil.rmtree(\"new\", True)'";
    let mut program = pair.source.spawn(&pair.tree, work);
    for _ in 0..8 {
        pair.source.everwrite(["reconcile"]).success();
        assert!(program.try_wait().unwrap().is_none(), "it goes on");
    }
    program.kill().unwrap();
    program.wait().unwrap();
    pair.assert_mirrored();
}

/// Programs that work beside the tree, on the same file system, are none of Everwrite's business.
#[test]
fn no_scan_for_what_happens_outside() {
    let pair = Pair::start();
    let work = "cd ..; mkdir -p beside; end=$(($(date +%s) + 3))
         while [ $(date +%s) -lt $end ]; do echo x >> beside/log; echo y > beside/new; mv beside/new beside/old; done";
    // One scan there is soon after the start, for programs that began before it.
    let quiet = (0..3).any(|_| {
        let before = pair.source.status().capture.scan.last_at;
        pair.run(work);
        pair.source.status().capture.scan.last_at == before
    });
    assert!(quiet, "it scans all the time");
}

/// Writes one place of a file all the time, from the moment on when it is told to go.
const BUSY: &str = "exec python3 -c '
import os, time
file, end = os.open(\"z/file\", os.O_WRONLY), time.time() + 120
while not os.path.exists(\"../go\"): time.sleep(0.01)
while time.time() < end: os.pwrite(file, os.urandom(16), 40000); time.sleep(0.0005)'";

/// A file is written to while nobody looks, and again as soon as somebody does: what tells of the second write
/// says nothing about the first.
fn written_in_a_gap_and_right_after(begin: fn(&mut Pair), end: fn(&mut Pair)) {
    let mut pair = Pair::start_without_witness(|tree| {
        shell(
            tree,
            "mkdir d z; for i in $(seq 6000); do echo $i > d/$i; done; seq 20000 > z/file",
        );
    });
    let mut program = pair.source.spawn(&pair.tree, BUSY);
    pair.source.settle();
    begin(&mut pair);
    let unheard =
        "printf unheard | dd of=z/file bs=1 seek=100 conv=notrunc status=none; touch ../go";
    shell(&pair.tree, unheard);
    end(&mut pair);
    pair.source.wait_continuous();
    assert!(program.try_wait().unwrap().is_none(), "it goes on");
    program.kill().unwrap();
    program.wait().unwrap();
    pair.assert_mirrored();
}

#[test]
fn written_while_the_coordinator_is_down_and_right_after() {
    written_in_a_gap_and_right_after(|pair| pair.source.kill(), |pair| pair.source.start_again());
}

#[test]
fn written_while_the_switch_is_off_and_right_after() {
    written_in_a_gap_and_right_after(
        |pair| drop(pair.source.everwrite(["off"]).success()),
        |pair| drop(pair.source.everwrite(["on"]).success()),
    );
}

/// Without a witness a program without the shim writes first, and one with the shim writes elsewhere in the same
/// file: the file's times tell of the second write, which was announced.
fn both_write_to_a_file_of(lines: u32) {
    let pair = Pair::start_without_witness(|tree| {
        shell(tree, format!("seq {lines} > file"));
    });
    pair.assert_mirrored();
    let write =
        |at: u32| format!("printf here | dd of=file bs=1 seek={at} conv=notrunc status=none");
    shell(&pair.tree, write(100));
    pair.run(&write(4000));
    pair.source.everwrite(["reconcile"]);
    pair.assert_mirrored();
}

#[test]
fn written_by_others_and_then_by_a_program_with_the_shim() {
    both_write_to_a_file_of(20_000);
}

#[test]
fn a_large_file_written_by_others_and_then_by_a_program_with_the_shim() {
    both_write_to_a_file_of(3_000_000);
}

/// Not with the next second, by which what was sent is confirmed anyway.
#[test]
fn who_waits_for_a_comparison_waits_for_that_alone() {
    let pair = Pair::start_with(|tree| drop(shell(tree, "echo content > file")));
    pair.source.settle();
    let began = Instant::now();
    for _ in 0..10 {
        pair.source.everwrite(["reconcile"]).success();
    }
    let took = began.elapsed();
    assert!(took < Duration::from_secs(8), "{took:?} for ten");
}

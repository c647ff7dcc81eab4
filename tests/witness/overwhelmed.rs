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

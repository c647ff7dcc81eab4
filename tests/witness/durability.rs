//! Programs without a shim ask for durability: a good place for a recovery point.

use harness::{Pair, Place, SmallDisk, run, skip, wait_for};

use crate::places::Disk;
use crate::scene::{SOON, is_witnessed, protecting, witnessed, writing};

const FILL: &str = "echo some > file; mkdir below; echo more > below/file";

/// Events that the programs in the kernel have told.
fn told(pair: &Pair) -> u64 {
    pair.source.status().capture.ebpf.hints
}

/// A static program asks five times for each of two files, and changes nothing: that and no more is told.
#[track_caller]
fn each_is_told(pair: &Pair) {
    let before = told(pair);
    run(&mut writing(pair, &["sync", "file", "5"])).success();
    run(&mut writing(pair, &["sync", "below/file", "5"])).success();
    let after = wait_for("what was asked for is told", SOON, || {
        let after = told(pair);
        (after >= before + 10).then_some(after)
    });
    assert_eq!(after - before, 10);
    // It makes nobody look for more.
    pair.source.everwrite(["reconcile"]).success();
    pair.assert_mirrored();
}

#[test]
fn ext4() {
    let Some(pair) = witnessed("ext4", FILL) else {
        return;
    };
    let beside = pair.place.path().join("beside");
    std::fs::write(&beside, "outside all roots").expect("write a file");
    let before = told(&pair);
    run(&mut writing(
        &pair,
        &["sync", &beside.display().to_string(), "5"],
    ))
    .success();
    each_is_told(&pair);
    assert_eq!(told(&pair) - before, 10, "what lies outside is not told");
}

fn each_is_told_on(test: &str, kind: &str, mebibytes: u32) {
    let Some(disk) = Disk::mount(test, kind, mebibytes) else {
        return;
    };
    let tree = disk.place.path().join("disk/tree");
    std::fs::create_dir(&tree).expect("make the tree");
    harness::shell(&tree, FILL);
    let pair = protecting(Place::new(), tree);
    if is_witnessed(test, &pair) {
        each_is_told(&pair);
    }
}

#[test]
fn xfs() {
    each_is_told_on("xfs", "xfs", 320);
}

#[test]
fn btrfs() {
    each_is_told_on("btrfs", "btrfs", 160);
}

#[test]
fn in_memory() {
    let (test, place) = ("in_memory", Place::new());
    let disk = match SmallDisk::mount(&place, 16) {
        Ok(disk) => disk,
        Err(reason) => return skip(test, &reason),
    };
    harness::shell(disk.path(), FILL);
    let tree = disk.path().to_owned();
    let pair = protecting(place, tree);
    if is_witnessed(test, &pair) {
        each_is_told(&pair);
    }
}

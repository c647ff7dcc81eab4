//! File systems without hooks of their own: the ends of system calls tell which bytes were written.

use harness::{Pair, Place, SmallDisk, run, skip};

use crate::places::Disk;
use crate::scene::{
    TREE, all_was_heard, is_witnessed, protecting, protecting_with, rings, soon_mirrored, writing,
};

/// A tree in memory, filled, and protected with these settings.
fn in_memory(test: &str, settings: &str, fill: &str) -> Option<(SmallDisk, Pair)> {
    let place = Place::new();
    let disk = match SmallDisk::mount(&place, 64) {
        Ok(disk) => disk,
        Err(reason) => {
            skip(test, &reason);
            return None;
        }
    };
    let tree = disk.path().to_owned();
    harness::shell(&tree, fill);
    let pair = protecting_with(place, tree, settings);
    is_witnessed(test, &pair).then_some((disk, pair))
}

const BIG: &str = "head -c 24M /dev/zero | tr '\\0' . > big";

/// Bytes that the coordinator read while 4 KiB were written here and there in a file of 24 MiB.
fn read_for_a_little(pair: &Pair) -> u64 {
    let read = || pair.source.status().uplink.bytes_read;
    let before = read();
    run(&mut writing(pair, &["sparse", "big", "20"])).success();
    soon_mirrored(pair);
    read() - before
}

/// What is written while everything is compared, soon after the start, is compared whole; then no more.
fn assert_just_what_was_written_is_read(pair: &Pair) {
    let mut read = Vec::new();
    while read.len() < 6 && read.last().is_none_or(|bytes| *bytes >= 1 << 20) {
        read.push(read_for_a_little(pair));
    }
    let last = *read.last().unwrap();
    assert!(last < 1 << 20, "{read:?} bytes were read for 80 KiB each");
}

#[test]
fn just_what_was_written_is_read() {
    let test = "just_what_was_written_is_read";
    let Some((_disk, pair)) = in_memory(test, "", BIG) else {
        return;
    };
    assert!(pair.source.status().capture.ebpf.calls);
    assert_just_what_was_written_is_read(&pair);
    all_was_heard(&pair);
}

/// The same on a file system with hooks, where nothing is heard at calls.
#[test]
fn just_what_was_written_is_read_with_hooks() {
    let test = "just_what_was_written_is_read_with_hooks";
    let Some(disk) = Disk::mount(test, "ext4", 64) else {
        return;
    };
    let tree = disk.place.path().join("disk/tree");
    std::fs::create_dir(&tree).expect("make the tree");
    harness::shell(&tree, BIG);
    let pair = protecting(Place::new(), tree);
    if !is_witnessed(test, &pair) {
        return;
    }
    assert!(!pair.source.status().capture.ebpf.calls);
    assert_just_what_was_written_is_read(&pair);
}

#[test]
fn without_calls_files_are_compared_whole() {
    let test = "without_calls_files_are_compared_whole";
    let Some((_disk, pair)) = in_memory(test, "witness.calls = false\n", BIG) else {
        return;
    };
    assert!(!pair.source.status().capture.ebpf.calls);
    let read = read_for_a_little(&pair);
    assert!(read >= 24 << 20, "{read} bytes were read");
    all_was_heard(&pair);
}

/// Shared positions, appending, truncation, seeks and holes, all at once.
#[test]
fn everything_at_once_in_one_file() {
    let test = "everything_at_once_in_one_file";
    let Some((_disk, pair)) = in_memory(test, "", TREE) else {
        return;
    };
    run(&mut writing(&pair, &["mix", "held", "4"])).success();
    all_was_heard(&pair);
}

/// Rings tell nothing at calls: fanotify does, and all of the file is compared.
#[test]
fn rings_that_say_little() {
    let test = "rings_that_say_little";
    let Some((_disk, pair)) = in_memory(test, "", TREE) else {
        return;
    };
    if rings(test, &pair) {
        all_was_heard(&pair);
    }
}

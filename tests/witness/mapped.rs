//! Stores into mappings: no call tells of them, and a page that is dirty already does not show.

use std::process::Command;

use harness::{run, skip};

use crate::scene::{
    Steps, TREE, all_was_heard, is_witnessed, protecting, soon_mirrored, witnessed, writing,
};

#[test]
fn stored_and_never_flushed() {
    let Some(pair) = witnessed("stored_and_never_flushed", TREE) else {
        return;
    };
    let mut mapping = Steps::start(&mut writing(&pair, &["map", "mapped"]));
    soon_mirrored(&pair);
    // Into the page that it had stored into before.
    mapping.next();
    soon_mirrored(&pair);
    mapping.finish();
    all_was_heard(&pair);
}

/// Pages that are dirty when they are mapped show nothing when they are stored into.
#[test]
fn stored_into_pages_that_were_dirty_already() {
    let test = "stored_into_pages_that_were_dirty_already";
    let Some(pair) = witnessed(test, TREE) else {
        return;
    };
    let program = "
import mmap, sys
file = open('fresh', 'w+b')
file.write(b'.' * 300000)
file.flush()
pages = mmap.mmap(file.fileno(), 0)
for step in range(4):
    pages[150000 + step:150010 + step] = b'0123456789'
    print('stored', flush=True)
    sys.stdin.readline()
";
    let mut command = Command::new("python3");
    let mut mapping = Steps::start(command.args(["-c", program]).current_dir(&pair.tree));
    for _ in 0..3 {
        soon_mirrored(&pair);
        mapping.next();
    }
    soon_mirrored(&pair);
    mapping.finish();
    all_was_heard(&pair);
}

/// Two threads store and write all over a file while it is read and sent; at the end all is there.
#[test]
fn stored_into_all_the_time() {
    let Some(pair) = witnessed("stored_into_all_the_time", TREE) else {
        return;
    };
    run(Command::new("cp")
        .args(["--sparse=never", "/dev/null", "big"])
        .current_dir(&pair.tree))
    .success();
    run(Command::new("truncate")
        .args(["-s", "4M", "big"])
        .current_dir(&pair.tree))
    .success();
    soon_mirrored(&pair);
    let storing = Steps::start(&mut writing(&pair, &["store", "big", "3"]));
    soon_mirrored(&pair);
    storing.finish();
    all_was_heard(&pair);
}

/// In memory the kernel has no reason to notice a store: the file is compared now and then.
#[test]
fn stored_in_a_tmpfs() {
    let place = harness::Place::new();
    let disk = match harness::SmallDisk::mount(&place, 64) {
        Ok(disk) => disk,
        Err(reason) => return skip("stored_in_a_tmpfs", &reason),
    };
    let tree = disk.path().to_owned();
    harness::shell(&tree, TREE);
    let pair = protecting(place, tree);
    if !is_witnessed("stored_in_a_tmpfs", &pair) {
        return;
    }
    run(&mut writing(&pair, &["changes"])).success();
    soon_mirrored(&pair);
    let mut mapping = Steps::start(&mut writing(&pair, &["map", "mapped"]));
    soon_mirrored(&pair);
    mapping.next();
    soon_mirrored(&pair);
    mapping.finish();
    all_was_heard(&pair);
}

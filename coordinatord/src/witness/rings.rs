//! Processes that had an io_uring before anybody listened: the kernel may write for them without a call of theirs.

use std::fs::{self, DirEntry};
use std::path::Path;

const RING: &str = "anon_inode:[io_uring]";

/// Those that can be looked into.
pub(super) fn processes_with_rings() -> Vec<u32> {
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let number = |entry: DirEntry| entry.file_name().to_str()?.parse().ok();
    processes
        .filter_map(number)
        .filter(|process| has_ring(*process))
        .collect()
}

fn has_ring(process: u32) -> bool {
    let descriptors = fs::read_dir(format!("/proc/{process}/fd"));
    let mut descriptors = descriptors.into_iter().flatten().flatten();
    descriptors.any(|entry| fs::read_link(entry.path()).is_ok_and(|file| file == Path::new(RING)))
}

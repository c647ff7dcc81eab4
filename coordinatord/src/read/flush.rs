//! Cleaning the pages of a mapped file, so that the next store into them shows.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;

use rustix::fs::{fdatasync, fstatfs};

use crate::queue::Dirt;

/// `s_magic` of overlayfs, whose files have no pages of their own, statfs(2).
const OVERLAY: u64 = 0x794c_7630;
/// File systems that keep everything in memory: what is stored into their pages is never written back,
/// so the kernel has no reason to notice. `s_magic` of tmpfs, ramfs and hugetlbfs, statfs(2).
pub const IN_MEMORY: [u64; 3] = [0x0102_1994, 0x8584_58f6, 0x9584_58f6];
const WHOLE: (u64, u64) = (0, 0);

/// Writes back what is dirty in the ranges that are about to be read, and waits for it: then their pages are
/// write-protected in every mapping, and the kernel tells of the next store. What is stored from now on
/// may be read, or not; either way it is told.
///
/// `sync_file_range(2)` with all three flags; without the waiting a page that is under writeback would
/// be left as it is. Nothing becomes durable by it that the kernel had not to write anyway.
pub fn clean_pages(file: &File, dirt: &Dirt) -> io::Result<()> {
    if magic(file)? == OVERLAY {
        return Ok(fdatasync(file)?);
    }
    if dirt.whole || dirt.appended || dirt.ranges.is_empty() {
        return clean(file, WHOLE);
    }
    dirt.ranges.iter().try_for_each(|range| clean(file, range))
}

/// Is it in a file system that does not tell of stores into mapped pages? In doubt, no.
pub fn is_in_memory(file: &File) -> bool {
    magic(file).is_ok_and(|magic| IN_MEMORY.contains(&magic))
}

fn magic(file: &File) -> io::Result<u64> {
    Ok(fstatfs(file)?.f_type.cast_unsigned() & 0xffff_ffff)
}

/// A length of 0 means to the end.
fn clean(file: &File, (offset, length): (u64, u64)) -> io::Result<()> {
    let length = if length == u64::MAX { 0 } else { length };
    let flags = libc::SYNC_FILE_RANGE_WAIT_BEFORE
        | libc::SYNC_FILE_RANGE_WRITE
        | libc::SYNC_FILE_RANGE_WAIT_AFTER;
    let (offset, length) = (offset.cast_signed(), length.cast_signed());
    // SAFETY: takes numbers, and looks at nothing of ours.
    match unsafe { libc::sync_file_range(file.as_raw_fd(), offset, length, flags) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::FileExt;

    use super::*;

    #[test]
    fn ranges_and_whole_files_are_cleaned() {
        let file = tempfile::tempfile().unwrap();
        file.write_all_at(&[1; 100_000], 0).unwrap();
        let mut dirt = Dirt::default();
        clean_pages(&file, &dirt).unwrap();
        dirt.ranges.add(4096, 10);
        dirt.ranges.add(90_000, u64::MAX);
        clean_pages(&file, &dirt).unwrap();
    }
}

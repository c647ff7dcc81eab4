//! Content of plain files: ranges read, written, copied, made into holes.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;

use rustix::fs::{FallocateFlags, SeekFrom};
use rustix::io::Errno;

/// Bytes moved at a time where the kernel can't do it alone.
const CHUNK_BYTES: u64 = 1 << 20;

/// Fills `buffer` from `offset`, or up to the end of the file; tells how much.
pub fn read_at(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut done = 0;
    while done < buffer.len() {
        match file.read_at(&mut buffer[done..], offset + done as u64) {
            Ok(0) => break,
            Ok(bytes) => done += bytes,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(done)
}

/// Writes all of `bytes` at `offset`.
pub fn write_at(file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
    file.write_all_at(bytes, offset)
}

/// Makes a range within the file read as zeros, as a hole where the file system can.
pub fn punch(file: &File, range: Range<u64>) -> io::Result<()> {
    if range.is_empty() {
        return Ok(());
    }
    let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
    match rustix::fs::fallocate(file, flags, range.start, range.end - range.start) {
        Err(Errno::OPNOTSUPP | Errno::NOSYS) => write_zeros(file, range),
        done => done.map_err(Into::into),
    }
}

fn write_zeros(file: &File, range: Range<u64>) -> io::Result<()> {
    let zeros = vec![0u8; CHUNK_BYTES as usize];
    let mut at = range.start;
    while at < range.end {
        let bytes = (range.end - at).min(CHUNK_BYTES);
        write_at(file, &zeros[..bytes as usize], at)?;
        at += bytes;
    }
    Ok(())
}

/// The parts of a range that are not holes, in order, each at most `longest` bytes. A file system
/// that knows no holes has data everywhere.
pub fn data_ranges(file: &File, range: Range<u64>, longest: u64) -> io::Result<Vec<Range<u64>>> {
    let mut found = Vec::new();
    let mut at = range.start;
    while at < range.end {
        let start = match rustix::fs::seek(file, SeekFrom::Data(at)) {
            Ok(start) => start,
            Err(Errno::NXIO) => break,
            Err(Errno::INVAL | Errno::OPNOTSUPP) => at,
            Err(error) => return Err(error.into()),
        };
        let hole = match rustix::fs::seek(file, SeekFrom::Hole(start)) {
            Ok(hole) => hole,
            Err(Errno::NXIO) => break,
            Err(Errno::INVAL | Errno::OPNOTSUPP) => range.end,
            Err(error) => return Err(error.into()),
        };
        let end = hole.min(range.end);
        let mut piece = start;
        while piece < end {
            let next = end.min(piece.saturating_add(longest));
            found.push(piece..next);
            piece = next;
        }
        at = hole.max(at + 1);
    }
    Ok(found)
}

/// Copies `length` bytes from one file to another; holes stay holes. The kernel may share the blocks.
pub fn copy_range(
    from: &File,
    from_offset: u64,
    to: &File,
    to_offset: u64,
    length: u64,
) -> io::Result<()> {
    for range in data_ranges(from, from_offset..from_offset + length, u64::MAX)? {
        copy_data(
            from,
            range.start,
            to,
            to_offset + (range.start - from_offset),
            range.end - range.start,
        )?;
    }
    Ok(())
}

fn copy_data(
    from: &File,
    mut from_offset: u64,
    to: &File,
    mut to_offset: u64,
    mut length: u64,
) -> io::Result<()> {
    while length > 0 {
        let chunk = usize::try_from(length.min(1 << 30)).unwrap_or(1 << 30);
        let (mut source, mut target) = (from_offset, to_offset);
        match rustix::fs::copy_file_range(from, Some(&mut source), to, Some(&mut target), chunk) {
            Ok(0) => return Ok(()),
            Ok(bytes) => {
                from_offset += bytes as u64;
                to_offset += bytes as u64;
                length -= bytes as u64;
            }
            Err(Errno::INTR) => {}
            Err(Errno::XDEV | Errno::OPNOTSUPP | Errno::INVAL | Errno::NOSYS) => {
                return copy_through(from, from_offset, to, to_offset, length);
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

fn copy_through(
    from: &File,
    mut from_offset: u64,
    to: &File,
    mut to_offset: u64,
    mut length: u64,
) -> io::Result<()> {
    let mut buffer = vec![0u8; length.min(CHUNK_BYTES) as usize];
    while length > 0 {
        let want = length.min(CHUNK_BYTES) as usize;
        let got = read_at(from, &mut buffer[..want], from_offset)?;
        if got == 0 {
            break;
        }
        write_at(to, &buffer[..got], to_offset)?;
        from_offset += got as u64;
        to_offset += got as u64;
        length -= got as u64;
    }
    Ok(())
}

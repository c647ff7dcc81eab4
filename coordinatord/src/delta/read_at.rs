//! The narrow door to the new content.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;

use rustix::fs::SeekFrom;

/// Content that can be read anywhere.
pub trait ReadAt: Sync {
    /// Reads some bytes from `offset` on; 0 only at the end.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;

    /// The next range at or after `from` that is not a hole; `None`: nothing but holes.
    fn next_data(&self, from: u64) -> io::Result<Option<Range<u64>>>;
}

impl ReadAt for File {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        FileExt::read_at(self, buffer, offset)
    }

    /// Moves the descriptor's offset.
    fn next_data(&self, from: u64) -> io::Result<Option<Range<u64>>> {
        let start = match rustix::fs::seek(self, SeekFrom::Data(from)) {
            Ok(start) => start,
            Err(rustix::io::Errno::NXIO) => return Ok(None),
            // A file system that knows nothing of holes.
            Err(rustix::io::Errno::INVAL) => return Ok(Some(from..u64::MAX)),
            Err(error) => return Err(error.into()),
        };
        let end = rustix::fs::seek(self, SeekFrom::Hole(start))?;
        Ok(Some(start..end))
    }
}

impl ReadAt for [u8] {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let rest = usize::try_from(offset)
            .ok()
            .and_then(|at| self.get(at..))
            .unwrap_or(&[]);
        let length = rest.len().min(buffer.len());
        buffer[..length].copy_from_slice(&rest[..length]);
        Ok(length)
    }

    fn next_data(&self, from: u64) -> io::Result<Option<Range<u64>>> {
        let end = self.len() as u64;
        Ok((from < end).then_some(from..end))
    }
}

impl ReadAt for Vec<u8> {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.as_slice().read_at(buffer, offset)
    }

    fn next_data(&self, from: u64) -> io::Result<Option<Range<u64>>> {
        self.as_slice().next_data(from)
    }
}

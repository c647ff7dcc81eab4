//! Ranges of a file, as commands: data as `Write`, holes as `Punch`.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use everwrite_protocol::ids::FileId;
use everwrite_protocol::wire::BackupCommand;
use rustix::fs::{SeekFrom, seek};
use rustix::io::Errno;

use crate::batch::BatchBuilder;
use crate::intake::OriginId;

/// Largest single read in bytes.
const READ_BYTES_MAX: usize = 256 * 1024;

/// Reads ranges of one file into a batch.
pub struct Reader<'b> {
    /// Where the commands go.
    pub batch: &'b mut BatchBuilder,
    /// Scratch space, kept between files.
    pub buffer: &'b mut Vec<u8>,
    /// Bytes read from protected files, counted up.
    pub bytes_read: &'b mut u64,
}

/// How a read ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ReadOutcome {
    /// All was read.
    Complete,
    /// The file ended before the range did: it shrank meanwhile.
    Shrunk,
}

impl Reader<'_> {
    /// Sends `offset .. offset + length`. `sparse` tells that the file may have holes; `fresh` that
    /// the receiver's file is all zeros there, so that holes need no command.
    pub fn send_range(
        &mut self,
        file: &File,
        id: FileId,
        origin: OriginId,
        (offset, length): (u64, u64),
        sparse: bool,
        fresh: bool,
    ) -> io::Result<ReadOutcome> {
        if !sparse {
            return self.send_data(file, id, origin, offset, offset + length);
        }
        let end = offset + length;
        let mut at = offset;
        while at < end {
            let data = next_data(file, at)?.min(end);
            if data > at && !fresh {
                self.batch.push(
                    origin,
                    BackupCommand::Punch {
                        file: id,
                        offset: at,
                        length: data - at,
                        origin: 0,
                    },
                );
            }
            let hole = next_hole(file, data)?.clamp(data, end);
            if self.send_data(file, id, origin, data, hole)? == ReadOutcome::Shrunk {
                return Ok(ReadOutcome::Shrunk);
            }
            at = hole.max(data);
            if data >= end {
                break;
            }
        }
        Ok(ReadOutcome::Complete)
    }

    fn send_data(
        &mut self,
        file: &File,
        id: FileId,
        origin: OriginId,
        from: u64,
        end: u64,
    ) -> io::Result<ReadOutcome> {
        let mut at = from;
        while at < end {
            let room = self.batch.payload_room().min(READ_BYTES_MAX);
            let want = usize::try_from(end - at).unwrap_or(usize::MAX).min(room);
            self.buffer.resize(want, 0);
            let got = read_full(file, self.buffer, at)?;
            *self.bytes_read += got as u64;
            if got > 0 {
                self.batch
                    .push_content(origin, &self.buffer[..got], |payload_offset| {
                        BackupCommand::Write {
                            file: id,
                            offset: at,
                            length: got as u32,
                            payload_offset,
                            origin: 0,
                        }
                    });
            }
            at += got as u64;
            if got < want {
                return Ok(ReadOutcome::Shrunk);
            }
        }
        Ok(ReadOutcome::Complete)
    }
}

/// Reads until the buffer is full or the file ends.
fn read_full(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match file.read_at(&mut buffer[filled..], offset + filled as u64) {
            Ok(0) => break,
            Ok(got) => filled += got,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

/// First byte of data at or after `offset`; `u64::MAX` when there is none. A file system that does
/// not know says that all is data (lseek(2), `SEEK_DATA`).
fn next_data(file: &File, offset: u64) -> io::Result<u64> {
    match seek(file, SeekFrom::Data(offset)) {
        Ok(at) => Ok(at),
        Err(Errno::NXIO) => Ok(u64::MAX),
        Err(Errno::INVAL | Errno::OPNOTSUPP) => Ok(offset),
        Err(error) => Err(error.into()),
    }
}

/// First byte of the next hole at or after `offset`; the end of the file counts as one.
fn next_hole(file: &File, offset: u64) -> io::Result<u64> {
    match seek(file, SeekFrom::Hole(offset)) {
        Ok(at) => Ok(at),
        Err(Errno::NXIO | Errno::INVAL | Errno::OPNOTSUPP) => Ok(u64::MAX),
        Err(error) => Err(error.into()),
    }
}

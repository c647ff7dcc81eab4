//! Puts frames at the end of the log. No thread, no queue: see [`super::writer`].
//!
//! A frame that could not be written whole (disk full) leaves the end where it was; writing it again
//! later overwrites the piece. The end moves only over whole frames.

use std::fs::File;
use std::io::{self, IoSlice};
use std::os::unix::fs::FileExt;

use everwrite_protocol::codec;
use everwrite_protocol::ids::SourceId;

use super::frame::{ALIGNMENT, FrameKind, FramePosition, HEADER_BYTES, NewFrame};
use super::scan::LogPosition;
use super::segment::{SegmentHead, Segments, allocate};

/// Why a frame is not in the log.
#[derive(Debug)]
pub enum AppendError {
    /// It could not be written. The end of the log is where it was: try again, once there is space.
    Write(io::Error),
    /// What was written could not be made durable. Nobody knows now what the disk holds, and a second
    /// sync may lie: this writer is done.
    Sync(io::Error),
}

/// The end of the log.
#[derive(Debug)]
pub struct Appender {
    segments: Segments,
    source: SourceId,
    file: File,
    end: LogPosition,
    /// End of the log at the last sync.
    durable: FramePosition,
    allocated: u64,
}

impl Appender {
    /// Goes on at `end`, as [`recover`](super::recover) found it.
    pub fn open(segments: Segments, source: SourceId, end: LogPosition) -> io::Result<Self> {
        let file = segments.open_writable(end.segment)?;
        let allocated = file.metadata()?.len();
        Ok(Self {
            segments,
            source,
            file,
            end,
            durable: end.frame(),
            allocated,
        })
    }

    /// Everything before this is on the disk.
    pub fn durable(&self) -> FramePosition {
        self.durable
    }

    /// Writes a frame, not yet durably.
    pub fn append(&mut self, frame: &NewFrame) -> Result<FramePosition, AppendError> {
        let full = u64::from(self.end.offset) + frame.stored_bytes() > self.segments.bytes();
        if full && self.end.offset != 0 {
            self.next_segment()?;
        }
        if self.end.offset == 0 {
            self.begin_segment()?;
        }
        self.write(frame).map_err(AppendError::Write)
    }

    /// Makes everything appended durable.
    pub fn sync(&mut self) -> Result<(), AppendError> {
        self.file.sync_data().map_err(AppendError::Sync)?;
        self.durable = self.end.frame();
        Ok(())
    }

    /// The segment so far is closed for good: durable, and without the space taken ahead.
    fn next_segment(&mut self) -> Result<(), AppendError> {
        self.sync()?;
        let number = self.end.segment + 1;
        let file = self
            .segments
            .open_writable(number)
            .map_err(AppendError::Write)?;
        file.set_len(0).map_err(AppendError::Write)?;
        self.file
            .set_len(u64::from(self.end.offset))
            .map_err(AppendError::Write)?;
        self.file = file;
        self.allocated = 0;
        self.end = LogPosition {
            segment: number,
            offset: 0,
            chain: self.end.chain,
        };
        Ok(())
    }

    fn begin_segment(&mut self) -> Result<(), AppendError> {
        let head = SegmentHead {
            source: self.source.0,
            number: self.end.segment,
            previous: self.end.chain,
        };
        let encoded = codec::encode(&head).map_err(|e| AppendError::Write(io::Error::other(e)))?;
        let frame = NewFrame::bare(FrameKind::Segment, u64::from(self.end.segment), encoded);
        self.write(&frame).map_err(AppendError::Write)?;
        // The content lasts once that is synced of which it is told.
        self.segments.sync_names().map_err(AppendError::Sync)
    }

    fn write(&mut self, frame: &NewFrame) -> io::Result<FramePosition> {
        let at = FramePosition {
            segment: self.end.segment,
            offset: self.end.offset,
        };
        let bytes = frame.stored_bytes();
        let upto = u64::from(at.offset) + bytes;
        self.allocated = allocate(&self.file, self.allocated, upto, self.segments.bytes());
        let (header, chain) = frame.seal(self.end.chain);
        let padding = [0u8; ALIGNMENT as usize];
        let unpadded = HEADER_BYTES + frame.encoded.len() + frame.payload.len();
        let padding = &padding[..bytes as usize - unpadded];
        write_all_at(
            &self.file,
            at.offset,
            [&header, &frame.encoded, &frame.payload, padding],
        )?;
        self.end.offset += bytes as u32;
        self.end.chain = chain;
        Ok(at)
    }
}

/// One vectored write; what it leaves is written piece by piece.
fn write_all_at(file: &File, offset: u32, pieces: [&[u8]; 4]) -> io::Result<()> {
    let slices = pieces.map(IoSlice::new);
    let mut done = rustix::io::pwritev(file, &slices, u64::from(offset))?;
    let mut at = u64::from(offset) + done as u64;
    for piece in pieces {
        let skip = done.min(piece.len());
        done -= skip;
        file.write_all_at(&piece[skip..], at)?;
        at += (piece.len() - skip) as u64;
    }
    Ok(())
}

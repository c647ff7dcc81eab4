//! Walks the log frame by frame, checking every checksum and the chain.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use everwrite_protocol::codec;

use super::frame::{Chain, FrameError, FrameKind, FramePosition, HEADER_BYTES, Header};
use super::segment::{SegmentHead, Segments, io_error};
use crate::store::StoreError;

/// A place between two frames.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LogPosition {
    /// Number of the segment, from 1.
    pub segment: u32,
    /// First byte in it of the frame that follows.
    pub offset: u32,
    /// Chain of the frame before.
    pub chain: Chain,
}

impl LogPosition {
    /// Where the very first frame goes.
    pub const START: Self = Self {
        segment: 1,
        offset: 0,
        chain: Chain(0),
    };

    /// Without the chain.
    pub fn frame(self) -> FramePosition {
        FramePosition {
            segment: self.segment,
            offset: self.offset,
        }
    }
}

/// A frame read from the log.
#[derive(Debug)]
pub struct Frame<'a> {
    /// Where it begins.
    pub at: FramePosition,
    /// Its header.
    pub header: Header,
    /// Encoded part.
    pub encoded: &'a [u8],
    /// Payload as stored.
    pub payload: &'a [u8],
}

/// What a step of a scan met.
#[derive(Debug)]
pub enum Step<'a> {
    /// A frame.
    Frame(Frame<'a>),
    /// Nothing was written here yet, and there is no further segment.
    End,
    /// Bytes that are no frame, here.
    Bad(FramePosition, FrameError),
}

/// A walk over the log. Not to be stepped beyond what is known to be written while a writer is at
/// work: it could mistake a half-written frame for a bad one.
#[derive(Debug)]
pub struct Scan {
    segments: Segments,
    file: Option<(u32, File)>,
    position: LogPosition,
    body: Vec<u8>,
}

impl Scan {
    /// From `position` on.
    pub fn new(segments: Segments, position: LogPosition) -> Self {
        Self {
            segments,
            file: None,
            position,
            body: Vec::new(),
        }
    }

    /// Behind the last frame.
    pub fn position(&self) -> LogPosition {
        self.position
    }

    /// The next frame that is not the head of a segment.
    pub fn step(&mut self) -> Result<Step<'_>, StoreError> {
        loop {
            match self.read()? {
                Ok(header) if header.kind == FrameKind::Segment => {}
                Ok(header) => return Ok(Step::Frame(self.frame(header))),
                Err(FrameError::Empty) if self.next_segment() => {}
                Err(FrameError::Empty) => return Ok(Step::End),
                Err(error) => return Ok(Step::Bad(self.position.frame(), error)),
            }
        }
    }

    fn frame(&self, header: Header) -> Frame<'_> {
        let offset = self.position.offset - header.stored_bytes() as u32;
        let (encoded, payload) = self.body.split_at(header.encoded_bytes);
        let at = FramePosition {
            segment: self.position.segment,
            offset,
        };
        Frame {
            at,
            header,
            encoded,
            payload,
        }
    }

    fn next_segment(&mut self) -> bool {
        let next = self.position.segment + 1;
        let there = self.segments.exists(next);
        if there {
            self.position = LogPosition {
                segment: next,
                offset: 0,
                ..self.position
            };
        }
        there
    }

    /// Reads the frame at the position into `body` and steps over it.
    fn read(&mut self) -> Result<Result<Header, FrameError>, StoreError> {
        let LogPosition {
            segment,
            offset,
            chain,
        } = self.position;
        let Some(file) = open(&self.segments, &mut self.file, segment)? else {
            return Ok(Err(FrameError::Empty));
        };
        let result = read_frame(file, offset, &mut self.body)
            .map_err(|error| io_error("read the log", &self.segments.path(segment), error))?;
        let header = match result {
            Ok(header) if !header.follows(chain) => return Ok(Err(FrameError::Chain)),
            Ok(header) if (header.kind == FrameKind::Segment) != (offset == 0) => {
                return Ok(Err(FrameError::Form));
            }
            Ok(header) => header,
            Err(error) => return Ok(Err(error)),
        };
        if offset == 0 && !is_head(&self.body, segment, chain) {
            return Ok(Err(FrameError::Form));
        }
        self.position.offset += header.stored_bytes() as u32;
        self.position.chain = header.chain;
        Ok(Ok(header))
    }
}

fn is_head(body: &[u8], segment: u32, previous: Chain) -> bool {
    codec::decode::<SegmentHead>(body)
        .is_ok_and(|head| head.number == segment && head.previous == previous)
}

fn open<'a>(
    segments: &Segments,
    file: &'a mut Option<(u32, File)>,
    number: u32,
) -> Result<Option<&'a File>, StoreError> {
    if file.as_ref().is_none_or(|(open, _)| *open != number) {
        *file = segments.open(number)?.map(|opened| (number, opened));
    }
    Ok(file.as_ref().map(|(_, file)| file))
}

/// Reads the frame at `offset`, its body into `body`. The outer error is the disk's, the inner one
/// says why the bytes are no frame. The chain is not looked at.
pub fn read_frame(
    file: &File,
    offset: u32,
    body: &mut Vec<u8>,
) -> io::Result<Result<Header, FrameError>> {
    let mut bytes = [0u8; HEADER_BYTES];
    let got = read_up_to(file, &mut bytes, u64::from(offset))?;
    let header = match Header::decode(&bytes) {
        Ok(header) => header,
        // The file may end inside what would be a header: that is nothing only if it is all zeros.
        Err(FrameError::Empty) if bytes[..got].iter().any(|byte| *byte != 0) => {
            return Ok(Err(FrameError::Magic));
        }
        Err(error) => return Ok(Err(error)),
    };
    body.resize(header.body_bytes(), 0);
    let got = read_up_to(file, body, u64::from(offset) + HEADER_BYTES as u64)?;
    match got == body.len() && header.owns(body) {
        true => Ok(Ok(header)),
        false => Ok(Err(FrameError::BodyChecksum)),
    }
}

/// Fills `buffer` from `offset`, or up to the end of the file; tells how much.
pub(super) fn read_up_to(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
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

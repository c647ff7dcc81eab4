//! Reads content back out of frames: verified, decompressed, a few frames kept.

use std::collections::VecDeque;
use std::fs::File;
use std::io;

use everwrite_protocol::codec;

use super::Preimages;
use super::frame::{FramePosition, Header};
use super::scan::read_frame;
use super::segment::{Segments, io_error};
use crate::store::StoreError;

/// Frames kept decompressed; each at most one payload (1 MiB).
const FRAMES_KEPT: usize = 4;

/// A reader of payloads.
#[derive(Debug)]
pub struct LogContent {
    segments: Segments,
    file: Option<(u32, File)>,
    kept: VecDeque<(FramePosition, Vec<u8>)>,
    body: Vec<u8>,
}

impl LogContent {
    /// Over these segments.
    pub fn new(segments: Segments) -> Self {
        Self {
            segments,
            file: None,
            kept: VecDeque::new(),
            body: Vec::new(),
        }
    }

    /// `length` bytes from `inner` on of the decompressed payload of the frame at `position`.
    pub fn read(
        &mut self,
        position: FramePosition,
        inner: u32,
        length: u32,
    ) -> Result<&[u8], StoreError> {
        let index = match self.kept.iter().position(|(at, _)| *at == position) {
            Some(index) => index,
            None => self.load(position)?,
        };
        let payload = &self.kept[index].1;
        let start = inner as usize;
        match payload.get(start..start + length as usize) {
            Some(bytes) => Ok(bytes),
            None => Err(self.damaged(position, "shorter than the catalog says")),
        }
    }

    /// What a PREIMAGE frame lists.
    pub fn preimages(&mut self, position: FramePosition) -> Result<Preimages, StoreError> {
        let header = self.fetch(position)?;
        codec::decode(&self.body[..header.encoded_bytes])
            .map_err(|error| self.damaged(position, &error.to_string()))
    }

    fn load(&mut self, position: FramePosition) -> Result<usize, StoreError> {
        let payload = self.payload(position)?;
        if self.kept.len() == FRAMES_KEPT {
            self.kept.pop_back();
        }
        self.kept.push_front((position, payload));
        Ok(0)
    }

    fn payload(&mut self, position: FramePosition) -> Result<Vec<u8>, StoreError> {
        let header = self.fetch(position)?;
        raw_payload(&header, &self.body)
            .map_err(|_| self.damaged(position, "the payload does not decompress"))
    }

    /// Reads a frame's body.
    fn fetch(&mut self, position: FramePosition) -> Result<Header, StoreError> {
        if self
            .file
            .as_ref()
            .is_none_or(|(number, _)| *number != position.segment)
        {
            self.file = self
                .segments
                .open(position.segment)?
                .map(|file| (position.segment, file));
        }
        let Some((_, file)) = &self.file else {
            return Err(self.damaged(position, "the segment is missing"));
        };
        let read = read_frame(file, position.offset, &mut self.body);
        read.map_err(|error| {
            io_error("read the log", &self.segments.path(position.segment), error)
        })?
        .map_err(|error| self.damaged(position, &error.to_string()))
    }

    fn damaged(&self, position: FramePosition, what: &str) -> StoreError {
        StoreError::Damaged {
            path: self.segments.path(position.segment),
            offset: u64::from(position.offset),
            what: what.to_owned(),
        }
    }
}

fn raw_payload(header: &Header, body: &[u8]) -> io::Result<Vec<u8>> {
    let payload = &body[header.encoded_bytes..];
    if !header.compressed {
        return Ok(payload.to_vec());
    }
    decompress(payload, header.raw_bytes)
}

/// Decompresses to exactly `raw_bytes` (a checked length), never beyond.
pub fn decompress(payload: &[u8], raw_bytes: usize) -> io::Result<Vec<u8>> {
    let raw = zstd::bulk::decompress(payload, raw_bytes)?;
    match raw.len() == raw_bytes {
        true => Ok(raw),
        false => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

//! A file's content, brought from the history: what is there already and right is not written.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::path::PathBuf;

use everwrite_protocol::ids::{FileId, SequenceNumber};

use super::digest::ContentDigest;
use super::error::RestoreError;
use super::history::{Asked, History, HistoryError};
use super::piece::Piece;
use crate::mirror::{data_ranges, punch, read_at, write_at};

/// Bytes that are looked at in one go where there should be a hole.
const LOOK_BYTES: u64 = 1 << 20;

/// What was done for one file.
pub(super) struct Written {
    /// Bytes that differed.
    pub(super) bytes: u64,
    /// Content or size differed.
    pub(super) changed: bool,
    /// Digest of what the file must hold.
    pub(super) digest: blake3::Hash,
}

/// Either side may fail.
pub(super) enum ContentError {
    History(HistoryError),
    Local(io::Error),
}

impl ContentError {
    pub(super) fn at(self, path: PathBuf) -> RestoreError {
        match self {
            Self::History(error) => error.into(),
            Self::Local(source) => RestoreError::Local {
                what: "write",
                path,
                source,
            },
        }
    }
}

impl From<HistoryError> for ContentError {
    fn from(error: HistoryError) -> Self {
        Self::History(error)
    }
}

impl From<io::Error> for ContentError {
    fn from(error: io::Error) -> Self {
        Self::Local(error)
    }
}

/// Makes `into` hold what `file` held at that moment, whose first piece may be there already.
/// `progress` hears how many bytes are done.
pub(super) fn write_content<H: History>(
    history: &Asked<'_, H>,
    (file, at): (FileId, SequenceNumber),
    mut first: Option<Piece>,
    into: &File,
    progress: &mut dyn FnMut(u64),
) -> Result<Written, ContentError> {
    let mut output = Output {
        file: into,
        digest: ContentDigest::new(),
        written: 0,
        changed: false,
    };
    let mut offset = 0;
    loop {
        let piece = match first.take() {
            Some(piece) => piece,
            None => history.read(file, at, offset)?,
        };
        // Setting the size that it has would change its time.
        if offset == 0 && into.metadata()?.len() != piece.size() {
            into.set_len(piece.size())?;
            output.changed = true;
        }
        let mut hole = piece.offset();
        for (start, data) in piece.data() {
            output.zeros(hole..start)?;
            output.data(start, data)?;
            hole = start + data.len() as u64;
        }
        output.zeros(hole..piece.end())?;
        progress(piece.end());
        if piece.is_last() {
            return Ok(Written {
                bytes: output.written,
                changed: output.changed || output.written > 0,
                digest: output.digest.finish(piece.size()),
            });
        }
        offset = piece.end();
    }
}

struct Output<'f> {
    file: &'f File,
    digest: ContentDigest,
    written: u64,
    changed: bool,
}

impl Output<'_> {
    fn data(&mut self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.digest.put(offset, data);
        let mut found = vec![0; data.len()];
        let read = read_at(self.file, &mut found, offset)?;
        if read < data.len() || found != data || self.is_hole(offset, data.len() as u64)? {
            write_at(self.file, data, offset)?;
            self.written += data.len() as u64;
        }
        Ok(())
    }

    /// Zeros that are data there and a hole here are written all the same.
    fn is_hole(&self, offset: u64, length: u64) -> io::Result<bool> {
        Ok(data_ranges(self.file, offset..offset + length, length)?.is_empty())
    }

    fn zeros(&mut self, range: Range<u64>) -> io::Result<()> {
        if range.is_empty() {
            return Ok(());
        }
        for data in data_ranges(self.file, range, LOOK_BYTES)? {
            self.written += data.end - data.start;
            punch(self.file, data)?;
        }
        Ok(())
    }
}

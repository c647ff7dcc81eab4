//! Content of a file of the mirror, against the bytes in the log.

use std::fs::File;
use std::io;
use std::ops::Range;

use everwrite_protocol::ids::FileId;

use super::Report;
use crate::apply::plan::content::{Piece, Place};
use crate::catalog::CatalogRead;
use crate::log::Segments;
use crate::log::content::LogContent;
use crate::mirror::{data_ranges, read_at};
use crate::store::StoreError;

/// Bytes read from the disk at a time.
const CHUNK_BYTES: usize = 1 << 20;

/// Compares ranges of files.
#[derive(Debug)]
pub(super) struct Comparison {
    log: LogContent,
    buffer: Vec<u8>,
}

impl Comparison {
    pub(super) fn new(segments: Segments) -> Self {
        Self {
            log: LogContent::new(segments),
            buffer: vec![0; CHUNK_BYTES],
        }
    }

    /// First byte in which a range of the file differs from the log. Catalog and mirror are held
    /// at one recovery point.
    pub(super) fn range(
        &mut self,
        read: &CatalogRead<'_>,
        file: FileId,
        inode: &File,
        range: &Range<u64>,
        report: &mut Report,
    ) -> Result<Option<u64>, StoreError> {
        let mut told = 0;
        for extent in read.current(file, range.clone())? {
            let Some(piece) = extent.piece().within(range) else {
                continue;
            };
            told += piece.length;
            if let Some(at) = self.piece(file, inode, &piece)? {
                return Ok(Some(at));
            }
        }
        report.bytes_compared += told;
        report.bytes_untold += (range.end - range.start).saturating_sub(told);
        Ok(None)
    }

    fn piece(
        &mut self,
        file: FileId,
        inode: &File,
        piece: &Piece,
    ) -> Result<Option<u64>, StoreError> {
        let compared = match piece.place {
            Place::Log(frame, inner) => {
                let expected = self.log.read(frame, inner, piece.length as u32)?;
                same(&mut self.buffer, inode, piece.offset, expected)
            }
            Place::Zeros => {
                let range = piece.offset..piece.offset + piece.length;
                zeros(&mut self.buffer, inode, range)
            }
            Place::Before(..) => Ok(None),
        };
        compared.map_err(|source| StoreError::Io {
            action: "read the file",
            path: format!("mirror file {}", file.0).into(),
            source,
        })
    }
}

/// First byte from `offset` on that is not as in `expected`.
fn same(buffer: &mut [u8], inode: &File, offset: u64, expected: &[u8]) -> io::Result<Option<u64>> {
    let mut at = offset;
    for part in expected.chunks(buffer.len()) {
        let got = read_at(inode, &mut buffer[..part.len()], at)?;
        if buffer[..got] != *part {
            let pairs = buffer[..got].iter().zip(part);
            let equal = pairs.take_while(|(found, expected)| found == expected);
            return Ok(Some(at + equal.count() as u64));
        }
        at += part.len() as u64;
    }
    Ok(None)
}

/// First byte within `range` that is not zero. Holes are not read.
fn zeros(buffer: &mut [u8], inode: &File, range: Range<u64>) -> io::Result<Option<u64>> {
    for part in data_ranges(inode, range, buffer.len() as u64)? {
        let length = (part.end - part.start) as usize;
        let got = read_at(inode, &mut buffer[..length], part.start)?;
        if let Some(at) = buffer[..got].iter().position(|byte| *byte != 0) {
            return Ok(Some(part.start + at as u64));
        }
    }
    Ok(None)
}

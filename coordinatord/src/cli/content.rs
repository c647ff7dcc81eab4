//! Content as of some moment, piece by piece, with its holes.

use std::io::{self, Write};

use everwrite_protocol::ids::{FileId, SequenceNumber};
use everwrite_protocol::wire::{Answer, ContentExtent, Query};

use super::archive::Archive;
use super::exit::Failure;

/// A piece of a file: what its extents leave out reads as zeros.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Piece {
    /// First byte in the file.
    offset: u64,
    /// First byte after it.
    end: u64,
    extents: Vec<ContentExtent>,
    payload: Vec<u8>,
}

/// Reads one file from its first byte to its last.
pub(super) struct Content<'a> {
    archive: &'a Archive,
    file: FileId,
    at: SequenceNumber,
    offset: u64,
    done: bool,
}

impl<'a> Content<'a> {
    pub(super) fn of(archive: &'a Archive, file: FileId, at: SequenceNumber) -> Self {
        Self {
            archive,
            file,
            at,
            offset: 0,
            done: false,
        }
    }

    /// The next piece; `None` at the end.
    pub(super) async fn next(&mut self) -> Result<Option<Piece>, Failure> {
        if self.done {
            return Ok(None);
        }
        let query = Query::Read {
            file: self.file,
            at: self.at,
            offset: self.offset,
        };
        let (Answer::Read { extents, end, size }, payload) = self.archive.ask(query).await? else {
            return Err(self.archive.mismatch());
        };
        let piece = Piece {
            offset: self.offset,
            end,
            extents,
            payload,
        };
        self.done = end >= size;
        self.offset = end;
        match piece.is_sound() && (self.done || end > piece.offset) {
            true => Ok(Some(piece)),
            false => Err(self.archive.mismatch()),
        }
    }
}

impl Piece {
    /// Extents ascend within the piece, and the payload holds just them.
    fn is_sound(&self) -> bool {
        let mut at = self.offset;
        let ascending = self.extents.iter().all(|extent| {
            let fits = extent.offset >= at;
            at = extent.offset.saturating_add(u64::from(extent.length));
            fits
        });
        let bytes: u64 = self
            .extents
            .iter()
            .map(|extent| u64::from(extent.length))
            .sum();
        ascending && at <= self.end.max(self.offset) && bytes == self.payload.len() as u64
    }

    /// Writes it, holes as zeros.
    pub(super) fn write_to(&self, out: &mut impl Write) -> io::Result<()> {
        let (mut at, mut payload) = (self.offset, self.payload.as_slice());
        for extent in &self.extents {
            write_zeros(out, extent.offset - at)?;
            let (data, rest) = payload.split_at(extent.length as usize);
            out.write_all(data)?;
            payload = rest;
            at = extent.offset + u64::from(extent.length);
        }
        write_zeros(out, self.end.saturating_sub(at))
    }
}

fn write_zeros(out: &mut impl Write, mut count: u64) -> io::Result<()> {
    static ZEROS: [u8; 1 << 16] = [0; 1 << 16];
    while count > 0 {
        let bytes = count.min(ZEROS.len() as u64) as usize;
        out.write_all(&ZEROS[..bytes])?;
        count -= bytes as u64;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn piece(offset: u64, end: u64, extents: &[(u64, u32)], payload: &[u8]) -> Piece {
        let extents = extents
            .iter()
            .map(|&(offset, length)| ContentExtent { offset, length })
            .collect();
        Piece {
            offset,
            end,
            extents,
            payload: payload.to_owned(),
        }
    }

    #[test]
    fn holes_are_zeros() {
        let piece = piece(2, 9, &[(3, 2), (6, 1)], b"abc");
        assert!(piece.is_sound());
        let mut out = Vec::new();
        piece.write_to(&mut out).unwrap();
        assert_eq!(out, b"\0ab\0c\0\0");
    }

    #[test]
    fn nonsense_is_refused() {
        let cases = [
            piece(0, 4, &[(0, 2)], b"a"),
            piece(0, 4, &[(2, 3)], b"abc"),
            piece(0, 4, &[(2, 1), (0, 1)], b"ab"),
            piece(4, 8, &[(0, 1)], b"a"),
            piece(0, 4, &[(u64::MAX, 2)], b"ab"),
        ];
        for case in cases {
            assert!(!case.is_sound(), "{case:?}");
        }
    }
}

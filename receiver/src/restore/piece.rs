//! A piece of a file's content as of some moment, checked before it is believed.

use std::io::{self, Write};

use everwrite_protocol::wire::{Answer, ContentExtent};

/// What an answer to [`Query::Read`](everwrite_protocol::wire::Query::Read) holds. What the extents
/// leave out reads as zeros.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Piece {
    offset: u64,
    end: u64,
    size: u64,
    extents: Vec<ContentExtent>,
    payload: Vec<u8>,
}

impl Piece {
    /// The piece that was asked for from `offset` on; `None`: the answer makes no sense. Extents
    /// ascend within the piece, the payload holds just them, and there is progress unless all has
    /// been read.
    pub fn new(offset: u64, answer: Answer, payload: Vec<u8>) -> Option<Self> {
        let Answer::Read { extents, end, size } = answer else {
            return None;
        };
        let piece = Self {
            offset,
            end: end.min(size),
            size,
            extents,
            payload,
        };
        (piece.is_sound() && (piece.is_last() || piece.end > offset)).then_some(piece)
    }

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

    /// First byte in the file.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// First byte after it: where to ask on.
    pub fn end(&self) -> u64 {
        self.end
    }

    /// Size of the file at that moment.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Whether the file ends with it.
    pub fn is_last(&self) -> bool {
        self.end >= self.size
    }

    /// Its data: offset in the file, bytes.
    pub fn data(&self) -> impl Iterator<Item = (u64, &[u8])> {
        let mut payload = self.payload.as_slice();
        self.extents.iter().map(move |extent| {
            let (data, rest) = payload.split_at(extent.length as usize);
            payload = rest;
            (extent.offset, data)
        })
    }

    /// Writes all of it, holes as zeros.
    pub fn write_to(&self, out: &mut impl Write) -> io::Result<()> {
        let mut at = self.offset;
        for (offset, data) in self.data() {
            write_zeros(out, offset - at)?;
            out.write_all(data)?;
            at = offset + data.len() as u64;
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

    fn piece(
        offset: u64,
        end: u64,
        size: u64,
        extents: &[(u64, u32)],
        data: &[u8],
    ) -> Option<Piece> {
        let extents = extents
            .iter()
            .map(|&(offset, length)| ContentExtent { offset, length })
            .collect();
        Piece::new(offset, Answer::Read { extents, end, size }, data.to_owned())
    }

    #[test]
    fn holes_are_zeros() {
        let piece = piece(2, 9, 20, &[(3, 2), (6, 1)], b"abc").unwrap();
        let mut out = Vec::new();
        piece.write_to(&mut out).unwrap();
        assert_eq!(out, b"\0ab\0c\0\0");
        assert!(!piece.is_last());
    }

    #[test]
    fn nonsense_is_refused() {
        let cases = [
            piece(0, 4, 4, &[(0, 2)], b"a"),
            piece(0, 4, 4, &[(2, 3)], b"abc"),
            piece(0, 4, 4, &[(2, 1), (0, 1)], b"ab"),
            piece(4, 8, 8, &[(0, 1)], b"a"),
            piece(0, 4, 4, &[(u64::MAX, 2)], b"ab"),
            piece(4, 4, 8, &[], b""),
            Piece::new(0, Answer::Signature, vec![]),
        ];
        for case in cases {
            assert_eq!(case, None);
        }
        assert!(piece(0, 0, 0, &[], b"").is_some_and(|piece| piece.is_last()));
    }
}

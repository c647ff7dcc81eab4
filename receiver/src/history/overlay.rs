//! Ranges painted over ranges: what was painted last is seen.

use std::collections::BTreeMap;
use std::ops::Range;

use crate::apply::plan::content::{Piece, Place};

/// Pieces over a range; where none was painted the base shows.
#[derive(Clone, Debug, Default)]
pub(super) struct Overlay {
    pieces: BTreeMap<u64, (u64, Place)>,
}

impl Overlay {
    /// Paints a piece.
    pub(super) fn paint(&mut self, piece: Piece) {
        let range = piece.offset..piece.offset + piece.length;
        self.clear(&range);
        self.pieces
            .insert(piece.offset, (piece.length, piece.place));
    }

    fn clear(&mut self, range: &Range<u64>) {
        let first = self
            .pieces
            .range(..range.start)
            .next_back()
            .map(|(offset, _)| *offset);
        let inside = self.pieces.range(range.clone()).map(|(offset, _)| *offset);
        let touched: Vec<u64> = first.into_iter().chain(inside).collect();
        for offset in touched {
            let Some((length, place)) = self.pieces.remove(&offset) else {
                continue;
            };
            let old = Piece {
                offset,
                length,
                place,
            };
            for rest in [0..range.start, range.end..u64::MAX] {
                if let Some(rest) = old.within(&rest) {
                    self.pieces.insert(rest.offset, (rest.length, rest.place));
                }
            }
        }
    }

    /// What is seen in a range, in order: painted pieces, and `None` for the base.
    pub(super) fn seen(&self, range: Range<u64>) -> Vec<(Range<u64>, Option<Place>)> {
        let first = self
            .pieces
            .range(..=range.start)
            .next_back()
            .map_or(0, |(offset, _)| *offset);
        let mut seen = Vec::new();
        let mut at = range.start;
        for (offset, (length, place)) in self.pieces.range(first..range.end) {
            let piece = Piece {
                offset: *offset,
                length: *length,
                place: *place,
            };
            let Some(piece) = piece.within(&range) else {
                continue;
            };
            if at < piece.offset {
                seen.push((at..piece.offset, None));
            }
            at = piece.offset + piece.length;
            seen.push((piece.offset..at, Some(piece.place)));
        }
        if at < range.end {
            seen.push((at..range.end, None));
        }
        seen
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::FramePosition;

    #[test]
    fn the_last_painted_is_seen() {
        let frame = |segment| Place::Log(FramePosition { segment, offset: 0 }, 0);
        let mut overlay = Overlay::default();
        overlay.paint(Piece {
            offset: 10,
            length: 10,
            place: frame(1),
        });
        overlay.paint(Piece {
            offset: 13,
            length: 2,
            place: frame(2),
        });
        overlay.paint(Piece {
            offset: 18,
            length: 7,
            place: Place::Zeros,
        });
        let seen = overlay.seen(5..30);
        let expected = [
            (5..10, None),
            (10..13, Some(frame(1))),
            (13..15, Some(frame(2))),
            (15..18, Some(frame(1).forward(5))),
            (18..25, Some(Place::Zeros)),
            (25..30, None),
        ];
        assert_eq!(seen, expected);
        assert_eq!(overlay.seen(14..15), [(14..15, Some(frame(2).forward(1)))]);
    }
}

//! From matches and holes to pieces: pure.

use std::ops::Range;

use super::matches::Matches;
use super::{Mode, Piece};

/// What becomes of a stretch of the new content.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Fate {
    Found { from: u64 },
    Unknown,
}

/// All of `length` bytes in pieces. What is not found is a hole where the new content has one
/// (`holes` ascending), and data elsewhere. What is found stays found; but a file that is built
/// anew begins as one hole, and needs no zeros copied into it.
pub(super) fn pieces(
    matches: &Matches,
    length: u64,
    holes: &[Range<u64>],
    mode: Mode,
) -> Vec<Piece> {
    let mut stretches: Vec<(Range<u64>, Fate)> = matches
        .gaps(length)
        .into_iter()
        .map(|gap| (gap, Fate::Unknown))
        .collect();
    let found = matches
        .iter()
        .map(|found| (found.offset..found.end(), Fate::Found { from: found.from }));
    stretches.extend(found);
    stretches.sort_unstable_by_key(|(range, _)| range.start);
    let mut pieces = Pieces::default();
    let mut holes = holes;
    for (range, fate) in stretches {
        while holes.first().is_some_and(|hole| hole.end <= range.start) {
            holes = &holes[1..];
        }
        if mode == Mode::InPlace && fate != Fate::Unknown {
            pieces.add(range, fate);
        } else {
            pieces.add_around(range, fate, holes);
        }
    }
    pieces.0
}

#[derive(Default)]
struct Pieces(Vec<Piece>);

impl Pieces {
    /// `range`, with the holes in it as holes.
    fn add_around(&mut self, range: Range<u64>, fate: Fate, holes: &[Range<u64>]) {
        let mut at = range.start;
        for hole in holes.iter().take_while(|hole| hole.start < range.end) {
            let (start, end) = (hole.start.max(at), hole.end.min(range.end));
            self.add(at..start, fate.after(at - range.start));
            self.hole(start..end);
            at = end;
        }
        self.add(at..range.end, fate.after(at - range.start));
    }

    fn add(&mut self, range: Range<u64>, fate: Fate) {
        let (offset, length) = (range.start, range.end - range.start);
        if length > 0 {
            self.0.push(match fate {
                Fate::Found { from } if from == offset => Piece::Same { offset, length },
                Fate::Found { from } => Piece::Copy {
                    offset,
                    length,
                    from_offset: from,
                },
                Fate::Unknown => Piece::Data { offset, length },
            });
        }
    }

    /// Holes that touch become one.
    fn hole(&mut self, range: Range<u64>) {
        match self.0.last_mut() {
            Some(Piece::Hole { offset, length }) if *offset + *length == range.start => {
                *length = range.end - *offset;
            }
            _ if range.is_empty() => {}
            _ => self.0.push(Piece::Hole {
                offset: range.start,
                length: range.end - range.start,
            }),
        }
    }
}

impl Fate {
    fn after(self, bytes: u64) -> Self {
        match self {
            Self::Found { from } => Self::Found { from: from + bytes },
            Self::Unknown => Self::Unknown,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::matches::Match;
    use super::*;

    const HOLES: [Range<u64>; 2] = [20..30, 60..80];

    fn found() -> Matches {
        [
            Match {
                offset: 10,
                length: 30,
                from: 10,
            },
            Match {
                offset: 70,
                length: 20,
                from: 50,
            },
        ]
        .into_iter()
        .collect()
    }

    #[test]
    fn without_holes_found_is_same_or_copy_and_the_rest_data() {
        let wanted = [
            Piece::Data {
                offset: 0,
                length: 10,
            },
            Piece::Same {
                offset: 10,
                length: 30,
            },
            Piece::Data {
                offset: 40,
                length: 30,
            },
            Piece::Copy {
                offset: 70,
                length: 20,
                from_offset: 50,
            },
            Piece::Data {
                offset: 90,
                length: 10,
            },
        ];
        assert_eq!(pieces(&found(), 100, &[], Mode::Rebuild), wanted);
    }

    #[test]
    fn a_file_built_anew_keeps_every_hole() {
        let wanted = [
            Piece::Data {
                offset: 0,
                length: 10,
            },
            Piece::Same {
                offset: 10,
                length: 10,
            },
            Piece::Hole {
                offset: 20,
                length: 10,
            },
            Piece::Same {
                offset: 30,
                length: 10,
            },
            Piece::Data {
                offset: 40,
                length: 20,
            },
            Piece::Hole {
                offset: 60,
                length: 20,
            },
            Piece::Copy {
                offset: 80,
                length: 10,
                from_offset: 60,
            },
            Piece::Data {
                offset: 90,
                length: 10,
            },
        ];
        assert_eq!(pieces(&found(), 100, &HOLES, Mode::Rebuild), wanted);
    }

    #[test]
    fn in_place_zeros_that_are_there_are_left_alone() {
        let same: Matches = [Match {
            offset: 10,
            length: 30,
            from: 10,
        }]
        .into_iter()
        .collect();
        let wanted = [
            Piece::Data {
                offset: 0,
                length: 10,
            },
            Piece::Same {
                offset: 10,
                length: 30,
            },
            Piece::Data {
                offset: 40,
                length: 20,
            },
            Piece::Hole {
                offset: 60,
                length: 20,
            },
            Piece::Data {
                offset: 80,
                length: 20,
            },
        ];
        assert_eq!(pieces(&same, 100, &HOLES, Mode::InPlace), wanted);
    }
}

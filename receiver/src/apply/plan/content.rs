//! What a window does to the content of one file.
//!
//! The file's bytes are pieces: those which the window touched are in a map, the gaps between are as
//! before the window. Each change of a byte that a recovery point shows is handed to the history
//! ([`Superseded`]): "these bytes were here until this batch". The content at batch T is then the
//! final content, overlaid with the superseded pieces that ended first after T.
//!
//! Invariant: from `low_water` (the smallest size since the window began) up to the size, every byte
//! is in a piece; below it a gap is what it was before the window.

use std::collections::BTreeMap;
use std::ops::Range;

use everwrite_protocol::ids::{FileId, SequenceNumber};

use crate::log::FramePosition;

/// Where bytes are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Place {
    /// In the payload of a frame, from this byte of the decompressed payload on.
    Log(FramePosition, u32),
    /// Nowhere: zeros.
    Zeros,
    /// In a file as it is in the mirror before the window, from this byte on.
    Before(FileId, u64),
}

impl Place {
    /// The place `bytes` further on.
    #[must_use]
    pub fn forward(self, bytes: u64) -> Self {
        match self {
            Self::Log(frame, inner) => Self::Log(frame, inner + bytes as u32),
            Self::Zeros => Self::Zeros,
            Self::Before(file, offset) => Self::Before(file, offset + bytes),
        }
    }
}

/// Bytes of a file, and where they are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Piece {
    /// First byte in the file.
    pub offset: u64,
    /// Bytes, more than 0.
    pub length: u64,
    /// Where they are.
    pub place: Place,
}

impl Piece {
    fn end(&self) -> u64 {
        self.offset + self.length
    }

    /// The part of it within `range`, if any.
    pub fn within(self, range: &Range<u64>) -> Option<Self> {
        let start = self.offset.max(range.start);
        let end = self.end().min(range.end);
        (start < end).then(|| Self {
            offset: start,
            length: end - start,
            place: self.place.forward(start - self.offset),
        })
    }
}

/// Bytes that a file had until a batch.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Superseded {
    /// The file.
    pub file: FileId,
    /// First batch in which they are gone.
    pub until: SequenceNumber,
    /// The bytes.
    pub piece: Piece,
}

/// How the content of a file is before the window.
pub trait ContentBefore {
    /// Why it can't be told.
    type Error;
    /// Pieces in order that fill `range` of `file` without gaps.
    fn pieces(&self, file: FileId, range: Range<u64>) -> Result<Vec<Piece>, Self::Error>;
}

#[derive(Clone, Copy, Debug)]
struct Touched {
    length: u64,
    place: Place,
    /// The batch that put it there.
    since: SequenceNumber,
}

/// The content of a file in a window.
#[derive(Clone, Debug)]
pub struct Content {
    file: FileId,
    size: u64,
    low_water: u64,
    touched: BTreeMap<u64, Touched>,
}

/// A change under way: which batch, and whether recovery points show what it supersedes.
#[derive(Debug)]
pub struct Change<'a, B> {
    /// The state before the window.
    pub before: &'a B,
    /// The batch.
    pub sequence: SequenceNumber,
    /// The file had a name before this batch, so that what it loses is history.
    pub visible: bool,
    /// Where history goes.
    pub superseded: &'a mut Vec<Superseded>,
}

impl Content {
    /// Of a file that exists before the window.
    pub fn existing(file: FileId, size: u64) -> Self {
        Self {
            file,
            size,
            low_water: size,
            touched: BTreeMap::new(),
        }
    }

    /// Of a file created in the window: zeros.
    pub fn created(file: FileId, size: u64, since: SequenceNumber) -> Self {
        let mut content = Self {
            file,
            size: 0,
            low_water: 0,
            touched: BTreeMap::new(),
        };
        content.extend(size, since);
        content
    }

    /// Bytes.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The smallest size so far; what was above before the window is gone.
    pub fn low_water(&self) -> u64 {
        self.low_water
    }

    /// The pieces which the window touched, in order.
    pub fn touched(&self) -> impl Iterator<Item = Piece> + '_ {
        self.touched.iter().map(|(offset, touched)| Piece {
            offset: *offset,
            length: touched.length,
            place: touched.place,
        })
    }

    /// New bytes at `offset`; the file grows as needed.
    pub fn write<B: ContentBefore>(
        &mut self,
        offset: u64,
        length: u64,
        place: Place,
        change: &mut Change<'_, B>,
    ) -> Result<(), B::Error> {
        if length == 0 {
            return Ok(());
        }
        self.extend(offset, change.sequence);
        let end = offset + length;
        self.supersede(offset..end.min(self.size), change)?;
        self.put(
            Piece {
                offset,
                length,
                place,
            },
            change.sequence,
        );
        self.size = self.size.max(end);
        Ok(())
    }

    /// Zeros, within the size only.
    pub fn punch<B: ContentBefore>(
        &mut self,
        range: Range<u64>,
        change: &mut Change<'_, B>,
    ) -> Result<(), B::Error> {
        let end = range.end.min(self.size);
        if range.start >= end {
            return Ok(());
        }
        self.write(range.start, end - range.start, Place::Zeros, change)
    }

    /// Another size: cut, or extended by zeros.
    pub fn truncate<B: ContentBefore>(
        &mut self,
        size: u64,
        change: &mut Change<'_, B>,
    ) -> Result<(), B::Error> {
        if size < self.size {
            self.supersede(size..self.size, change)?;
            self.clear(size..self.size);
            self.size = size;
            self.low_water = self.low_water.min(size);
        }
        self.extend(size, change.sequence);
        Ok(())
    }

    fn extend(&mut self, size: u64, since: SequenceNumber) {
        if size > self.size {
            let touched = Touched {
                length: size - self.size,
                place: Place::Zeros,
                since,
            };
            self.touched.insert(self.size, touched);
            self.size = size;
        }
    }

    /// Hands what is in `range` to the history, but for what this very batch put there.
    fn supersede<B: ContentBefore>(
        &self,
        range: Range<u64>,
        change: &mut Change<'_, B>,
    ) -> Result<(), B::Error> {
        if !change.visible || range.is_empty() {
            return Ok(());
        }
        let mut at = range.start;
        for (piece, since) in self.overlapping(&range) {
            self.supersede_gap(at..piece.offset, change)?;
            at = piece.end();
            if since < change.sequence {
                change.keep(self.file, piece);
            }
        }
        self.supersede_gap(at..range.end, change)
    }

    fn supersede_gap<B: ContentBefore>(
        &self,
        gap: Range<u64>,
        change: &mut Change<'_, B>,
    ) -> Result<(), B::Error> {
        if gap.is_empty() {
            return Ok(());
        }
        for piece in change.before.pieces(self.file, gap)? {
            change.keep(self.file, piece);
        }
        Ok(())
    }

    /// Touched pieces within `range`, cut to it, in order.
    fn overlapping<'a>(
        &'a self,
        range: &'a Range<u64>,
    ) -> impl Iterator<Item = (Piece, SequenceNumber)> + 'a {
        let first = self
            .touched
            .range(..=range.start)
            .next_back()
            .map_or(0, |(offset, _)| *offset);
        self.touched
            .range(first..range.end)
            .filter_map(move |(offset, touched)| {
                let piece = Piece {
                    offset: *offset,
                    length: touched.length,
                    place: touched.place,
                };
                piece.within(range).map(|piece| (piece, touched.since))
            })
    }

    fn put(&mut self, piece: Piece, since: SequenceNumber) {
        self.clear(piece.offset..piece.end());
        let touched = Touched {
            length: piece.length,
            place: piece.place,
            since,
        };
        self.touched.insert(piece.offset, touched);
    }

    /// Forgets touched pieces within `range`; what sticks out stays.
    fn clear(&mut self, range: Range<u64>) {
        let first = self
            .touched
            .range(..range.start)
            .next_back()
            .map(|(offset, _)| *offset);
        let inside: Vec<u64> = first
            .into_iter()
            .chain(self.touched.range(range.clone()).map(|(o, _)| *o))
            .collect();
        for offset in inside {
            let Some(old) = self.touched.remove(&offset) else {
                continue;
            };
            let end = offset + old.length;
            if offset < range.start {
                let length = old.length.min(range.start - offset);
                self.touched.insert(offset, Touched { length, ..old });
            }
            if end > range.end {
                let place = old.place.forward(range.end - offset);
                let length = end - range.end;
                self.touched.insert(
                    range.end,
                    Touched {
                        length,
                        place,
                        ..old
                    },
                );
            }
        }
    }
}

impl<B> Change<'_, B> {
    fn keep(&mut self, file: FileId, piece: Piece) {
        self.superseded.push(Superseded {
            file,
            until: self.sequence,
            piece,
        });
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const FILE: FileId = FileId(1);

    /// Before the window a file is bytes 1 to 199, told in two pieces.
    struct Bytes(u64);

    impl ContentBefore for Bytes {
        type Error = std::convert::Infallible;
        fn pieces(&self, file: FileId, range: Range<u64>) -> Result<Vec<Piece>, Self::Error> {
            let halves = [0..self.0 / 2, self.0 / 2..self.0];
            let piece = |half: &Range<u64>| Piece {
                offset: half.start,
                length: half.end - half.start,
                place: Place::Before(file, half.start),
            };
            Ok(halves
                .iter()
                .filter_map(|half| piece(half).within(&range))
                .collect())
        }
    }

    #[derive(Clone, Debug)]
    enum Step {
        Write(u64, u64),
        Punch(u64, u64),
        Truncate(u64),
    }

    fn steps() -> impl Strategy<Value = Vec<Vec<Step>>> {
        let step = prop_oneof![
            (0..120u64, 1..60u64).prop_map(|(offset, length)| Step::Write(offset, length)),
            (0..120u64, 1..60u64).prop_map(|(offset, length)| Step::Punch(offset, length)),
            (0..150u64).prop_map(Step::Truncate),
        ];
        prop::collection::vec(prop::collection::vec(step, 1..6), 1..6)
    }

    /// The value of a byte at a place: frames are told apart by their segment.
    fn value(place: Place) -> u32 {
        match place {
            Place::Log(frame, inner) => frame.segment * 1000 + inner,
            Place::Zeros => 0,
            Place::Before(_, offset) => 500_000 + offset as u32,
        }
    }

    fn paint(bytes: &mut [u32], piece: Piece) {
        for i in 0..piece.length {
            if let Some(byte) = bytes.get_mut((piece.offset + i) as usize) {
                *byte = value(piece.place.forward(i));
            }
        }
    }

    fn model_step(model: &mut Vec<u32>, step: &Step, frame: u32) {
        match *step {
            Step::Write(offset, length) => {
                let end = (offset + length) as usize;
                model.resize(model.len().max(end), 0);
                for i in 0..length {
                    model[(offset + i) as usize] = frame * 1000 + i as u32;
                }
            }
            Step::Punch(offset, length) => {
                let end = ((offset + length) as usize).min(model.len());
                (offset as usize..end).for_each(|i| model[i] = 0);
            }
            Step::Truncate(size) => model.resize(size as usize, 0),
        }
    }

    proptest! {
        #[test]
        fn every_batch_can_be_had_back(size in 0..100u64, batches in steps()) {
            let before = Bytes(size);
            let mut content = Content::existing(FILE, size);
            let mut superseded = Vec::new();
            let mut model: Vec<u32> = (0..size as u32).map(|i| 500_000 + i).collect();
            let mut states = vec![model.clone()];
            let mut frame = 0;
            for (batch, steps) in batches.iter().enumerate() {
                let sequence = SequenceNumber(batch as u64 + 1);
                for step in steps {
                    frame += 1;
                    let place = Place::Log(FramePosition { segment: frame, offset: 0 }, 0);
                    let mut change =
                        Change { before: &before, sequence, visible: true, superseded: &mut superseded };
                    match *step {
                        Step::Write(offset, length) => content.write(offset, length, place, &mut change),
                        Step::Punch(offset, length) => content.punch(offset..offset + length, &mut change),
                        Step::Truncate(size) => content.truncate(size, &mut change),
                    }.unwrap();
                    model_step(&mut model, step, frame);
                    prop_assert_eq!(content.size(), model.len() as u64);
                }
                states.push(model.clone());
            }
            let mut last: Vec<u32> = (0..content.size() as u32).map(|i| 500_000 + i).collect();
            content.touched().for_each(|piece| paint(&mut last, piece));
            prop_assert_eq!(&last, &model);
            for (at, state) in states.iter().enumerate() {
                let mut bytes = last.clone();
                bytes.resize(state.len(), u32::MAX);
                let mut later: Vec<_> =
                    superseded.iter().filter(|s| s.until.0 > at as u64).copied().collect();
                later.sort_by_key(|s| std::cmp::Reverse(s.until));
                later.iter().for_each(|s| paint(&mut bytes, s.piece));
                prop_assert_eq!(&bytes, state, "at {}", at);
            }
        }
    }
}

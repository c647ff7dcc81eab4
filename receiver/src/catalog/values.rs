//! How values look in the database.

use everwrite_protocol::codec;
use everwrite_protocol::ids::{FileId, Name, SequenceNumber, Timestamp};
use everwrite_protocol::wire::{Attributes, CutKind, Origin};
use rusqlite::Row;
use rusqlite::types::Type;

use crate::apply::plan::before::Placed;
use crate::apply::plan::content::{Piece, Place};
use crate::log::FramePosition;

/// A recovery point as it is kept.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CutRecord {
    /// The batch.
    pub sequence: SequenceNumber,
    /// Source's clock.
    pub time: Timestamp,
    /// Receiver's clock when it was stored.
    pub stored: Timestamp,
    /// What it is worth.
    pub kind: CutKind,
    /// Name of a checkpoint.
    pub checkpoint: Option<String>,
}

/// Bytes of a file that are in the log, or zeros.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LogExtent {
    /// First byte in the file.
    pub offset: u64,
    /// Bytes.
    pub length: u64,
    /// The frame; `None`: zeros.
    pub frame: Option<FramePosition>,
    /// First byte in its decompressed payload.
    pub inner: u32,
}

impl LogExtent {
    /// As a piece.
    pub fn piece(&self) -> Piece {
        let place = match self.frame {
            Some(frame) => Place::Log(frame, self.inner),
            None => Place::Zeros,
        };
        Piece {
            offset: self.offset,
            length: self.length,
            place,
        }
    }
}

/// Columns `frame` and `inner` of a place; `None`: it is not in the log.
pub(super) fn place_columns(place: Place) -> Option<(i64, u32)> {
    match place {
        Place::Log(frame, inner) => Some((frame.to_number(), inner)),
        Place::Zeros => Some((0, 0)),
        Place::Before(..) => None,
    }
}

/// Columns `offset, length, frame, inner` from `first` on.
pub(super) fn extent(row: &Row<'_>, first: usize) -> rusqlite::Result<LogExtent> {
    let frame: i64 = row.get(first + 2)?;
    Ok(LogExtent {
        offset: row.get::<_, i64>(first)? as u64,
        length: row.get::<_, i64>(first + 1)? as u64,
        frame: (frame != 0).then(|| FramePosition::from_number(frame)),
        inner: row.get(first + 3)?,
    })
}

pub(super) fn placed_number(placed: Placed) -> i64 {
    match placed {
        Placed::Named => 0,
        Placed::Staged => 1,
        Placed::Object => 2,
        Placed::Log => 3,
    }
}

pub(super) fn placed(number: i64) -> Placed {
    match number {
        0 => Placed::Named,
        1 => Placed::Staged,
        2 => Placed::Object,
        _ => Placed::Log,
    }
}

pub(super) fn cut_kind_number(kind: &CutKind) -> i64 {
    match kind {
        CutKind::CrashConsistent => 0,
        CutKind::FsyncPoint => 1,
        CutKind::Fuzzy | CutKind::FuzzyBecause(_) => 2,
        CutKind::Partial => 3,
    }
}

fn cut_kind(number: i64, why: Option<String>) -> CutKind {
    match (number, why) {
        (0, _) => CutKind::CrashConsistent,
        (1, _) => CutKind::FsyncPoint,
        (3, _) => CutKind::Partial,
        (_, Some(why)) => CutKind::FuzzyBecause(why),
        (_, None) => CutKind::Fuzzy,
    }
}

/// Columns `sequence, time, stored, kind, checkpoint, why`.
pub(super) fn cut(row: &Row<'_>) -> rusqlite::Result<CutRecord> {
    Ok(CutRecord {
        sequence: SequenceNumber(row.get::<_, i64>(0)? as u64),
        time: Timestamp(row.get(1)?),
        stored: Timestamp(row.get(2)?),
        kind: cut_kind(row.get(3)?, row.get(5)?),
        checkpoint: row.get(4)?,
    })
}

pub(super) fn file(row: &Row<'_>, column: usize) -> rusqlite::Result<FileId> {
    Ok(FileId(row.get::<_, i64>(column)? as u64))
}

pub(super) fn name(row: &Row<'_>, column: usize) -> rusqlite::Result<Name> {
    Name::new(row.get::<_, Vec<u8>>(column)?).map_err(|error| malformed(column, error))
}

pub(super) fn attributes(row: &Row<'_>, column: usize) -> rusqlite::Result<Attributes> {
    codec::decode(row.get_ref(column)?.as_blob()?).map_err(|error| malformed(column, error))
}

pub(super) fn origin(row: &Row<'_>, column: usize) -> rusqlite::Result<Origin> {
    codec::decode(row.get_ref(column)?.as_blob()?).map_err(|error| malformed(column, error))
}

pub(super) fn malformed(
    column: usize,
    error: impl std::error::Error + Send + Sync + 'static,
) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(column, Type::Blob, Box::new(error))
}

//! Questions to the catalog, all within one read transaction.

use std::ops::Range;
use std::path::Path;

use everwrite_protocol::ids::{FileId, Name, SequenceNumber, Timestamp};
use everwrite_protocol::wire::{Attributes, Origin};
use rusqlite::{CachedStatement, Connection, OptionalExtension, Params, Row, Transaction};

use super::values::{self, CutRecord, LogExtent};
use super::{OPEN, failed};
use crate::apply::plan::before::{Before, FileBefore, Placed};
use crate::apply::plan::content::{ContentBefore, Piece, Place};
use crate::store::StoreError;

/// Kinds of events in the column `what`.
pub mod event_kind {
    /// The name came to be.
    pub const CREATED: i64 = 1;
    /// The name was taken from another file.
    pub const REPLACED: i64 = 2;
    /// From `from_parent`, `from_name` to `parent`, `name`.
    pub const RENAMED: i64 = 3;
    /// The name is gone. The schema has an index on this number.
    pub const DELETED: i64 = 4;
    /// Content changed.
    pub const MODIFIED: i64 = 5;
    /// Attributes changed.
    pub const ATTRIBUTES: i64 = 6;
}

/// A crash-consistent point is preferred to a newer one that is newer by no more than this, in nanoseconds.
const CONSISTENT_NS_MAX: i64 = 60_000_000_000;

/// A consistent view of a catalog.
#[derive(Debug)]
pub struct CatalogRead<'c> {
    transaction: Transaction<'c>,
    path: &'c Path,
    applied: SequenceNumber,
    highest_file: FileId,
}

/// A name of a file over some time.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NameRecord {
    /// Directory.
    pub parent: FileId,
    /// Name in it.
    pub name: Name,
    /// Whose.
    pub file: FileId,
    /// First batch that has it.
    pub since: SequenceNumber,
    /// First batch that has it no more; at the most [`OPEN`].
    pub until: SequenceNumber,
}

/// An event.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct EventRecord {
    /// Batch.
    pub sequence: SequenceNumber,
    /// Number within the batch.
    pub number: i64,
    /// See [`event_kind`].
    pub what: i64,
    /// File.
    pub file: FileId,
    /// Where it happened, for what happens to names.
    pub place: Option<(FileId, Name)>,
    /// Where a rename came from.
    pub from: Option<(FileId, Name)>,
    /// Bytes of a modification.
    pub bytes: u64,
    /// By whom, see [`CatalogRead::origin`].
    pub origin: i64,
}

type Result<T> = std::result::Result<T, StoreError>;

impl<'c> CatalogRead<'c> {
    pub(super) fn begin(connection: &'c Connection, path: &'c Path) -> Result<Self> {
        let transaction = connection
            .unchecked_transaction()
            .map_err(|error| failed(path, error))?;
        let sql = "SELECT applied, highest_file FROM state WHERE id = 1";
        let state = connection.prepare_cached(sql).and_then(|mut statement| {
            statement.query_row([], |row| {
                let applied = SequenceNumber(row.get::<_, i64>(0)? as u64);
                Ok((applied, values::file(row, 1)?))
            })
        });
        let (applied, highest_file) = state.map_err(|error| failed(path, error))?;
        Ok(Self {
            transaction,
            path,
            applied,
            highest_file,
        })
    }

    /// The recovery point that the mirror is at in this view. What [`Catalog::state`](super::Catalog)
    /// says outside of it may be another one.
    pub fn applied(&self) -> SequenceNumber {
        self.applied
    }

    fn statement(&self, sql: &str) -> Result<CachedStatement<'_>> {
        self.transaction
            .prepare_cached(sql)
            .map_err(|error| failed(self.path, error))
    }

    fn one<T>(
        &self,
        sql: &str,
        params: impl Params,
        read: impl FnOnce(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Option<T>> {
        let row = self.statement(sql)?.query_row(params, read).optional();
        row.map_err(|error| failed(self.path, error))
    }

    fn all<T>(
        &self,
        sql: &str,
        params: impl Params,
        read: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Vec<T>> {
        let mut statement = self.statement(sql)?;
        let rows = statement
            .query_map(params, read)
            .and_then(Iterator::collect);
        rows.map_err(|error| failed(self.path, error))
    }

    /// Where a file is kept now.
    pub fn placed(&self, file: FileId) -> Result<Option<Placed>> {
        let sql = "SELECT placed FROM file WHERE file = ?1";
        self.one(sql, [file.0 as i64], |row| Ok(values::placed(row.get(0)?)))
    }

    /// Attributes at a moment, and the batch that set them.
    pub fn attributes_at(
        &self,
        file: FileId,
        at: SequenceNumber,
    ) -> Result<Option<(Attributes, SequenceNumber)>> {
        let sql = "SELECT value, since FROM attributes WHERE file = ?1 AND since <= ?2
                   ORDER BY since DESC LIMIT 1";
        self.one(sql, [file.0 as i64, at.0 as i64], |row| {
            Ok((
                values::attributes(row, 0)?,
                SequenceNumber(row.get::<_, i64>(1)? as u64),
            ))
        })
    }

    /// Who had a name at a moment.
    pub fn child_at(
        &self,
        parent: FileId,
        name: &[u8],
        at: SequenceNumber,
    ) -> Result<Option<FileId>> {
        let sql = "SELECT file FROM name WHERE parent = ?1 AND name = ?2 AND since <= ?3
                   AND until > ?3";
        self.one(sql, (parent.0 as i64, name, at.0 as i64), |row| {
            values::file(row, 0)
        })
    }

    /// Entries of a directory at a moment after a name, in byte order, at most `limit`.
    pub fn children_at(
        &self,
        parent: FileId,
        after: &[u8],
        at: SequenceNumber,
        limit: usize,
    ) -> Result<Vec<(Name, FileId)>> {
        let sql = "SELECT name, file FROM name WHERE parent = ?1 AND name > ?2 AND since <= ?3
                   AND until > ?3 ORDER BY name LIMIT ?4";
        self.all(
            sql,
            (parent.0 as i64, after, at.0 as i64, limit as i64),
            |row| Ok((values::name(row, 0)?, values::file(row, 1)?)),
        )
    }

    /// Names of a file at a moment.
    pub fn names_at(&self, file: FileId, at: SequenceNumber) -> Result<Vec<(FileId, Name)>> {
        let sql = "SELECT parent, name FROM name WHERE file = ?1 AND since <= ?2 AND until > ?2
                   ORDER BY since, parent, name";
        self.all(sql, [file.0 as i64, at.0 as i64], |row| {
            Ok((values::file(row, 0)?, values::name(row, 1)?))
        })
    }

    /// The oldest name that a file has now; files may have thousands.
    pub fn first_name(&self, file: FileId) -> Result<Option<(FileId, Name)>> {
        let sql = "SELECT parent, name FROM name WHERE file = ?1 AND until = ?2
                   ORDER BY since LIMIT 1";
        self.one(sql, [file.0 as i64, OPEN], |row| {
            Ok((values::file(row, 0)?, values::name(row, 1)?))
        })
    }

    /// Does a file have more than one name now?
    pub fn has_several_names(&self, file: FileId) -> Result<bool> {
        let sql = "SELECT 1 FROM name WHERE file = ?1 AND until = ?2 LIMIT 1 OFFSET 1";
        let second = self.one(sql, [file.0 as i64, OPEN], |row| row.get::<_, i64>(0))?;
        Ok(second.is_some())
    }

    /// Every holder of a name over time.
    pub fn holders(&self, parent: FileId, name: &[u8]) -> Result<Vec<NameRecord>> {
        let sql = "SELECT parent, name, file, since, until FROM name
                   WHERE parent = ?1 AND name = ?2";
        self.all(sql, (parent.0 as i64, name), name_record)
    }

    /// Names that hold now, after one, in the order of directory and name, at most `limit`.
    pub fn open_names_after(
        &self,
        parent: FileId,
        name: &[u8],
        limit: usize,
    ) -> Result<Vec<NameRecord>> {
        let sql = "SELECT parent, name, file, since, until FROM name
                   WHERE (parent, name) > (?1, ?2) AND until = ?3 ORDER BY parent, name LIMIT ?4";
        self.all(
            sql,
            (parent.0 as i64, name, OPEN, limit as i64),
            name_record,
        )
    }

    /// Rows of history of a file that end after a moment, the last to end first.
    pub fn history_after(
        &self,
        file: FileId,
        at: SequenceNumber,
        range: Range<u64>,
        mut take: impl FnMut(LogExtent),
    ) -> Result<()> {
        let sql = "SELECT offset, length, frame, inner FROM history WHERE file = ?1 AND until > ?2
                   AND offset < ?4 AND offset + length > ?3 ORDER BY until DESC";
        let mut statement = self.statement(sql)?;
        let params = (
            file.0 as i64,
            at.0 as i64,
            range.start as i64,
            range.end as i64,
        );
        let mut rows = statement
            .query(params)
            .map_err(|error| failed(self.path, error))?;
        while let Some(row) = rows.next().map_err(|error| failed(self.path, error))? {
            take(values::extent(row, 0).map_err(|error| failed(self.path, error))?);
        }
        Ok(())
    }

    /// Where in the log current bytes within a range are, in order; not cut to the range.
    pub fn current(&self, file: FileId, range: Range<u64>) -> Result<Vec<LogExtent>> {
        let before = "SELECT offset, length, frame, inner FROM current
                      WHERE file = ?1 AND offset <= ?2 ORDER BY offset DESC LIMIT 1";
        let within = "SELECT offset, length, frame, inner FROM current
                      WHERE file = ?1 AND offset > ?2 AND offset < ?3 ORDER BY offset";
        let (id, start) = (file.0 as i64, range.start as i64);
        let first = self.one(before, [id, start], |row| values::extent(row, 0))?;
        let first = first.filter(|extent| extent.offset + extent.length > range.start);
        let rest = self.all(within, [id, start, range.end as i64], |row| {
            values::extent(row, 0)
        })?;
        Ok(first.into_iter().chain(rest).collect())
    }

    /// A recovery point.
    pub fn cut(&self, sequence: SequenceNumber) -> Result<Option<CutRecord>> {
        let sql =
            "SELECT sequence, time, stored, kind, checkpoint, why FROM cut WHERE sequence = ?1";
        self.one(sql, [sequence.0 as i64], values::cut)
    }

    /// The newest recovery point.
    pub fn newest_cut(&self) -> Result<Option<CutRecord>> {
        Ok(self.cuts_before(None, 1)?.pop())
    }

    /// The newest recovery point whose time is not after `time`.
    pub fn cut_at_time(&self, time: Timestamp) -> Result<Option<CutRecord>> {
        let sql = "SELECT sequence, time, stored, kind, checkpoint, why FROM cut WHERE time <= ?1
                   ORDER BY time DESC, sequence DESC LIMIT 1";
        self.one(sql, [time.0], values::cut)
    }

    /// The newest crash-consistent recovery point whose time is not after `time`, if it is not much older
    /// than the newest of any kind; else that.
    pub fn consistent_cut_at(&self, time: Timestamp) -> Result<Option<CutRecord>> {
        let Some(newest) = self.cut_at_time(time)? else {
            return Ok(None);
        };
        let oldest = newest.time.0.saturating_sub(CONSISTENT_NS_MAX);
        let sql = "SELECT sequence, time, stored, kind, checkpoint, why FROM cut
                   WHERE time <= ?1 AND time >= ?2 AND kind IN (0, 1)
                   ORDER BY time DESC, sequence DESC LIMIT 1";
        let consistent = self.one(sql, [time.0, oldest], values::cut)?;
        Ok(Some(consistent.unwrap_or(newest)))
    }

    /// The newest recovery point of this name.
    pub fn cut_of_checkpoint(&self, checkpoint: &str) -> Result<Option<CutRecord>> {
        let sql =
            "SELECT sequence, time, stored, kind, checkpoint, why FROM cut WHERE checkpoint = ?1
                   ORDER BY sequence DESC LIMIT 1";
        self.one(sql, [checkpoint], values::cut)
    }

    /// Recovery points, the newest first, before one.
    pub fn cuts_before(
        &self,
        before: Option<SequenceNumber>,
        limit: usize,
    ) -> Result<Vec<CutRecord>> {
        let sql =
            "SELECT sequence, time, stored, kind, checkpoint, why FROM cut WHERE sequence < ?1
                   ORDER BY sequence DESC LIMIT ?2";
        let before = before.map_or(OPEN, |before| before.0 as i64);
        self.all(sql, [before, limit as i64], values::cut)
    }

    /// Events before a batch, the newest first, until `take` says that it has enough.
    pub fn events_before(
        &self,
        before: SequenceNumber,
        take: impl FnMut(EventRecord) -> Result<bool>,
    ) -> Result<()> {
        let sql =
            "SELECT sequence, number, what, file, parent, name, from_parent, from_name, bytes,
                   origin FROM event WHERE sequence < ?1 ORDER BY sequence DESC, number DESC";
        self.events(sql, [before.0 as i64], take)
    }

    /// Deletions, the newest first, until `take` says that it has enough.
    pub fn deletions(&self, take: impl FnMut(EventRecord) -> Result<bool>) -> Result<()> {
        let sql =
            "SELECT sequence, number, what, file, parent, name, from_parent, from_name, bytes,
                   origin FROM event WHERE what = 4 ORDER BY sequence DESC";
        self.events(sql, [], take)
    }

    /// Events of a file from one batch up to, not with, another, the newest first.
    pub fn events_of_file(
        &self,
        file: FileId,
        since: SequenceNumber,
        until: SequenceNumber,
        take: impl FnMut(EventRecord) -> Result<bool>,
    ) -> Result<()> {
        let sql =
            "SELECT sequence, number, what, file, parent, name, from_parent, from_name, bytes,
                   origin FROM event WHERE file = ?1 AND sequence >= ?2 AND sequence < ?3
                   ORDER BY sequence DESC, number DESC";
        self.events(sql, [file.0 as i64, since.0 as i64, until.0 as i64], take)
    }

    fn events(
        &self,
        sql: &str,
        params: impl Params,
        mut take: impl FnMut(EventRecord) -> Result<bool>,
    ) -> Result<()> {
        let mut statement = self.statement(sql)?;
        let mut rows = statement
            .query(params)
            .map_err(|error| failed(self.path, error))?;
        while let Some(row) = rows.next().map_err(|error| failed(self.path, error))? {
            if !take(event_record(row).map_err(|error| failed(self.path, error))?)? {
                break;
            }
        }
        Ok(())
    }

    /// Who did something.
    pub fn origin(&self, id: i64) -> Result<Option<Origin>> {
        let sql = "SELECT value FROM origin WHERE id = ?1";
        self.one(sql, [id], |row| values::origin(row, 0))
    }

    /// Roots and their paths at the source.
    pub fn roots(&self) -> Result<Vec<(FileId, Vec<u8>)>> {
        let sql = "SELECT file, path FROM root ORDER BY file";
        self.all(sql, [], |row| Ok((values::file(row, 0)?, row.get(1)?)))
    }

    /// What the mirror could not take, by file, after one, at most `limit`.
    pub fn unset(&self, after: FileId, limit: usize) -> Result<Vec<(FileId, String)>> {
        let sql = "SELECT file, what FROM unset WHERE file > ?1 ORDER BY file LIMIT ?2";
        let read = |row: &Row<'_>| Ok((values::file(row, 0)?, row.get(1)?));
        self.all(sql, [after.0 as i64, limit as i64], read)
    }

    /// What the mirror could not take of a file.
    pub fn unset_of(&self, file: FileId) -> Result<Option<String>> {
        let sql = "SELECT what FROM unset WHERE file = ?1";
        self.one(sql, [file.0 as i64], |row| row.get(0))
    }

    /// Commands that were left out: batch, part, command, reason.
    pub fn refused(&self, limit: usize) -> Result<Vec<(SequenceNumber, u32, u32, String)>> {
        let sql =
            "SELECT sequence, part, command, reason FROM refused ORDER BY rowid DESC LIMIT ?1";
        self.all(sql, [limit as i64], |row| {
            let sequence = SequenceNumber(row.get::<_, i64>(0)? as u64);
            Ok((sequence, row.get(1)?, row.get(2)?, row.get(3)?))
        })
    }

    /// How many files are in the history alone.
    pub fn dead_files(&self) -> Result<u64> {
        self.counted("SELECT count(*) FROM file WHERE dead IS NOT NULL")
    }

    /// How many recovery points have a name.
    pub fn checkpoints(&self) -> Result<u64> {
        self.counted("SELECT count(*) FROM cut WHERE checkpoint IS NOT NULL")
    }

    /// How many rows a table has. `table` is one of ours, never a peer's word.
    pub fn count(&self, table: &'static str) -> Result<u64> {
        self.counted(&format!("SELECT count(*) FROM {table}"))
    }

    fn counted(&self, sql: &str) -> Result<u64> {
        let count = self.one(sql, [], |row| row.get::<_, i64>(0))?;
        Ok(count.unwrap_or(0) as u64)
    }
}

impl ContentBefore for CatalogRead<'_> {
    type Error = StoreError;

    fn pieces(&self, file: FileId, range: Range<u64>) -> Result<Vec<Piece>> {
        let mut pieces = Vec::new();
        let mut at = range.start;
        let gap = |at: u64, end: u64| Piece {
            offset: at,
            length: end - at,
            place: Place::Before(file, at),
        };
        for extent in self.current(file, range.clone())? {
            let Some(piece) = extent.piece().within(&range) else {
                continue;
            };
            if at < piece.offset {
                pieces.push(gap(at, piece.offset));
            }
            at = piece.offset + piece.length;
            pieces.push(piece);
        }
        if at < range.end {
            pieces.push(gap(at, range.end));
        }
        Ok(pieces)
    }
}

impl Before for CatalogRead<'_> {
    fn file(&self, file: FileId) -> Result<Option<FileBefore>> {
        let sql = "SELECT placed, (SELECT value FROM attributes WHERE file = ?1
                   ORDER BY since DESC LIMIT 1) FROM file WHERE file = ?1";
        self.one(sql, [file.0 as i64], |row| {
            Ok(FileBefore {
                placed: values::placed(row.get(0)?),
                attributes: values::attributes(row, 1)?,
            })
        })
    }

    fn names(&self, file: FileId) -> Result<Vec<(FileId, Name)>> {
        let sql = "SELECT parent, name FROM name WHERE file = ?1 AND until = ?2
                   ORDER BY since, parent, name";
        self.all(sql, [file.0 as i64, OPEN], |row| {
            Ok((values::file(row, 0)?, values::name(row, 1)?))
        })
    }

    fn child(&self, parent: FileId, name: &Name) -> Result<Option<FileId>> {
        let sql = "SELECT file FROM name WHERE parent = ?1 AND name = ?2 AND until = ?3";
        self.one(sql, (parent.0 as i64, name.as_bytes(), OPEN), |row| {
            values::file(row, 0)
        })
    }

    fn children(&self, parent: FileId) -> Result<u64> {
        let sql = "SELECT count(*) FROM name WHERE parent = ?1 AND until = ?2";
        let count = self.one(sql, [parent.0 as i64, OPEN], |row| row.get::<_, i64>(0))?;
        Ok(count.unwrap_or(0) as u64)
    }

    fn highest_file(&self) -> FileId {
        self.highest_file
    }
}

fn name_record(row: &Row<'_>) -> rusqlite::Result<NameRecord> {
    Ok(NameRecord {
        parent: values::file(row, 0)?,
        name: values::name(row, 1)?,
        file: values::file(row, 2)?,
        since: SequenceNumber(row.get::<_, i64>(3)? as u64),
        until: SequenceNumber(row.get::<_, i64>(4)? as u64),
    })
}

fn event_record(row: &Row<'_>) -> rusqlite::Result<EventRecord> {
    Ok(EventRecord {
        sequence: SequenceNumber(row.get::<_, i64>(0)? as u64),
        number: row.get(1)?,
        what: row.get(2)?,
        file: values::file(row, 3)?,
        place: named_place(row, 4)?,
        from: named_place(row, 6)?,
        bytes: row.get::<_, Option<i64>>(8)?.unwrap_or(0) as u64,
        origin: row.get(9)?,
    })
}

fn named_place(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<(FileId, Name)>> {
    match row.get::<_, Option<i64>>(column)? {
        Some(parent) => Ok(Some((
            FileId(parent as u64),
            values::name(row, column + 1)?,
        ))),
        None => Ok(None),
    }
}

//! The index: what the receiver holds, as far as the source knows. It makes a restart cheap.
//!
//! One SQLite database per receiver. A row of `file` is a file by identity; a row of `name` gives it
//! a name. Everything a batch changes is written in one transaction together with the batch's
//! number, *before* the batch is sent.
//!
//! Invariants:
//! - Rows that a batch created or changed carry its number; rows that it removed wait in `gone`. So
//!   until the batch is stored it can be taken back ([`Index::roll_back`]): the index never claims
//!   more than the receiver has.
//! - A file without a name is staged (its content is on its way) or about to be removed at the end
//!   of the batch being built.
//! - `(device, inode, birth)` finds a file; an inode number alone may have been reused.

mod names;
mod rows;
mod stage;

use std::path::Path;

use anyhow::{Context, Result};
use everwrite_protocol::ids::{FileId, SequenceNumber};
use everwrite_protocol::wire::Kind;
use rusqlite::config::DbConfig;
use rusqlite::{Connection, OptionalExtension};

pub use rows::{FileRow, SUSPECT, UNPROVEN};

/// The index of one receiver.
pub struct Index {
    database: Connection,
    next_file: u64,
}

impl Index {
    /// Opens or makes the database.
    pub fn open(path: &Path) -> Result<Self> {
        let database =
            Connection::open(path).with_context(|| format!("open the index {}", path.display()))?;
        prepare(&database).with_context(|| {
            format!(
                "prepare the index {}; if it is damaged, remove it: it is rebuilt from the receiver",
                path.display()
            )
        })?;
        let mut index = Self {
            database,
            next_file: 1,
        };
        index.next_file = index.meta(NEXT_FILE)?.unwrap_or(1);
        Ok(index)
    }

    /// Last batch that was written here (and then sent).
    pub fn sent(&self) -> Result<SequenceNumber> {
        Ok(SequenceNumber(self.meta(SENT)?.unwrap_or(0)))
    }

    /// Last batch known to be stored.
    pub fn stored(&self) -> Result<SequenceNumber> {
        Ok(SequenceNumber(self.meta(STORED)?.unwrap_or(0)))
    }

    /// How many files there are, of all kinds.
    pub fn files(&self) -> Result<u64> {
        let mut statement = self.database.prepare_cached("SELECT COUNT(*) FROM file")?;
        Ok(statement
            .query_row([], |row| row.get::<_, i64>(0))?
            .cast_unsigned())
    }

    /// A file by identity.
    pub fn file(&self, file: FileId) -> Result<Option<FileRow>> {
        let mut statement = self.database.prepare_cached(
            "SELECT id, device, inode, birth, kind, size, modified, changed, digest, staged
             FROM file WHERE id = ?1",
        )?;
        Ok(statement
            .query_row([file.0.cast_signed()], FileRow::read)
            .optional()?)
    }

    /// The file that an inode is known as. `birth` 0 stands for unknown.
    pub fn by_inode(&self, device: u64, inode: u64, birth: u64) -> Result<Option<FileRow>> {
        let mut statement = self.database.prepare_cached(
            "SELECT id, device, inode, birth, kind, size, modified, changed, digest, staged
             FROM file WHERE device = ?1 AND inode = ?2 ORDER BY id DESC",
        )?;
        let rows = statement
            .query_map([device.cast_signed(), inode.cast_signed()], FileRow::read)?
            .collect::<Result<Vec<_>, _>>()?;
        Ok(rows
            .into_iter()
            .find(|row| row.birth == birth || row.birth == 0 || birth == 0))
    }

    /// The batch in which the file was last changed.
    pub fn changed_in(&self, file: FileId) -> Result<Option<SequenceNumber>> {
        let mut statement = self
            .database
            .prepare_cached("SELECT sequence FROM file WHERE id = ?1")?;
        let sequence = statement
            .query_row([file.0.cast_signed()], |row| row.get::<_, i64>(0))
            .optional()?;
        Ok(sequence.map(|sequence| SequenceNumber(sequence.cast_unsigned())))
    }

    /// How many files, all but directories, are below this directory.
    pub fn files_below(&self, directory: FileId) -> Result<u64> {
        let mut statement = self.database.prepare_cached(
            "WITH RECURSIVE below (id) AS (
                 SELECT file FROM name WHERE parent = ?1
                 UNION SELECT name.file FROM name JOIN below ON name.parent = below.id)
             SELECT count(*) FROM below JOIN file ON file.id = below.id WHERE kind != ?2",
        )?;
        let directories = rows::kind_number(Kind::Directory);
        let keys = rusqlite::params![directory.0.cast_signed(), directories];
        Ok(statement
            .query_row(keys, |row| row.get::<_, i64>(0))?
            .cast_unsigned())
    }

    /// Files whose content is on its way and which have no name yet.
    pub fn staged(&self) -> Result<Vec<FileRow>> {
        let mut statement = self.database.prepare_cached(
            "SELECT id, device, inode, birth, kind, size, modified, changed, digest, staged
             FROM file WHERE staged = 1",
        )?;
        Ok(statement
            .query_map([], FileRow::read)?
            .collect::<Result<Vec<_>, _>>()?)
    }

    fn meta(&self, key: &str) -> Result<Option<u64>> {
        let mut statement = self
            .database
            .prepare_cached("SELECT value FROM meta WHERE key = ?1")?;
        let value = statement
            .query_row([key], |row| row.get::<_, i64>(0))
            .optional()?;
        Ok(value.map(i64::cast_unsigned))
    }

    fn set_meta(&self, key: &str, value: u64) -> Result<()> {
        let mut statement = self.database.prepare_cached(
            "INSERT INTO meta VALUES (?1, ?2) ON CONFLICT DO UPDATE SET value = ?2",
        )?;
        statement.execute(rusqlite::params![key, value.cast_signed()])?;
        Ok(())
    }
}

const NEXT_FILE: &str = "next_file";
const SENT: &str = "sent";
const STORED: &str = "stored";
const SETTLED: &str = "settled";
const ON_DISK: &str = "on_disk";
const BOOT: &str = "boot";

/// WAL with `synchronous = NORMAL`: a killed process loses nothing; a power loss may take the last
/// transactions, all or none of each, and the receiver's answer then shows that the index is behind.
fn prepare(database: &Connection) -> rusqlite::Result<()> {
    // Else SQLite makes a new plan for each new value of an indexed column, which takes longer than
    // the answer.
    database.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    database.execute_batch(
        "PRAGMA journal_mode = WAL;
         PRAGMA synchronous = NORMAL;
         PRAGMA cache_size = -8192;
         CREATE TABLE IF NOT EXISTS file (
             id INTEGER PRIMARY KEY, device INTEGER NOT NULL, inode INTEGER NOT NULL,
             birth INTEGER NOT NULL, kind INTEGER NOT NULL, size INTEGER NOT NULL,
             modified INTEGER NOT NULL, changed INTEGER NOT NULL, digest BLOB NOT NULL,
             staged INTEGER NOT NULL, created_in INTEGER NOT NULL, sequence INTEGER NOT NULL);
         CREATE INDEX IF NOT EXISTS file_by_inode ON file (inode, device);
         CREATE TABLE IF NOT EXISTS name (
             parent INTEGER NOT NULL, name BLOB NOT NULL, file INTEGER NOT NULL,
             created_in INTEGER NOT NULL, PRIMARY KEY (parent, name)) WITHOUT ROWID;
         CREATE INDEX IF NOT EXISTS name_by_file ON name (file);
         CREATE TABLE IF NOT EXISTS gone_file (gone_in INTEGER NOT NULL,
             id INTEGER, device INTEGER, inode INTEGER, birth INTEGER, kind INTEGER, size INTEGER,
             modified INTEGER, changed INTEGER, digest BLOB, staged INTEGER, created_in INTEGER,
             sequence INTEGER);
         CREATE TABLE IF NOT EXISTS gone_name (gone_in INTEGER NOT NULL,
             parent INTEGER, name BLOB, file INTEGER, created_in INTEGER);
         CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;",
    )?;
    database.set_prepared_statement_cache_capacity(64);
    Ok(())
}

#[cfg(test)]
mod tests;

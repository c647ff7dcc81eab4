//! The catalog: files, names, attributes, content, recovery points and events of one source, over
//! all time. An SQLite database; an index, whose truth is the log and the mirror.
//!
//! Everything is dated by batches: a row holds from `since` up to, not with, `until` ([`OPEN`] while
//! it holds still). Content of a file at batch T is its base (the inode, or for [`Placed::Log`]
//! nothing but `current`), overlaid with the rows of `history` whose `until` is the first after T.
//!
//! [`Placed::Log`]: crate::apply::plan::before::Placed::Log

mod read;
mod schema;
mod values;
mod write;

use std::path::{Path, PathBuf};

use everwrite_protocol::ids::{FileId, SequenceNumber};
use rusqlite::{Connection, OpenFlags};

pub use read::{CatalogRead, EventRecord, NameRecord, event_kind};
pub use values::{CutRecord, LogExtent};
pub use write::Needs;

use crate::log::LogPosition;
use crate::log::frame::Chain;
use crate::store::StoreError;

/// `until` of what holds still.
pub const OPEN: i64 = i64::MAX;

/// An open catalog.
#[derive(Debug)]
pub struct Catalog {
    connection: Connection,
    path: PathBuf,
}

/// How far the catalog has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CatalogState {
    /// Last batch in the mirror.
    pub applied: SequenceNumber,
    /// Behind its CUT in the log.
    pub position: LogPosition,
    /// Ids above this were never used.
    pub highest_file: FileId,
}

impl Catalog {
    /// Opens for writing, made if need be.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        let connection = Connection::open(path).map_err(|error| failed(path, error))?;
        schema::prepare(&connection).map_err(|error| failed(path, error))?;
        Ok(Self::with(connection, path))
    }

    /// Opens beside a writer, for reading alone.
    pub fn open_reader(path: &Path) -> Result<Self, StoreError> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection =
            Connection::open_with_flags(path, flags).map_err(|error| failed(path, error))?;
        schema::prepare_reader(&connection).map_err(|error| failed(path, error))?;
        Ok(Self::with(connection, path))
    }

    fn with(connection: Connection, path: &Path) -> Self {
        connection.set_prepared_statement_cache_capacity(64);
        Self {
            connection,
            path: path.to_owned(),
        }
    }

    /// How far it has come.
    pub fn state(&self) -> Result<CatalogState, StoreError> {
        let sql = "SELECT applied, segment, offset, chain, highest_file FROM state WHERE id = 1";
        let row = self.connection.query_row(sql, [], |row| {
            Ok(CatalogState {
                applied: SequenceNumber(row.get::<_, i64>(0)? as u64),
                position: LogPosition {
                    segment: row.get(1)?,
                    offset: row.get(2)?,
                    chain: Chain(row.get::<_, i64>(3)? as u64),
                },
                highest_file: FileId(row.get::<_, i64>(4)? as u64),
            })
        });
        row.map_err(|error| self.failed(error))
    }

    /// A consistent view of everything, until it is dropped.
    pub fn read(&self) -> Result<CatalogRead<'_>, StoreError> {
        CatalogRead::begin(&self.connection, &self.path)
    }

    fn failed(&self, source: rusqlite::Error) -> StoreError {
        failed(&self.path, source)
    }
}

fn failed(path: &Path, source: rusqlite::Error) -> StoreError {
    StoreError::Catalog {
        path: path.to_owned(),
        source,
    }
}

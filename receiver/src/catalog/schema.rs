//! Tables of the catalog.

use rusqlite::Connection;
use rusqlite::config::DbConfig;

/// Version of the tables, in `PRAGMA user_version`.
///
/// - 1: first version.
/// - 2: `cut.why`.
const FORMAT: i64 = 2;

/// Makes or checks the tables.
pub(super) fn prepare(connection: &Connection) -> rusqlite::Result<()> {
    keep_plans(connection)?;
    // FULL: `applied` decides what is never redone. The log may be ahead of it, never behind.
    connection.execute_batch(
        "PRAGMA journal_mode = WAL;
         PRAGMA synchronous = FULL;
         PRAGMA wal_autocheckpoint = 4000;
         PRAGMA journal_size_limit = 67108864;
         PRAGMA temp_store = MEMORY;
         PRAGMA cache_size = -16000;",
    )?;
    connection.busy_timeout(std::time::Duration::from_secs(10))?;
    match connection.query_row("PRAGMA user_version", [], |row| row.get::<_, i64>(0))? {
        0 => create(connection),
        1 => connection.execute_batch(
            "BEGIN IMMEDIATE; ALTER TABLE cut ADD COLUMN why TEXT; PRAGMA user_version = 2; COMMIT;",
        ),
        FORMAT => Ok(()),
        _ => Err(rusqlite::Error::InvalidQuery),
    }
}

/// Settings of a reader's connection.
pub(super) fn prepare_reader(connection: &Connection) -> rusqlite::Result<()> {
    keep_plans(connection)?;
    connection.execute_batch("PRAGMA cache_size = -8000; PRAGMA temp_store = MEMORY;")?;
    connection.busy_timeout(std::time::Duration::from_secs(10))
}

/// Plans of statements do not depend on the values bound. Else SQLite makes a new plan for each new
/// value of an indexed column, which takes longer than the answer.
fn keep_plans(connection: &Connection) -> rusqlite::Result<()> {
    let kept = connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true);
    kept.map(drop)
}

fn create(connection: &Connection) -> rusqlite::Result<()> {
    connection.execute_batch(&format!(
        "BEGIN IMMEDIATE;
         -- How far the log is applied: behind the CUT of batch `applied`.
         CREATE TABLE state (
             id INTEGER PRIMARY KEY CHECK (id = 1),
             applied INTEGER NOT NULL, segment INTEGER NOT NULL, offset INTEGER NOT NULL,
             chain INTEGER NOT NULL, highest_file INTEGER NOT NULL);
         INSERT INTO state VALUES (1, 0, 1, 0, 0, 0);
         -- placed: 0 named, 1 staged, 2 object, 3 log (see Placed).
         CREATE TABLE file (
             file INTEGER PRIMARY KEY, placed INTEGER NOT NULL, born INTEGER NOT NULL, dead INTEGER);
         CREATE TABLE name (
             parent INTEGER NOT NULL, name BLOB NOT NULL, since INTEGER NOT NULL,
             until INTEGER NOT NULL, file INTEGER NOT NULL,
             PRIMARY KEY (parent, name, since)) WITHOUT ROWID;
         CREATE INDEX name_of_file ON name (file, since);
         CREATE TABLE attributes (
             file INTEGER NOT NULL, since INTEGER NOT NULL, value BLOB NOT NULL,
             PRIMARY KEY (file, since)) WITHOUT ROWID;
         -- Where in the log the current bytes are; frame 0: zeros. What no row covers came by a copy.
         CREATE TABLE current (
             file INTEGER NOT NULL, offset INTEGER NOT NULL, length INTEGER NOT NULL,
             frame INTEGER NOT NULL, inner INTEGER NOT NULL,
             PRIMARY KEY (file, offset)) WITHOUT ROWID;
         -- Where the bytes are that were there until a batch; frame 0: zeros.
         CREATE TABLE history (
             file INTEGER NOT NULL, until INTEGER NOT NULL, offset INTEGER NOT NULL,
             length INTEGER NOT NULL, frame INTEGER NOT NULL, inner INTEGER NOT NULL,
             PRIMARY KEY (file, until, offset)) WITHOUT ROWID;
         CREATE TABLE cut (
             sequence INTEGER PRIMARY KEY, time INTEGER NOT NULL, stored INTEGER NOT NULL,
             oldest_change INTEGER NOT NULL, kind INTEGER NOT NULL, checkpoint TEXT, why TEXT);
         CREATE INDEX cut_by_time ON cut (time);
         CREATE INDEX cut_by_checkpoint ON cut (checkpoint) WHERE checkpoint IS NOT NULL;
         CREATE TABLE origin (
             id INTEGER PRIMARY KEY, value BLOB NOT NULL UNIQUE);
         -- what: see `event_kind`; from_parent, from_name: of a rename; bytes: of a modification.
         CREATE TABLE event (
             sequence INTEGER NOT NULL, number INTEGER NOT NULL, what INTEGER NOT NULL,
             file INTEGER NOT NULL, parent INTEGER, name BLOB, from_parent INTEGER, from_name BLOB,
             bytes INTEGER, origin INTEGER NOT NULL,
             PRIMARY KEY (sequence, number)) WITHOUT ROWID;
         CREATE INDEX event_of_file ON event (file, sequence);
         CREATE INDEX event_deleted ON event (sequence) WHERE what = 4;
         CREATE TABLE root (file INTEGER PRIMARY KEY, path BLOB NOT NULL);
         -- Commands that made no sense in the state they met.
         CREATE TABLE refused (
             sequence INTEGER NOT NULL, part INTEGER NOT NULL, command INTEGER NOT NULL,
             reason TEXT NOT NULL);
         -- What the mirror could not take, by file; the catalog has the true values.
         CREATE TABLE unset (file INTEGER PRIMARY KEY, what TEXT NOT NULL);
         PRAGMA user_version = {FORMAT};
         COMMIT;"
    ))
}

//! Carries a plan into the catalog, in one transaction.

use std::collections::HashMap;
use std::ops::Range;

use everwrite_protocol::codec;
use everwrite_protocol::ids::{FileId, Name, SequenceNumber};
use everwrite_protocol::wire::Origin;
use rusqlite::{CachedStatement, OptionalExtension, Transaction};

use super::{Catalog, OPEN, event_kind, values};
use crate::apply::plan::content::{Content, Piece, Place, Superseded};
use crate::apply::plan::rows::{EventRow, Happening, OriginIndex, Rows};
use crate::apply::plan::{FileChange, Plan};
use crate::log::{FramePosition, LogPosition, StoredCut};
use crate::store::StoreError;

/// Where the pre-images of a plan are: for each need in order its extents, offsets counted from the
/// need's beginning. What they leave out is zeros.
pub type Needs = Vec<Vec<(u64, u32, FramePosition, u32)>>;

type Done = rusqlite::Result<()>;

impl Catalog {
    /// The plan is in the mirror; from now on its batches are applied. `position` is behind the last
    /// batch's CUT. `unset`: files of which the mirror could not take something (`None`: it could).
    pub fn commit(
        &mut self,
        plan: &Plan,
        needs: &Needs,
        position: LogPosition,
        unset: &[(FileId, Option<String>)],
    ) -> Result<(), StoreError> {
        let transaction = self.connection.transaction();
        let committed = transaction.and_then(|transaction| {
            write_plan(&transaction, plan, needs)?;
            write_unset(&transaction, unset)?;
            write_state(&transaction, plan, position)?;
            transaction.commit()
        });
        committed.map_err(|error| self.failed(error))
    }
}

fn write_plan(transaction: &Transaction<'_>, plan: &Plan, needs: &Needs) -> Done {
    write_cuts(transaction, &plan.cuts)?;
    for file in &plan.files {
        write_file(transaction, file)?;
    }
    write_rows(transaction, &plan.rows)?;
    write_history(transaction, &plan.superseded, needs)?;
    let mut current = Current::new(transaction)?;
    plan.files.iter().try_for_each(|file| current.write(file))
}

fn write_cuts(transaction: &Transaction<'_>, cuts: &[StoredCut]) -> Done {
    let mut insert = transaction
        .prepare_cached("INSERT OR REPLACE INTO cut VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)")?;
    for StoredCut { cut, stored, .. } in cuts {
        insert.execute((
            cut.sequence.0 as i64,
            cut.time.0,
            stored.0,
            cut.oldest_change.0,
            values::cut_kind_number(&cut.kind),
            &cut.checkpoint,
            cut.kind.why(),
        ))?;
    }
    Ok(())
}

fn write_file(transaction: &Transaction<'_>, change: &FileChange) -> Done {
    let file = change.file.0 as i64;
    let Some(placed) = change.placed else {
        return forget(transaction, file);
    };
    let placed = values::placed_number(placed);
    let dead = change.dead.map(|sequence| sequence.0 as i64);
    if let Some(born) = change.born {
        let mut insert = transaction.prepare_cached("INSERT INTO file VALUES (?1, ?2, ?3, ?4)")?;
        insert.execute((file, placed, born.0 as i64, dead))?;
    } else {
        let mut update = transaction.prepare_cached(
            "UPDATE file SET placed = ?2, dead = coalesce(?3, dead) WHERE file = ?1",
        )?;
        update.execute((file, placed, dead))?;
    }
    Ok(())
}

/// A staged file was dropped: no recovery point ever showed it.
fn forget(transaction: &Transaction<'_>, file: i64) -> Done {
    for table in ["file", "attributes", "current", "history", "event", "unset"] {
        transaction
            .prepare_cached(&format!("DELETE FROM {table} WHERE file = ?1"))?
            .execute([file])?;
    }
    Ok(())
}

fn write_rows(transaction: &Transaction<'_>, rows: &Rows) -> Done {
    let mut close = transaction.prepare_cached(
        "UPDATE name SET until = ?3 WHERE parent = ?1 AND name = ?2 AND until = ?4",
    )?;
    for row in &rows.closed {
        close.execute((
            row.parent.0 as i64,
            row.name.as_bytes(),
            row.until.0 as i64,
            OPEN,
        ))?;
    }
    let mut open = transaction.prepare_cached("INSERT INTO name VALUES (?1, ?2, ?3, ?4, ?5)")?;
    for row in &rows.names {
        let until = row.until.map_or(OPEN, |until| until.0 as i64);
        let (parent, since, file) = (row.parent.0 as i64, row.since.0 as i64, row.file.0 as i64);
        open.execute((parent, row.name.as_bytes(), since, until, file))?;
    }
    let mut set = transaction.prepare_cached("INSERT INTO attributes VALUES (?1, ?2, ?3)")?;
    for (file, since, attributes) in &rows.attributes {
        set.execute((file.0 as i64, since.0 as i64, encoded(attributes)?))?;
    }
    let mut root = transaction.prepare_cached("INSERT OR REPLACE INTO root VALUES (?1, ?2)")?;
    for (file, path) in &rows.roots {
        root.execute((file.0 as i64, path))?;
    }
    let mut refused = transaction.prepare_cached("INSERT INTO refused VALUES (?1, ?2, ?3, ?4)")?;
    for row in &rows.refused {
        refused.execute((row.sequence.0 as i64, row.part, row.command, row.reason))?;
    }
    write_events(transaction, rows)
}

fn write_events(transaction: &Transaction<'_>, rows: &Rows) -> Done {
    let mut insert = transaction
        .prepare_cached("INSERT INTO event VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)")?;
    let mut origins = Origins {
        transaction,
        rows,
        known: HashMap::new(),
    };
    let mut number = (SequenceNumber(0), 0i64);
    for event in &rows.events {
        number = if number.0 == event.sequence {
            (number.0, number.1 + 1)
        } else {
            (event.sequence, 0)
        };
        let EventColumns {
            what,
            place,
            from,
            bytes,
        } = columns(event);
        let (parent, name) = place
            .map(|(parent, name)| (parent.0 as i64, name.as_bytes()))
            .unzip();
        let (from, from_name) = from
            .map(|(parent, name)| (parent.0 as i64, name.as_bytes()))
            .unzip();
        insert.execute((
            event.sequence.0 as i64,
            number.1,
            what,
            event.file.0 as i64,
            parent,
            name,
            from,
            from_name,
            bytes,
            origins.id(event.origin)?,
        ))?;
    }
    Ok(())
}

struct EventColumns<'e> {
    what: i64,
    place: Option<(FileId, &'e Name)>,
    from: Option<(FileId, &'e Name)>,
    bytes: Option<i64>,
}

fn columns(event: &EventRow) -> EventColumns<'_> {
    let at = |what, parent: &FileId, name| EventColumns {
        what,
        place: Some((*parent, name)),
        from: None,
        bytes: None,
    };
    match &event.what {
        Happening::Created(parent, name) => at(event_kind::CREATED, parent, name),
        Happening::Replaced(parent, name) => at(event_kind::REPLACED, parent, name),
        Happening::Deleted(parent, name) => at(event_kind::DELETED, parent, name),
        Happening::Renamed((from, from_name), (parent, name)) => EventColumns {
            from: Some((*from, from_name)),
            ..at(event_kind::RENAMED, parent, name)
        },
        Happening::Modified(bytes) => {
            let bytes = Some(*bytes as i64);
            EventColumns {
                what: event_kind::MODIFIED,
                place: None,
                from: None,
                bytes,
            }
        }
        Happening::Attributes => EventColumns {
            what: event_kind::ATTRIBUTES,
            place: None,
            from: None,
            bytes: None,
        },
    }
}

struct Origins<'t> {
    transaction: &'t Transaction<'t>,
    rows: &'t Rows,
    known: HashMap<u32, i64>,
}

impl Origins<'_> {
    fn id(&mut self, index: OriginIndex) -> rusqlite::Result<i64> {
        if let Some(id) = self.known.get(&index.0) {
            return Ok(*id);
        }
        let id = match self.rows.origins.get(index.0 as usize) {
            Some(origin) => self.stored(origin)?,
            None => 0,
        };
        self.known.insert(index.0, id);
        Ok(id)
    }

    fn stored(&self, origin: &Origin) -> rusqlite::Result<i64> {
        let value = encoded(origin)?;
        let mut select = self
            .transaction
            .prepare_cached("SELECT id FROM origin WHERE value = ?1")?;
        if let Some(id) = select.query_row([&value], |row| row.get(0)).optional()? {
            return Ok(id);
        }
        let mut insert = self
            .transaction
            .prepare_cached("INSERT INTO origin (value) VALUES (?1)")?;
        insert.execute([&value])?;
        Ok(self.transaction.last_insert_rowid())
    }
}

fn write_history(transaction: &Transaction<'_>, superseded: &[Superseded], needs: &Needs) -> Done {
    let mut insert =
        transaction.prepare_cached("INSERT INTO history VALUES (?1, ?2, ?3, ?4, ?5, ?6)")?;
    let mut put = |row: &Superseded, offset: u64, length: u64, frame: i64, inner: u32| {
        let (file, until) = (row.file.0 as i64, row.until.0 as i64);
        insert
            .execute((file, until, offset as i64, length as i64, frame, inner))
            .map(drop)
    };
    let mut needs = needs.iter();
    for row in superseded {
        let Piece {
            offset,
            length,
            place,
        } = row.piece;
        if let Some((frame, inner)) = values::place_columns(place) {
            put(row, offset, length, frame, inner)?;
            continue;
        }
        let mut at = 0;
        for (start, bytes, frame, inner) in needs.next().into_iter().flatten() {
            if at < *start {
                put(row, offset + at, start - at, 0, 0)?;
            }
            put(
                row,
                offset + start,
                u64::from(*bytes),
                frame.to_number(),
                *inner,
            )?;
            at = start + u64::from(*bytes);
        }
        if at < length {
            put(row, offset + at, length - at, 0, 0)?;
        }
    }
    Ok(())
}

/// The table of current places.
struct Current<'t> {
    insert: CachedStatement<'t>,
    before: CachedStatement<'t>,
    within: CachedStatement<'t>,
    shorten: CachedStatement<'t>,
    delete: CachedStatement<'t>,
}

impl<'t> Current<'t> {
    fn new(transaction: &'t Transaction<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            insert: transaction
                .prepare_cached("INSERT INTO current VALUES (?1, ?2, ?3, ?4, ?5)")?,
            before: transaction.prepare_cached(
                "SELECT offset, length, frame, inner FROM current WHERE file = ?1 AND offset < ?2
                 ORDER BY offset DESC LIMIT 1",
            )?,
            within: transaction.prepare_cached(
                "SELECT offset, length, frame, inner FROM current WHERE file = ?1 AND offset >= ?2
                 AND offset < ?3 ORDER BY offset DESC LIMIT 1",
            )?,
            shorten: transaction
                .prepare_cached("UPDATE current SET length = ?3 WHERE file = ?1 AND offset = ?2")?,
            delete: transaction.prepare_cached(
                "DELETE FROM current WHERE file = ?1 AND offset >= ?2 AND offset < ?3",
            )?,
        })
    }

    fn write(&mut self, change: &FileChange) -> Done {
        let (Some(content), Some(_)) = (&change.content, change.placed) else {
            return Ok(());
        };
        let file = change.file.0 as i64;
        if change.born.is_none() {
            self.clear_touched(file, content)?;
        }
        for piece in content.touched() {
            self.put(file, piece.offset, piece.length, piece.place)?;
        }
        Ok(())
    }

    fn clear_touched(&mut self, file: i64, content: &Content) -> Done {
        self.clear(file, content.low_water()..OPEN as u64)?;
        for piece in content.touched() {
            self.clear(file, piece.offset..piece.offset + piece.length)?;
        }
        Ok(())
    }

    fn put(&mut self, file: i64, offset: u64, length: u64, place: Place) -> Done {
        match values::place_columns(place) {
            Some((frame, inner)) => self
                .insert
                .execute((file, offset as i64, length as i64, frame, inner))
                .map(drop),
            None => Ok(()),
        }
    }

    /// Forgets rows within `range`; what sticks out stays.
    fn clear(&mut self, file: i64, range: Range<u64>) -> Done {
        let (start, end) = (range.start as i64, range.end as i64);
        let read = |row: &rusqlite::Row<'_>| values::extent(row, 0);
        let before = self.before.query_row([file, start], read).optional()?;
        let last = self.within.query_row([file, start, end], read).optional()?;
        let tail = last.or(before).map(|extent| extent.piece());
        if let Some(extent) = before.filter(|extent| extent.offset + extent.length > range.start) {
            let (at, length) = (extent.offset as i64, (range.start - extent.offset) as i64);
            self.shorten.execute([file, at, length])?;
        }
        self.delete.execute([file, start, end])?;
        if let Some(rest) = tail.and_then(|piece| piece.within(&(range.end..OPEN as u64))) {
            self.put(file, rest.offset, rest.length, rest.place)?;
        }
        Ok(())
    }
}

fn write_unset(transaction: &Transaction<'_>, unset: &[(FileId, Option<String>)]) -> Done {
    let mut delete = transaction.prepare_cached("DELETE FROM unset WHERE file = ?1")?;
    let mut insert = transaction.prepare_cached("INSERT OR REPLACE INTO unset VALUES (?1, ?2)")?;
    for (file, what) in unset {
        match what {
            Some(what) => insert.execute((file.0 as i64, what))?,
            None => delete.execute([file.0 as i64])?,
        };
    }
    Ok(())
}

fn write_state(transaction: &Transaction<'_>, plan: &Plan, position: LogPosition) -> Done {
    let Some(last) = plan.cuts.last() else {
        return Ok(());
    };
    let mut update = transaction.prepare_cached(
        "UPDATE state SET applied = ?1, segment = ?2, offset = ?3, chain = ?4,
         highest_file = max(highest_file, ?5) WHERE id = 1",
    )?;
    let LogPosition {
        segment,
        offset,
        chain,
    } = position;
    update.execute((
        last.cut.sequence.0 as i64,
        segment,
        offset,
        chain.0 as i64,
        plan.highest_file.0 as i64,
    ))?;
    Ok(())
}

fn encoded(value: &impl bincode::Encode) -> rusqlite::Result<Vec<u8>> {
    codec::encode(value).map_err(|error| values::malformed(0, error))
}

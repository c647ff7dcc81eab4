//! What a plan adds to the catalog, row by row.

use std::collections::HashMap;

use everwrite_protocol::ids::{FileId, Name, SequenceNumber};
use everwrite_protocol::wire::{Attributes, Origin};

/// An index into [`Rows::origins`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct OriginIndex(pub u32);

/// A name that the window opened (and perhaps closed again).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NameRow {
    /// Directory.
    pub parent: FileId,
    /// Name.
    pub name: Name,
    /// Whose.
    pub file: FileId,
    /// First batch that has it.
    pub since: SequenceNumber,
    /// First batch that has it no more.
    pub until: Option<SequenceNumber>,
}

/// A name from before the window that is closed now.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ClosedName {
    /// Directory.
    pub parent: FileId,
    /// Name.
    pub name: Name,
    /// First batch that has it no more.
    pub until: SequenceNumber,
}

/// What happened, for people who look at the past.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Happening {
    /// The name came to be.
    Created(FileId, Name),
    /// The name was taken from another file.
    Replaced(FileId, Name),
    /// From the first name to the second.
    Renamed((FileId, Name), (FileId, Name)),
    /// The name is gone.
    Deleted(FileId, Name),
    /// Content changed: so many bytes.
    Modified(u64),
    /// Attributes changed, content did not.
    Attributes,
}

/// A happening, to whom, when, by whom.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct EventRow {
    /// Batch.
    pub sequence: SequenceNumber,
    /// File.
    pub file: FileId,
    /// What.
    pub what: Happening,
    /// By whom.
    pub origin: OriginIndex,
}

/// A command that made no sense in the state it met; it was left out.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RefusedRow {
    /// Batch.
    pub sequence: SequenceNumber,
    /// Part.
    pub part: u32,
    /// Which command in it.
    pub command: u32,
    /// Why.
    pub reason: &'static str,
}

/// Most refused commands kept per window: they tell of a bug or an attack, a few are enough.
const REFUSED_KEPT: usize = 100;

/// Rows to be added.
#[derive(Debug, Default)]
pub struct Rows {
    /// Names opened in the window.
    pub names: Vec<NameRow>,
    /// Names from before that are closed.
    pub closed: Vec<ClosedName>,
    /// Attributes from a batch on.
    pub attributes: Vec<(FileId, SequenceNumber, Attributes)>,
    /// What happened.
    pub events: Vec<EventRow>,
    /// Who did it.
    pub origins: Vec<Origin>,
    /// Roots declared, with their paths at the source.
    pub roots: Vec<(FileId, Vec<u8>)>,
    /// Commands left out.
    pub refused: Vec<RefusedRow>,
    open: HashMap<(FileId, Name), usize>,
    interned: HashMap<Origin, OriginIndex>,
}

impl Rows {
    /// The name belongs to the file from `since` on.
    pub fn open_name(&mut self, parent: FileId, name: &Name, file: FileId, since: SequenceNumber) {
        self.open.insert((parent, name.clone()), self.names.len());
        self.names.push(NameRow {
            parent,
            name: name.clone(),
            file,
            since,
            until: None,
        });
    }

    /// The name is free from `until` on.
    pub fn close_name(&mut self, parent: FileId, name: &Name, until: SequenceNumber) {
        match self.open.remove(&(parent, name.clone())) {
            Some(row) => self.names[row].until = Some(until),
            None => self.closed.push(ClosedName {
                parent,
                name: name.clone(),
                until,
            }),
        }
    }

    /// The index of an origin.
    pub fn origin(&mut self, origin: &Origin) -> OriginIndex {
        if let Some(index) = self.interned.get(origin) {
            return *index;
        }
        let index = OriginIndex(self.origins.len() as u32);
        self.origins.push(origin.clone());
        self.interned.insert(origin.clone(), index);
        index
    }

    /// Notes a command that was left out.
    pub fn refuse(&mut self, row: RefusedRow) {
        if self.refused.len() < REFUSED_KEPT {
            self.refused.push(row);
        }
    }

    /// Takes out what concerns files that were dropped before anyone could see them, and names that
    /// came and went within one batch.
    pub fn forget(&mut self, dropped: impl Fn(FileId) -> bool) {
        self.attributes.retain(|(file, ..)| !dropped(*file));
        self.names.retain(|row| row.until != Some(row.since));
        self.open.clear();
    }
}

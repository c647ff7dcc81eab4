//! Files that were deleted and are not there now.

use std::collections::HashSet;

use everwrite_protocol::ids::{FileId, SequenceNumber};
use everwrite_protocol::wire::{Answer, DeletedEntry, Kind, PAGE_ENTRIES_MAX};

use super::log::Teller;
use super::path::{Paths, find, is_below, joined};
use super::{Answered, Session};
use crate::catalog::{CatalogRead, EventRecord};
use crate::store::StoreError;

/// Entries of a deleted directory looked at in one go.
const CHILDREN_MAX: usize = 4096;

impl Session {
    pub(super) fn deleted(&self, path: &[u8], limit: u32) -> Answered {
        let read = self.catalog.read()?;
        let limit = (limit as usize).min(PAGE_ENTRIES_MAX);
        let mut gone = Gone {
            read: &read,
            top: path,
            applied: read.applied(),
            limit,
            paths: Paths::new(&read),
            teller: Teller::new(&read, path, limit),
            told: HashSet::new(),
            entries: Vec::new(),
        };
        read.deletions(|event| gone.event(&event))?;
        Ok((Answer::Deleted(gone.entries), Vec::new()))
    }
}

struct Gone<'r, 'c> {
    read: &'r CatalogRead<'c>,
    top: &'r [u8],
    applied: SequenceNumber,
    limit: usize,
    paths: Paths<'r, 'c>,
    teller: Teller<'r, 'c>,
    /// Paths told already: only the last deletion of a path counts.
    told: HashSet<Vec<u8>>,
    entries: Vec<DeletedEntry>,
}

impl Gone<'_, '_> {
    /// Adds what a deletion took away. `false`: that is enough.
    fn event(&mut self, event: &EventRecord) -> Result<bool, StoreError> {
        let earlier = SequenceNumber(event.sequence.0.saturating_sub(1));
        let Some((parent, name)) = &event.place else {
            return Ok(true);
        };
        let Some(path) = self.paths.below(*parent, name, earlier)? else {
            return Ok(true);
        };
        if is_below(&path, self.top) || is_below(self.top, &path) {
            self.tree(event, event.file, path, earlier)?;
        }
        Ok(self.entries.len() < self.limit)
    }

    /// A file, or all files of a directory: they went with it.
    fn tree(
        &mut self,
        event: &EventRecord,
        file: FileId,
        path: Vec<u8>,
        at: SequenceNumber,
    ) -> Result<(), StoreError> {
        let mut waiting = vec![(file, path)];
        let mut seen = HashSet::new();
        while let Some((file, path)) = waiting.pop() {
            if self.entries.len() >= self.limit {
                break;
            }
            let Some((attributes, _)) = self.read.attributes_at(file, at)? else {
                continue;
            };
            if attributes.kind == Kind::Directory {
                // A damaged catalog may go round in a circle.
                if !seen.insert(file) {
                    continue;
                }
                for (name, child) in self.read.children_at(file, b"", at, CHILDREN_MAX)? {
                    waiting.push((child, joined(&path, name.as_bytes())));
                }
            } else if is_below(&path, self.top) && find(self.read, &path, self.applied)?.is_none() {
                self.tell(event, path, attributes.size)?;
            }
        }
        Ok(())
    }

    fn tell(&mut self, event: &EventRecord, path: Vec<u8>, size: u64) -> Result<(), StoreError> {
        if self.told.insert(path.clone()) {
            self.entries.push(DeletedEntry {
                path,
                sequence: event.sequence,
                time: self.teller.time(event.sequence)?,
                size,
                origin: self.teller.origin(event.origin)?,
            });
        }
        Ok(())
    }
}

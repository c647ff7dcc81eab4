//! Queue unit: where a change waits between being hinted and being looked at.
//!
//! Three kinds of entries, one per thing however often it was hinted: dirty names, dirty files, and
//! directories to list. Entries are ordered by the ticket of their first hint.
//!
//! Invariants:
//! - Nothing is forgotten: an entry leaves only by being taken, and what could not be finished is put
//!   back under its old mark.
//! - The queue is bounded. Too many dirty names in one directory become a listing of it; too many
//!   names and files at all become a deep listing of every root ([`Queue::is_crowded`] asks for it).
//! - It need not be durable: after a crash everything in it is found again by the reconcile scan.

mod dirty;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Bound;
use std::time::Instant;

use everwrite_protocol::ids::Name;
use everwrite_protocol::local::Inode;

pub use dirty::{Born, Dirt, DirtyFile, Listing, Mark, Ticket};

use crate::intake::{Hint, OriginId, Source, Sources, What};

/// How much is kept apart.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct QueueLimits {
    /// Dirty names in one directory; beyond, the whole directory is listed.
    pub names_per_directory: usize,
    /// Names and files in all; beyond, everything is listed.
    pub entries: usize,
}

impl Default for QueueLimits {
    fn default() -> Self {
        Self {
            names_per_directory: 4096,
            entries: 200_000,
        }
    }
}

/// A place in the order of names. Many may share a ticket: all that one hint, or one directory,
/// led to.
type Place = (Ticket, u64);

/// The queue of one pipeline.
#[derive(Default)]
pub struct Queue {
    limits: QueueLimits,
    last_ticket: u64,
    last_name: u64,
    names: BTreeMap<Place, (Inode, Name, Mark)>,
    name_places: HashMap<Inode, HashMap<Name, Place>>,
    files: HashMap<Inode, DirtyFile>,
    file_order: BTreeSet<(Ticket, Inode)>,
    listings: HashMap<Inode, Listing>,
    listing_order: BTreeSet<(Ticket, Inode)>,
    everything: Option<Mark>,
}

impl Queue {
    /// One that keeps so much apart.
    pub fn within(limits: QueueLimits) -> Self {
        Self {
            limits,
            ..Self::default()
        }
    }

    /// Takes in what a hint says.
    pub fn push(&mut self, hint: &Hint) {
        let mark = self.mark(hint.at, hint.origin, hint.source);
        match &hint.what {
            What::Write {
                file,
                birth,
                offset,
                length,
            } => self.written((*file, *birth), mark, |dirt| {
                dirt.ranges.add(*offset, *length);
            }),
            What::Append { file, birth } => {
                self.written((*file, *birth), mark, |dirt| dirt.appended = true);
            }
            What::Whole { file, birth }
            | What::Mapped { file, birth, .. }
            | What::Unmapped { file, birth } => {
                self.written((*file, *birth), mark, |dirt| dirt.whole = true);
            }
            What::Attributes { file, .. } => {
                self.dirty(*file, mark, |dirt| dirt.attributes = true);
            }
            What::Name {
                directory, name, ..
            } => self.push_name(*directory, name.clone(), mark),
            What::Rename {
                old_directory,
                old_name,
                new_directory,
                new_name,
            } => {
                self.push_name(*old_directory, old_name.clone(), mark);
                self.push_name(*new_directory, new_name.clone(), mark);
            }
            What::Names { directory } => self.push_listing(*directory, mark, false, false),
            What::Everything => self.set_everything(mark),
            What::Flush { file } => self.dirty(*file, mark, |dirt| dirt.flush = true),
            What::Sync { .. } => {}
        }
    }

    fn written(&mut self, (file, birth): (Inode, u64), mark: Mark, change: impl FnOnce(&mut Dirt)) {
        self.dirty(file, mark, |dirt| {
            change(dirt);
            dirt.tell(mark.since, birth);
        });
    }

    /// A mark for something that became dirty now.
    pub fn mark(&mut self, since: Instant, origin: OriginId, sources: impl Into<Sources>) -> Mark {
        self.last_ticket += 1;
        Mark {
            ticket: Ticket(self.last_ticket),
            since,
            origin,
            sources: sources.into(),
        }
    }

    /// A mark for what nobody told of: a scan looks.
    pub fn scan_mark(&mut self, since: Instant) -> Mark {
        self.mark(since, OriginId::SCAN, Source::Scan)
    }

    /// A name to look at.
    pub fn push_name(&mut self, directory: Inode, name: Name, mark: Mark) {
        if let Some(listing) = self
            .listings
            .get_mut(&directory)
            .filter(|listing| !listing.scan)
        {
            listing.mark.origin = mark.origin;
            listing.mark.sources = listing.mark.sources.and(mark.sources);
            return;
        }
        let places = self.name_places.entry(directory).or_default();
        if let Some(known) = places.get_mut(&name) {
            if let Some(mut entry) = self.names.remove(known) {
                entry.2 = Mark::oldest_of(entry.2, mark);
                known.0 = entry.2.ticket;
                self.names.insert(*known, entry);
            }
            return;
        }
        if places.len() < self.limits.names_per_directory {
            self.last_name += 1;
            let place = (mark.ticket, self.last_name);
            places.insert(name.clone(), place);
            self.names.insert(place, (directory, name, mark));
            return;
        }
        self.push_listing(directory, mark, false, false);
    }

    /// Would another name in this directory be kept apart?
    pub fn has_room_in(&self, directory: Inode) -> bool {
        let known = self.name_places.get(&directory).map_or(0, HashMap::len);
        known < self.limits.names_per_directory && !self.is_full()
    }

    /// A file to look at.
    pub fn dirty(&mut self, file: Inode, mark: Mark, change: impl FnOnce(&mut Dirt)) {
        let Some(entry) = self.files.get_mut(&file) else {
            let mut entry = DirtyFile::new(mark);
            entry.change(mark, change);
            self.file_order.insert((mark.ticket, file));
            self.files.insert(file, entry);
            return;
        };
        let before = entry.mark.ticket;
        entry.change(mark, change);
        if entry.mark.ticket != before {
            self.file_order.remove(&(before, file));
            self.file_order.insert((entry.mark.ticket, file));
        }
    }

    /// A directory to list. Its dirty names are found by the listing; those that were hinted stay
    /// beside a scan, which would not know that they had been announced.
    pub fn push_listing(&mut self, directory: Inode, mark: Mark, deep: bool, scan: bool) {
        let known = self.listings.remove(&directory);
        let mut listing = known.unwrap_or(Listing { mark, deep, scan });
        self.listing_order.remove(&(listing.mark.ticket, directory));
        listing.deep |= deep;
        listing.scan &= scan;
        listing.mark = Mark::oldest_of(listing.mark, mark);
        if !listing.scan {
            for mark in self.take_names_in(directory) {
                listing.mark = Mark::oldest_of(listing.mark, mark);
            }
        }
        self.listing_order.insert((listing.mark.ticket, directory));
        self.listings.insert(directory, listing);
    }

    fn take_names_in(&mut self, directory: Inode) -> Vec<Mark> {
        let places = self.name_places.remove(&directory).unwrap_or_default();
        let names = places
            .into_values()
            .filter_map(|place| self.names.remove(&place));
        names.map(|entry| entry.2).collect()
    }

    /// Ticket of the oldest dirty name; the two names of a rename share one.
    pub fn next_name(&self) -> Option<Ticket> {
        self.names.first_key_value().map(|(place, _)| place.0)
    }

    /// The oldest dirty name.
    pub fn take_name(&mut self) -> Option<(Inode, Name, Mark)> {
        let (_, entry) = self.names.pop_first()?;
        if let Some(places) = self.name_places.get_mut(&entry.0) {
            places.remove(&entry.1);
            if places.is_empty() {
                self.name_places.remove(&entry.0);
            }
        }
        Some(entry)
    }

    /// The oldest dirty file, or the one after `after`.
    pub fn next_file(&self, after: Option<(Ticket, Inode)>) -> Option<(Ticket, Inode)> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        self.file_order
            .range((from, Bound::Unbounded))
            .next()
            .copied()
    }

    /// What is known of a dirty file.
    pub fn file(&self, file: Inode) -> Option<&DirtyFile> {
        self.files.get(&file)
    }

    /// Takes a dirty file out.
    pub fn take_file(&mut self, file: Inode) -> Option<DirtyFile> {
        let entry = self.files.remove(&file)?;
        self.file_order.remove(&(entry.mark.ticket, file));
        Some(entry)
    }

    /// Puts back what could not be finished, under its old mark.
    pub fn put_back_file(&mut self, file: Inode, entry: DirtyFile) {
        let known = self.take_file(file);
        let mut entry = entry;
        if let Some(known) = known {
            entry.absorb(&known);
        }
        self.file_order.insert((entry.mark.ticket, file));
        self.files.insert(file, entry);
    }

    /// The oldest directory to list.
    pub fn take_listing(&mut self) -> Option<(Inode, Listing)> {
        let (_, directory) = self.listing_order.pop_first()?;
        self.listings
            .remove(&directory)
            .map(|listing| (directory, listing))
    }

    /// Ticket of that directory.
    pub fn next_listing(&self) -> Option<Ticket> {
        self.listing_order.first().map(|place| place.0)
    }

    /// Is there an order to look everywhere?
    pub fn wants_everything(&self) -> bool {
        self.everything.is_some()
    }

    /// Takes the order to look everywhere.
    pub fn take_everything(&mut self) -> Option<Mark> {
        self.everything.take()
    }

    /// Looking everywhere is due. Whoever asks for that says nothing of what is found.
    pub fn set_everything(&mut self, mark: Mark) {
        let sources = Source::Scan.into();
        self.everything = self.everything.or(Some(Mark { sources, ..mark }));
    }

    /// The oldest entry; everything before it has been taken.
    pub fn oldest(&self) -> Option<Mark> {
        let name = self.names.first_key_value().map(|(_, entry)| entry.2);
        let file = self
            .file_order
            .first()
            .and_then(|(_, inode)| self.files.get(inode));
        let listing = self
            .listing_order
            .first()
            .and_then(|(_, inode)| self.listings.get(inode));
        let marks = [
            name,
            file.map(|entry| entry.mark),
            listing.map(|entry| entry.mark),
            self.everything,
        ];
        marks.into_iter().flatten().min_by_key(|mark| mark.ticket)
    }

    /// The last ticket given out; a barrier waits until [`Self::oldest`] is beyond it.
    pub fn last_ticket(&self) -> Ticket {
        Ticket(self.last_ticket)
    }

    /// Names and files that are waiting (not those a listing will find).
    pub fn entries(&self) -> usize {
        self.names.len() + self.files.len() + self.listings.len()
    }

    /// Known bytes that are waiting. Ranges to the end of a file count up to where they are known.
    pub fn bytes(&self, size_of: impl Fn(&Inode) -> u64) -> u64 {
        self.files
            .iter()
            .map(|(inode, entry)| entry.dirt.ranges.bytes(size_of(inode)))
            .sum()
    }

    /// Is anything at all waiting?
    pub fn is_empty(&self) -> bool {
        self.entries() == 0 && self.everything.is_none()
    }

    /// Are directories waiting to be listed (a scan is going on)?
    pub fn listings(&self) -> usize {
        self.listings.len()
    }

    /// Are dirty names waiting?
    pub fn has_names(&self) -> bool {
        !self.names.is_empty()
    }

    /// Who told of what is waiting about this file.
    pub fn sources_of_file(&self, file: &Inode) -> Sources {
        let entry = self.files.get(file);
        entry.map_or_else(Sources::default, DirtyFile::sources)
    }

    /// Who told of what is waiting about this name.
    pub fn sources_of_name(&self, directory: &Inode, name: &Name) -> Sources {
        let places = self.name_places.get(directory);
        let place = places.and_then(|places| places.get(name));
        let entry = place.and_then(|place| self.names.get(place));
        entry.map_or_else(Sources::default, |entry| entry.2.sources)
    }

    /// Is anything left of what a background scan wanted looked at?
    pub fn has_background(&self) -> bool {
        let last = [
            self.names.last_key_value().map(|(place, _)| place.0),
            self.file_order.last().map(|place| place.0),
            self.listing_order.last().map(|place| place.0),
        ];
        last.contains(&Some(Ticket::BACKGROUND))
    }

    /// Too many entries to keep apart: the caller forgets them for one look at everything. Directories to list do
    /// not count: looking at everything lists them all.
    pub fn is_crowded(&self) -> bool {
        self.names.len() + self.files.len() > self.limits.entries
    }

    /// Would one more be too many?
    fn is_full(&self) -> bool {
        self.names.len() + self.files.len() >= self.limits.entries
    }

    /// Forgets the entries for one look at everything, as old as the oldest of them; but for what no look tells.
    pub fn widen_to_everything(&mut self) {
        let Some(oldest) = self.oldest() else {
            return;
        };
        // Of pages that are mapped the kernel tells nothing more before they are cleaned.
        let mapped: Vec<_> = self
            .files
            .extract_if(|_, file| file.wants_flush())
            .collect();
        *self = Self {
            last_ticket: self.last_ticket,
            ..Self::within(self.limits)
        };
        for (inode, file) in mapped {
            self.put_back_file(inode, file);
        }
        self.everything = Some(Mark {
            origin: OriginId::SCAN,
            sources: Source::Scan.into(),
            ..oldest
        });
    }
}

#[cfg(test)]
mod tests;

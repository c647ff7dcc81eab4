//! What has been drained and not been sent yet, merged.
//!
//! Memory is bounded without ever forgetting: ranges of a file grow together, names of a directory
//! become "some names", and when even that is too much all of it becomes [`What::Everything`].

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use everwrite_protocol::local::Inode;

use super::hint::{Hint, OriginId, Source, What};
use crate::ranges::{self, RangeSet};

/// Files that can wait.
const FILES_MAX: usize = 16 * 1024;
/// Names that can wait, and directories of which only "some names" is known.
const NAMES_MAX: usize = 16 * 1024;
/// Writes told by the kernel that wait one by one. Each has the time by which it was done, which spares
/// reading what has been read since.
const WRITES_MAX: usize = 4096;
/// Ranges of all files together.
const RANGES_MAX: usize = 128 * 1024;
/// Least time between two [`What::Everything`], which any process may ask for at any rate.
pub(super) const EVERYTHING_INTERVAL: Duration = Duration::from_secs(1);

/// The hints that wait, all of one source.
pub(crate) struct Merge {
    source: Source,
    files: HashMap<(OriginId, Inode, u64), Dirt>,
    ranges: usize,
    /// Each with its own time, for as long as there are few.
    writes: Vec<Hint>,
    names: Vec<Hint>,
    known_names: HashSet<What>,
    directories: HashMap<Inode, (OriginId, Instant)>,
    /// Programs that asked for durability and have written nothing since.
    synced: HashMap<OriginId, (Inode, Instant)>,
    everything: Option<(OriginId, Instant)>,
    everything_sent: Option<Instant>,
    losses: u64,
}

/// What waits for one file.
struct Dirt {
    at: Instant,
    ranges: RangeSet,
    mapped: RangeSet,
    append: bool,
    whole: bool,
    attributes: bool,
    unmapped: bool,
    flush: bool,
}

impl Merge {
    /// Nothing waits yet.
    pub(crate) fn new(source: Source) -> Self {
        Self {
            source,
            files: HashMap::new(),
            ranges: 0,
            writes: Vec::new(),
            names: Vec::new(),
            known_names: HashSet::new(),
            directories: HashMap::new(),
            synced: HashMap::new(),
            everything: None,
            everything_sent: None,
            losses: 0,
        }
    }

    /// Adds what was drained at `at`.
    pub(crate) fn add(&mut self, origin: OriginId, at: Instant, what: What) {
        if !self.synced.is_empty() && self.is_written(origin, &what) {
            self.synced.remove(&origin);
        }
        match what {
            What::Write { .. }
                if self.source == Source::Kernel && self.writes.len() < WRITES_MAX =>
            {
                let source = self.source;
                self.writes.push(Hint {
                    origin,
                    source,
                    at,
                    what,
                });
            }
            What::Write {
                file,
                birth,
                offset,
                length,
            } => {
                self.add_range((origin, file, birth), at, offset, length, |dirt| {
                    &mut dirt.ranges
                });
            }
            What::Mapped {
                file,
                birth,
                offset,
                length,
            } => {
                self.add_range((origin, file, birth), at, offset, length, |dirt| {
                    &mut dirt.mapped
                });
            }
            What::Append { file, birth } => self.dirt((origin, file, birth), at).append = true,
            What::Whole { file, birth } => self.dirt((origin, file, birth), at).whole = true,
            What::Attributes { file, birth } => {
                self.dirt((origin, file, birth), at).attributes = true
            }
            What::Unmapped { file, birth } => self.dirt((origin, file, birth), at).unmapped = true,
            What::Flush { file } => self.dirt((origin, file, 0), at).flush = true,
            What::Sync { file } => drop(self.synced.insert(origin, (file, at))),
            What::Names { directory } => self.add_directory(origin, at, directory),
            What::Name { .. } | What::Rename { .. } => {
                self.add_name(self.hint(origin, at, what));
            }
            What::Everything => self.add_everything(origin, at),
        }
        if self.files.len() > FILES_MAX || self.directories.len() > NAMES_MAX {
            self.overflow(origin, at);
        }
        if self.synced.len() > FILES_MAX {
            self.synced.clear();
        }
    }

    /// Did the program write this by a call? What it stored into a mapping is another matter.
    fn is_written(&self, origin: OriginId, what: &What) -> bool {
        let (What::Write { file, .. } | What::Append { file, .. } | What::Whole { file, .. }) =
            *what
        else {
            return false;
        };
        let dirt = self.files.get(&(origin, file, 0));
        !dirt.is_some_and(|dirt| dirt.flush)
    }

    /// Is there anything that a barrier has to wait for?
    pub(crate) fn is_empty(&self) -> bool {
        self.files.is_empty()
            && self.writes.is_empty()
            && self.names.is_empty()
            && self.directories.is_empty()
            && self.synced.is_empty()
            && self.everything.is_none()
    }

    /// How often everything had to be looked at since start: asked for, or for want of memory.
    pub(crate) fn losses(&self) -> u64 {
        self.losses
    }

    /// Is there anything to send at `now`? "Everything" waits for its time.
    pub(crate) fn is_due(&self, now: Instant) -> bool {
        let precise = !(self.files.is_empty()
            && self.writes.is_empty()
            && self.names.is_empty()
            && self.directories.is_empty()
            && self.synced.is_empty());
        precise || (self.everything.is_some() && self.everything_is_due(now))
    }

    /// Takes what is due. Names come in the order in which they were drained, then content, then
    /// who asked for durability after all that.
    pub(crate) fn take(&mut self, now: Instant) -> Vec<Hint> {
        self.known_names.clear();
        self.ranges = 0;
        let mut hints = std::mem::take(&mut self.names);
        for (directory, (origin, at)) in std::mem::take(&mut self.directories) {
            hints.push(self.hint(origin, at, What::Names { directory }));
        }
        hints.append(&mut self.writes);
        for ((origin, file, birth), dirt) in std::mem::take(&mut self.files) {
            let hint = |what| self.hint(origin, dirt.at, what);
            dirt.put(file, birth, hint, &mut hints);
        }
        for (origin, (file, at)) in std::mem::take(&mut self.synced) {
            hints.push(self.hint(origin, at, What::Sync { file }));
        }
        if self.everything_is_due(now)
            && let Some((origin, at)) = self.everything.take()
        {
            self.everything_sent = Some(now);
            hints.push(self.hint(origin, at, What::Everything));
        }
        hints
    }

    fn hint(&self, origin: OriginId, at: Instant, what: What) -> Hint {
        Hint {
            origin,
            source: self.source,
            at,
            what,
        }
    }

    /// Lets "everything" go at once: somebody waits for it.
    pub(crate) fn hurry(&mut self) {
        self.everything_sent = None;
    }

    fn everything_is_due(&self, now: Instant) -> bool {
        self.everything_sent
            .is_none_or(|last| now.duration_since(last) >= EVERYTHING_INTERVAL)
    }

    fn dirt(&mut self, key: (OriginId, Inode, u64), at: Instant) -> &mut Dirt {
        let dirt = self.files.entry(key).or_insert_with(|| Dirt::new(at));
        // Of all that is told as one, the latest: what is looked at after that has seen it.
        if self.source == Source::Kernel {
            dirt.at = dirt.at.max(at);
        }
        dirt
    }

    fn add_range(
        &mut self,
        key: (OriginId, Inode, u64),
        at: Instant,
        offset: u64,
        length: u64,
        which: fn(&mut Dirt) -> &mut RangeSet,
    ) {
        let ranges = which(self.dirt(key, at));
        let before = ranges.len();
        ranges.add(offset, length);
        let after = ranges.len();
        self.ranges = self.ranges.saturating_sub(before) + after;
        if self.ranges > RANGES_MAX {
            self.narrow_all();
        }
    }

    /// Halves the ranges that every file may have until half of the room is free again.
    fn narrow_all(&mut self) {
        let mut most = ranges::RANGES_MAX;
        while self.ranges > RANGES_MAX / 2 && most > 1 {
            most /= 2;
            self.ranges = 0;
            for dirt in self.files.values_mut() {
                dirt.ranges.narrow_to(most);
                dirt.mapped.narrow_to(most);
                self.ranges += dirt.ranges.len() + dirt.mapped.len();
            }
        }
    }

    fn add_name(&mut self, hint: Hint) {
        if self.known_names.contains(&hint.what) {
            return;
        }
        if self.names.len() < NAMES_MAX {
            self.known_names.insert(hint.what.clone());
            self.names.push(hint);
            return;
        }
        match hint.what {
            What::Name { directory, .. } => self.add_directory(hint.origin, hint.at, directory),
            What::Rename {
                old_directory,
                new_directory,
                ..
            } => {
                self.add_directory(hint.origin, hint.at, old_directory);
                self.add_directory(hint.origin, hint.at, new_directory);
            }
            // Only names come here; whatever else did would not be lost.
            _ => self.overflow(hint.origin, hint.at),
        }
    }

    fn add_directory(&mut self, origin: OriginId, at: Instant, directory: Inode) {
        if let Entry::Vacant(place) = self.directories.entry(directory) {
            place.insert((origin, at));
        }
    }

    /// Everything is to be looked at. That finds all but one thing: who has what mapped, which is
    /// kept for as many files as there is room for.
    fn overflow(&mut self, origin: OriginId, at: Instant) {
        let mut room = FILES_MAX / 2;
        self.files.retain(|_, dirt| {
            let kept = room > 0 && (dirt.unmapped || !dirt.mapped.is_empty());
            room -= usize::from(kept);
            dirt.ranges = RangeSet::default();
            dirt.mapped.narrow_to(1);
            kept
        });
        self.ranges = self.files.len();
        self.writes.clear();
        self.names.clear();
        self.known_names.clear();
        self.directories.clear();
        self.add_everything(origin, at);
    }

    /// Adds a look at everything that no loss asks for.
    pub(crate) fn look_everywhere(&mut self, at: Instant) {
        self.everything = self.everything.or(Some((OriginId::SCAN, at)));
    }

    fn add_everything(&mut self, origin: OriginId, at: Instant) {
        self.losses += 1;
        self.everything = self.everything.or(Some((origin, at)));
    }
}

impl Dirt {
    fn new(at: Instant) -> Self {
        Self {
            at,
            ranges: RangeSet::default(),
            mapped: RangeSet::default(),
            append: false,
            whole: false,
            attributes: false,
            unmapped: false,
            flush: false,
        }
    }

    /// The hints that say all this. "Whole" says more than any range or growth.
    fn put(&self, file: Inode, birth: u64, hint: impl Fn(What) -> Hint, hints: &mut Vec<Hint>) {
        hints.extend(self.flush.then(|| hint(What::Flush { file })));
        if self.whole {
            hints.push(hint(What::Whole { file, birth }));
        } else {
            let writes = self.ranges.iter();
            hints.extend(writes.map(|(offset, length)| {
                hint(What::Write {
                    file,
                    birth,
                    offset,
                    length,
                })
            }));
            hints.extend(self.append.then(|| hint(What::Append { file, birth })));
        }
        hints.extend(
            self.attributes
                .then(|| hint(What::Attributes { file, birth })),
        );
        let mapped = self.mapped.iter();
        hints.extend(mapped.map(|(offset, length)| {
            hint(What::Mapped {
                file,
                birth,
                offset,
                length,
            })
        }));
        hints.extend(self.unmapped.then(|| hint(What::Unmapped { file, birth })));
    }
}

#[cfg(test)]
mod tests;

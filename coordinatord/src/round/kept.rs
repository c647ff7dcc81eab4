//! Files that may die before all of them is read: pre-images.
//!
//! What is put off, and what is too large for one round, is kept open meanwhile. Should it lose its last name, the
//! rest is read from what was kept, its name is left to it until then, and the history has what lived for a moment.
//! Kept are few files and not for long: an open file keeps its file system mounted, and its space taken.

use std::collections::HashMap;
use std::fs::File;
use std::time::{Duration, Instant};

use anyhow::Result;
use everwrite_protocol::ids::Name;
use everwrite_protocol::local::Inode;
use everwrite_protocol::wire::{Attributes, BackupCommand, Kind, Xattr};

use super::Round;
use super::names::{At, Why};
use super::pace::is_dear;
use super::state::State;
use crate::index::FileRow;
use crate::look::{NameVerdict, Place, Stat, attributes_of, stat_descriptor};
use crate::queue::{Dirt, DirtyFile, Mark};
use crate::read::{OpenContent, Reader};

/// Files kept open by one pipeline.
const FILES_MAX: usize = 64;
/// Bytes in them, which take space on the disk when they have no name any more.
const BYTES_MAX: u64 = 4 << 30;
/// How long one is kept after it was last looked at. What is dead is looked at in each round.
const AGE_MAX: Duration = Duration::from_secs(30);
/// The same for one that has been read to its end, and is not looked at again at once when it is written to.
const READ_AGE_MAX: Duration = Duration::from_secs(1);

/// A file kept open.
struct Kept {
    file: File,
    birth: u64,
    size: u64,
    /// When it was last looked at.
    since: Instant,
    /// All of it was read then.
    is_read: bool,
    /// It has no name any more, and the rest of it is being read.
    dying: bool,
    /// As they were when it still had a name.
    xattrs: Vec<Xattr>,
    place: Place,
    /// The directory and the name that it was found by.
    name: (Inode, Name),
}

/// Files kept open, by inode.
#[derive(Default)]
pub struct KeptFiles {
    files: HashMap<Inode, Kept>,
}

impl KeptFiles {
    /// Lets go of those that nothing was heard of for long.
    pub fn sweep(&mut self, now: Instant) {
        let longest = |kept: &Kept| if kept.is_read { READ_AGE_MAX } else { AGE_MAX };
        self.files
            .retain(|_, kept| now.saturating_duration_since(kept.since) < longest(kept));
    }

    /// This one has been read to its end.
    pub(super) fn is_read(&mut self, file: Inode) {
        if let Some(kept) = self.files.get_mut(&file) {
            kept.is_read = true;
        }
    }

    /// Lets go of all.
    pub fn clear(&mut self) {
        self.files.clear();
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.files.is_empty()
    }

    pub(super) fn let_go(&mut self, file: Inode) {
        self.files.remove(&file);
    }

    /// Is its rest about to be read for the first time?
    fn begins_to_die(&mut self, file: Inode) -> bool {
        let kept = self.files.get_mut(&file);
        kept.is_some_and(|kept| !std::mem::replace(&mut kept.dying, true))
    }

    fn insert(&mut self, file: Inode, kept: Kept) {
        self.files.remove(&file);
        let bytes: u64 = self.files.values().map(|kept| kept.size).sum();
        if self.files.len() < FILES_MAX && bytes.saturating_add(kept.size) <= BYTES_MAX {
            self.files.insert(file, kept);
        }
    }

    /// The file by its last name, if it is dead.
    fn dead_by_name(&self, directory: Inode, name: &Name) -> Option<(Inode, Stat)> {
        let named = |kept: &Kept| kept.name.0 == directory && kept.name.1 == *name;
        let (file, _) = self.files.iter().find(|(_, kept)| named(kept))?;
        Some((*file, self.dead(*file)?))
    }

    /// How it looks now, if it has no name any more.
    fn dead(&self, file: Inode) -> Option<Stat> {
        let kept = self.files.get(&file)?;
        let stat = stat_descriptor(&kept.file).ok()?;
        (stat.links == 0 && stat.is_file(file, kept.birth)).then_some(stat)
    }
}

impl State {
    /// Is something known to be dirty about this file?
    fn is_dirty(&self, file: Inode) -> bool {
        self.resting.contains_key(&file) || self.queue.file(file).is_some()
    }
}

impl Round<'_> {
    /// Keeps a file open that is not read to its end yet.
    pub(super) fn keep(&mut self, at: &At<'_>, name: &Name, content: &OpenContent) {
        let stat = &content.stat;
        let known = self.state.kept.files.get_mut(&stat.inode);
        if let Some(kept) = known.filter(|kept| kept.birth == stat.birth) {
            (kept.since, kept.is_read) = (self.started, false);
            return;
        }
        let Some(attributes) = self.attributes_at(at, name, stat) else {
            return;
        };
        if let Ok(file) = content.file.try_clone() {
            let kept = Kept {
                file,
                birth: stat.birth,
                size: stat.size,
                since: self.started,
                is_read: false,
                dying: false,
                xattrs: attributes.xattrs,
                place: (*at.directory.place).clone(),
                name: (at.inode, name.clone()),
            };
            self.state.kept.insert(stat.inode, kept);
        }
    }

    /// Keeps one open that is read to its end, if it will have to rest before it is looked at again.
    pub(super) fn keep_after(
        &mut self,
        at: &At<'_>,
        name: &Name,
        content: &OpenContent,
        cost: Duration,
    ) {
        let inode = content.stat.inode;
        if !is_dear(cost) {
            return self.state.kept.let_go(inode);
        }
        self.keep(at, name, content);
        self.state.kept.is_read(inode);
    }

    /// Does this verdict take the last name from a file that has not been read to its end, but was kept? Then
    /// the name is looked at again when it has been.
    pub(super) fn waits_for_kept(
        &mut self,
        at: &At<'_>,
        name: &Name,
        loser: Option<&FileRow>,
        verdict: NameVerdict,
        mark: Mark,
    ) -> bool {
        let taken = match verdict {
            NameVerdict::Gone(file) => Some(file),
            NameVerdict::Moved { replaced, .. } | NameVerdict::New { replaced } => replaced,
            _ => None,
        };
        let loser = loser
            .filter(|row| Some(row.id) == taken)
            .map(|row| row.inode);
        let Some(loser) = loser.filter(|loser| self.state.kept.dead(*loser).is_some()) else {
            return false;
        };
        if !self.state.is_dirty(loser) {
            self.state.kept.let_go(loser);
            return false;
        }
        if let Some((_, entry)) = self.state.resting.remove(&loser) {
            self.state.queue.put_back_file(loser, entry);
        }
        self.postponed.push((at.inode, name.clone(), mark));
        true
    }

    /// A new file that was put off, and has gone since: it is sent to be named and to lose its name again.
    pub(super) fn create_dead(&mut self, at: &At<'_>, name: &Name, why: Why) -> Result<()> {
        let Some((file, stat)) = self.state.kept.dead_by_name(at.inode, name) else {
            return Ok(());
        };
        let known = self
            .state
            .index
            .by_inode(file.device, file.inode, stat.birth)?;
        if known.is_some() {
            return Ok(());
        }
        let Some(attributes) = self.attributes_of_kept(file, &stat) else {
            return Ok(());
        };
        let id = self.create_row(&stat, attributes, true, why)?;
        self.state.staged.insert(id, vec![(at.inode, name.clone())]);
        let all = |dirt: &mut Dirt| dirt.ranges.add(0, u64::MAX);
        self.state.queue.dirty(file, why.mark, all);
        Ok(())
    }

    fn attributes_of_kept(&self, file: Inode, stat: &Stat) -> Option<Attributes> {
        let kept = self.state.kept.files.get(&file)?;
        let xattrs = kept.xattrs.clone();
        Some(attributes_of(
            stat,
            Vec::new(),
            xattrs,
            &self.state.accounts,
        ))
    }

    /// A dirty file that no name leads to. Gives the entry back if it was not kept, or lives.
    pub(super) fn look_kept(
        &mut self,
        row: &FileRow,
        mut entry: DirtyFile,
        bytes: u64,
    ) -> Result<Option<DirtyFile>> {
        let dead = self.state.kept.dead(row.inode);
        let Some(stat) = dead.filter(|_| row.kind == Kind::Regular) else {
            return Ok(Some(entry));
        };
        let Some(attributes) = self.attributes_of_kept(row.inode, &stat) else {
            return Ok(Some(entry));
        };
        if self.state.kept.begins_to_die(row.inode) {
            // What is written from now on belongs to no name.
            entry = entry.as_one();
        }
        if entry.dirt.whole || stat.size > row.size {
            let from = if entry.dirt.whole { 0 } else { row.size };
            entry.dirt.ranges.add(from, u64::MAX);
        }
        entry.dirt = Dirt {
            ranges: entry.dirt.ranges,
            born: entry.dirt.born,
            told: entry.dirt.told,
            ..Dirt::default()
        };
        if !row.staged && stat.size != row.size {
            let truncate = BackupCommand::Truncate {
                file: row.id,
                length: stat.size,
                origin: 0,
            };
            self.batch.push(entry.mark.origin, truncate);
        }
        self.send_kept(row, &mut entry, &stat, bytes);
        let row = FileRow {
            size: stat.size,
            ..row.clone()
        };
        if !entry.dirt.ranges.is_empty() && !entry.failed {
            self.state.index.put_file(&row, self.batch.sequence())?;
            entry.begun = entry.begun.or(Some(stat.changed));
            self.postponed_files.push((row.inode, entry));
            return Ok(None);
        }
        let origin = entry.mark.origin;
        self.put_attributes(&row, &stat, attributes, origin, stat.changed)?;
        self.bury_kept(&row, &entry)?;
        Ok(None)
    }

    fn send_kept(&mut self, row: &FileRow, entry: &mut DirtyFile, stat: &Stat, bytes: u64) {
        let Some(kept) = self.state.kept.files.get_mut(&row.inode) else {
            return;
        };
        kept.since = self.started;
        let mut reader = Reader {
            batch: &mut self.batch,
            buffer: &mut self.buffer,
            bytes_read: &mut self.state.bytes_read,
        };
        let sparse = stat.allocated < stat.size;
        let mut failure = None;
        for range in entry.dirt.ranges.take(bytes, stat.size) {
            let origin = entry.mark.origin;
            let read = reader.send_range(&kept.file, row.id, origin, range, sparse, row.staged);
            failure = read.err().or(failure);
        }
        if let Some(error) = failure {
            let (place, name) = (kept.place.clone(), kept.name.1.clone());
            self.trouble(&place, Some(&name), &error);
            entry.failed = true;
        }
    }

    /// All of it is read. What has just arrived gets its name, unless that is another's by now; and the
    /// names are looked at again, by which it dies.
    fn bury_kept(&mut self, row: &FileRow, entry: &DirtyFile) -> Result<()> {
        let Some(kept) = self.state.kept.files.remove(&row.inode) else {
            return Ok(());
        };
        let (directory, name) = kept.name;
        if row.staged {
            let parent = self
                .state
                .index
                .by_inode(directory.device, directory.inode, 0)?;
            let free = match &parent {
                Some(parent) => self.state.index.child(parent.id, &name)?.is_none(),
                None => false,
            };
            let Some(parent) = parent.filter(|_| free && !entry.failed) else {
                return self.drop_staged(row.id);
            };
            self.unstage(row.id)?;
            self.state.staged.remove(&row.id);
            self.attach(parent.id, &name, row.id, entry.mark.origin)?;
        }
        self.postponed.push((directory, name, entry.mark));
        Ok(())
    }
}

//! Looking at files: content and attributes.

use std::time::Duration;

use anyhow::Result;
use everwrite_protocol::ids::{FileId, Name, Timestamp};
use everwrite_protocol::local::Inode;
use everwrite_protocol::wire::{Attributes, BackupCommand, Kind};

use super::Round;
use super::account::{Sides, counts};
use super::dirt::{
    Doubt, hides_writes, is_being_made, is_heavy, is_told_in_part, wants_comparison, widen,
};
use super::names::{At, Opened, Why};
use super::pace::Rest;
use super::times::changed_in_between;
use crate::clock::{self, wall_clock};
use crate::index::{FileRow, SUSPECT, UNPROVEN};
use crate::intake::{OriginId, Source};
use crate::look::{OpenDirectory, Stat, attributes_digest, stat_at};
use crate::queue::{Dirt, DirtyFile, Mark, Ticket};
use crate::read::{OpenContent, ReadOutcome, Reader, clean_pages, is_in_memory, open_content};
use crate::reconcile::ScanReason;

/// How long a file that is being rewritten must have been left alone.
const REST: Duration = Duration::from_millis(300);
/// The same for one that has just lost most of its content.
const REST_CUT_SHORT: Duration = Duration::from_millis(900);
/// However often it is written to, it is looked at after this.
const REST_MAX: Duration = Duration::from_secs(2);
/// Rounds in which a file is looked for before everything is listed instead.
const ATTEMPTS_MAX: u8 = 8;

/// Where a file was found.
enum Located {
    Yes(OpenDirectory, FileId, Inode, Name, Stat),
    /// None of its names leads to it; they are looked at first.
    Nowhere,
    /// Its root is halted, and will be scanned.
    Halted,
}

impl Round<'_> {
    /// One dirty file, reading at most `bytes` of it.
    pub(super) fn look_file(&mut self, inode: Inode, entry: DirtyFile, bytes: u64) -> Result<()> {
        // An inode that the index does not know lies outside all roots, or has not been found yet:
        // then finding it reads all of it.
        let Some(row) = self.state.index.by_inode(inode.device, inode.inode, 0)? else {
            self.unknown();
            return Ok(());
        };
        if !self.done_files.insert(row.id) {
            self.postponed_files.push((inode, entry));
            return Ok(());
        }
        self.look_began = clock::now();
        match self.locate(&row, entry.mark)? {
            Located::Yes(open, directory, directory_inode, name, stat) => {
                let at = At {
                    directory: &open,
                    file: directory,
                    inode: directory_inode,
                };
                let (mark, known) = (entry.mark, row.clone());
                let counts = entry.begun.is_none() && counts(&row, &stat);
                let commands = self.batch.commands();
                match row.kind {
                    Kind::Regular => self.look_regular(&at, &name, row, entry, bytes)?,
                    _ => self.send_attributes(&at, &name, &row, &stat, mark.origin)?,
                }
                if counts && self.batch.commands() > commands {
                    let sides = Sides {
                        before: Some(&known),
                        now: Some(&stat),
                        named: false,
                    };
                    self.note_change(&at, &name, mark, sides);
                }
                Ok(())
            }
            Located::Nowhere => match self.look_kept(&row, entry, bytes)? {
                Some(entry) => self.search_file(inode, &row, entry),
                None => Ok(()),
            },
            Located::Halted => Ok(()),
        }
    }

    fn look_regular(
        &mut self,
        at: &At<'_>,
        name: &Name,
        row: FileRow,
        entry: DirtyFile,
        bytes: u64,
    ) -> Result<()> {
        match open_content(at.directory, name) {
            Ok(content) if content.stat.is_file(row.inode, row.birth) => {
                self.look_content(at, name, row, &content, entry, bytes)
            }
            Ok(_) => {
                self.postponed_files.push((row.inode, entry));
                Ok(())
            }
            Err(error) => {
                self.trouble(&at.directory.place, Some(name), &error);
                self.distrust(row.id)
            }
        }
    }

    /// May it have changed without anybody hearing of it, since it was last stored?
    fn doubt(&self, row: &FileRow) -> Result<Doubt> {
        let others = !self.tools.witness.hears_all();
        let Some(scan) = &self.state.scan else {
            return Ok(Doubt {
                others,
                ..Doubt::default()
            });
        };
        let stored = self.state.index.changed_in(row.id)?;
        Ok(Doubt {
            unheard: stored.is_some_and(|stored| stored < scan.doubted_before),
            others,
            in_a_hurry: scan.reason == ScanReason::Barrier && !scan.thorough,
        })
    }

    fn look_content(
        &mut self,
        at: &At<'_>,
        name: &Name,
        row: FileRow,
        content: &OpenContent,
        mut entry: DirtyFile,
        bytes: u64,
    ) -> Result<()> {
        let stat = &content.stat;
        let waits_for_growth = self.is_quick() && entry.waits_for_growth();
        // Before the end of a file that has grown is added, which has no end itself.
        let early = entry.dirt.ranges.pass(stat.size) || waits_for_growth;
        widen(&mut entry, &row, stat, self.doubt(&row)?);
        if self.state.mapped.contains_key(&row.inode) && is_in_memory(&content.file) {
            // Nothing tells of what is stored into it.
            entry.dirt.whole = true;
        }
        if self.rests(&entry, &row, stat) {
            self.keep(at, name, content);
            self.delay_file(row.inode, stat.size, entry);
            return Ok(());
        }
        if entry.begun.is_none() {
            entry.in_part = is_told_in_part(&entry.dirt, stat);
        }
        if entry.dirt.flush {
            clean_pages(&content.file, &entry.dirt)?;
        }
        // What is known to have been written is sent as it is when programs may be waiting.
        let base = match self.is_quick() && !entry.dirt.whole {
            true => None,
            false => self.base_of(at, name, &row, stat, &entry)?,
        };
        if let Some(base) = base {
            if self.is_quick() {
                self.postponed_files.push((row.inode, entry));
                return Ok(());
            }
            match self.compare_content(at, name, (&row, &base), content, &mut entry)? {
                Compared::Ranges => {}
                Compared::Rebuilt => return Ok(()),
                Compared::NotNow => {
                    entry.dirt.whole = true;
                    self.delay_file(row.inode, stat.size, entry);
                    return Ok(());
                }
            }
        }
        if entry.dirt.whole {
            entry.dirt.ranges.add(0, u64::MAX);
        }
        entry.dirt = Dirt {
            ranges: entry.dirt.ranges,
            born: entry.dirt.born,
            told: entry.dirt.told,
            ..Dirt::default()
        };
        let (inode, mark) = (row.inode, entry.mark);
        self.send_ranges(at, name, row, content, entry, bytes)?;
        if early {
            self.look_for_growth(inode, content.stat.size, mark);
        }
        Ok(())
    }

    /// The kernel tells of bytes just before it raises the file's size; then there was nothing to read. Before
    /// a quick round the calls of programs with the shim have ended, and the size is what it is: then it is
    /// only made sure, and nobody waits for that.
    fn look_for_growth(&mut self, inode: Inode, size: u64, mut mark: Mark) {
        if self.is_quick() && mark.sources.has(Source::Shim) {
            mark.ticket = Ticket::BACKGROUND;
        }
        let mut entry = DirtyFile::new(mark);
        (entry.dirt.appended, entry.again) = (true, true);
        if let Some(entry) = self.state.rest(inode, entry, self.started) {
            self.delay_file(inode, size, entry);
        }
    }

    /// What the file's content is to be compared with, if that promises anything: the receiver's
    /// copy of it, or a sibling that it is probably a new version of.
    fn base_of(
        &self,
        at: &At<'_>,
        name: &Name,
        row: &FileRow,
        stat: &Stat,
        entry: &DirtyFile,
    ) -> Result<Option<FileRow>> {
        let own = (wants_comparison(entry, row, stat) && row.size > 0).then(|| row.clone());
        let grows = is_being_made(row, stat);
        let heavy = is_heavy(&entry.dirt, row, stat);
        if row.staged || entry.begun.is_some() || !grows && (own.is_some() || !heavy) {
            return Ok(own);
        }
        // What comes behind its end can't be found in the file's own old content.
        let sibling = self.sibling(at, name, stat, Some(row.id), Why::of(entry.mark))?;
        Ok(sibling.or(own))
    }

    /// Looks at the file a little later.
    fn delay_file(&mut self, inode: Inode, size: u64, entry: DirtyFile) {
        let until = self.started + REST;
        self.state
            .resting
            .insert(inode, (Rest { until, size }, entry));
    }

    /// Is it being rewritten, so that looking a little later costs less?
    fn rests(&self, entry: &DirtyFile, row: &FileRow, stat: &Stat) -> bool {
        let age = wall_clock().0.saturating_sub(stat.modified.0);
        // A file that was cut short is about to be filled again.
        let quiet = if stat.size < row.size / 2 {
            REST_CUT_SHORT
        } else {
            REST
        };
        !self.state.hurry
            && !row.staged
            && entry.begun.is_none()
            && is_heavy(&entry.dirt, row, stat)
            && (0..quiet.as_nanos() as i64).contains(&age)
            && self.started.saturating_duration_since(entry.mark.since) < REST_MAX
    }

    /// Sends dirty ranges, then attributes; what is left over stays dirty.
    fn send_ranges(
        &mut self,
        at: &At<'_>,
        name: &Name,
        row: FileRow,
        content: &OpenContent,
        mut entry: DirtyFile,
        bytes: u64,
    ) -> Result<()> {
        let (stat, origin) = (&content.stat, entry.mark.origin);
        if stat.size != row.size || row.is_suspect() {
            self.batch.push(
                origin,
                BackupCommand::Truncate {
                    file: row.id,
                    length: stat.size,
                    origin: 0,
                },
            );
        }
        let ranges = entry.dirt.ranges.take(bytes, stat.size);
        let overwrites = |range: &(u64, u64)| range.0 < row.size;
        let lost = stat.size < row.size || ranges.iter().any(overwrites);
        if lost && !row.staged && entry.begun.is_none() {
            self.note_overwritten(at, &row, entry.mark);
        }
        let mut read = true;
        for &(offset, length) in &ranges {
            let mut reader = Reader {
                batch: &mut self.batch,
                buffer: &mut self.buffer,
                bytes_read: &mut self.state.bytes_read,
            };
            let sparse = stat.allocated < stat.size;
            match reader.send_range(
                &content.file,
                row.id,
                origin,
                (offset, length),
                sparse,
                row.staged,
            ) {
                Ok(ReadOutcome::Complete) => {}
                Ok(ReadOutcome::Shrunk) => (read, entry.dirt.attributes) = (false, true),
                Err(error) => {
                    self.trouble(&at.directory.place, Some(name), &error);
                    (read, entry.failed) = (false, true);
                }
            }
        }
        if read {
            self.state.recent.read(row.inode, content.opened, &ranges);
        }
        let unfinished = !entry.dirt.ranges.is_empty() || entry.dirt.attributes;
        let Some(attributes) = self.attributes_at(at, name, stat) else {
            return self.distrust(row.id);
        };
        entry.cost += clock::since(self.look_began);
        let suspect = unfinished
            || entry.failed
            || changed_in_between(&entry, stat)
            || hides_writes(content, entry.mark);
        let changed = match suspect {
            true => SUSPECT,
            false => self.proven_change(&row, stat, entry.in_part),
        };
        self.put_attributes(&row, stat, attributes, origin, changed)?;
        if unfinished {
            entry.begun = entry.begun.or(Some(stat.changed));
            self.keep(at, name, content);
            self.postponed_files.push((row.inode, entry));
            return Ok(());
        }
        self.keep_after(at, name, content, entry.cost);
        if row.staged && !entry.failed {
            self.arrive(at, name, row.id, entry.mark)?;
        }
        self.rest_after(row.inode, stat.size, entry);
        Ok(())
    }

    /// The change time that the row of a file is to have whose dirt is sent. Where not every writer is heard,
    /// what was told of a part says nothing of the rest.
    fn proven_change(&self, row: &FileRow, stat: &Stat, in_part: bool) -> Timestamp {
        let may_hide = row.changed != stat.changed && !self.tools.witness.hears_all();
        match in_part && (row.is_unproven() || may_hide) {
            true => UNPROVEN,
            false => stat.changed,
        }
    }

    /// All that was dirty is sent. What became dirty meanwhile waits in proportion to what that cost.
    fn rest_after(&mut self, inode: Inode, size: u64, entry: DirtyFile) {
        let now = clock::now();
        self.state.pace.finished(inode, size, now, entry.cost);
        if let Some((mark, dirt)) = entry.next {
            let next = DirtyFile {
                dirt,
                ..DirtyFile::new(mark)
            };
            self.state.queue.put_back_file(inode, next);
        }
    }

    /// A staged file is complete: it gets its names.
    fn arrive(&mut self, at: &At<'_>, name: &Name, file: FileId, mark: Mark) -> Result<()> {
        self.unstage(file)?;
        for (directory, other) in self.state.staged.remove(&file).unwrap_or_default() {
            self.state.queue.push_name(directory, other, mark);
        }
        if let Some(replaced) = self.state.index.child(at.file, name)? {
            self.blame(replaced, at, mark, false);
            self.detach(at.file, name, replaced, mark)?;
        }
        self.attach(at.file, name, file, mark.origin)
    }

    /// All content of a staged file is in the batch.
    pub(super) fn unstage(&mut self, file: FileId) -> Result<()> {
        let Some(row) = self.state.index.file(file)? else {
            return Ok(());
        };
        let row = FileRow {
            staged: false,
            ..row
        };
        self.state.index.put_file(&row, self.batch.sequence())
    }

    /// Attributes of anything but a regular file.
    fn send_attributes(
        &mut self,
        at: &At<'_>,
        name: &Name,
        row: &FileRow,
        stat: &Stat,
        origin: OriginId,
    ) -> Result<()> {
        match self.attributes_at(at, name, stat) {
            Some(attributes) => self.put_attributes(row, stat, attributes, origin, stat.changed),
            None => Ok(()),
        }
    }

    /// Sends attributes if they differ from those last sent, and brings the row up to date, with `changed` for
    /// the file's change time: [`SUSPECT`] or [`UNPROVEN`] when the next scan is to compare it.
    pub(super) fn put_attributes(
        &mut self,
        row: &FileRow,
        stat: &Stat,
        attributes: Attributes,
        origin: OriginId,
        changed: Timestamp,
    ) -> Result<()> {
        let digest = attributes_digest(&attributes);
        if digest != row.digest {
            self.batch.push(
                origin,
                BackupCommand::SetAttributes {
                    file: row.id,
                    attributes,
                    origin: 0,
                },
            );
        }
        let new = FileRow {
            changed,
            ..FileRow::of(row.id, stat, digest, row.staged)
        };
        if new != *row {
            self.state.index.put_file(&new, self.batch.sequence())?;
        }
        Ok(())
    }

    /// What is known of the file's content is not to be trusted: the next scan compares it.
    pub(super) fn distrust(&mut self, file: FileId) -> Result<()> {
        let Some(row) = self.state.index.file(file)? else {
            return Ok(());
        };
        let row = FileRow {
            changed: SUSPECT,
            ..row
        };
        self.state.index.put_file(&row, self.batch.sequence())
    }

    /// Finds a name that leads to the file.
    fn locate(&mut self, row: &FileRow, mark: Mark) -> Result<Located> {
        let mut names = Vec::new();
        for (parent, name) in self.state.index.names_of(row.id)? {
            if let Some(parent) = self.state.index.file(parent)? {
                names.push((parent, name));
            }
        }
        for (parent, name) in self.state.staged.get(&row.id).cloned().unwrap_or_default() {
            if let Some(parent) = self.state.index.by_inode(parent.device, parent.inode, 0)? {
                names.push((parent, name));
            }
        }
        let mut halted = false;
        for (parent, name) in names {
            match self.open_directory(&parent, mark)? {
                Opened::Yes(open) => {
                    if let Ok(Some(stat)) = stat_at(&open, &name)
                        && stat.is_file(row.inode, row.birth)
                    {
                        return Ok(Located::Yes(open, parent.id, parent.inode, name, stat));
                    }
                }
                Opened::Never => halted = true,
                Opened::Later => {}
            }
        }
        Ok(if halted {
            Located::Halted
        } else {
            Located::Nowhere
        })
    }

    /// A dirty file that none of its names leads to: renamed or removed, and that is still to be
    /// looked at. Kept dirty until then.
    fn search_file(&mut self, inode: Inode, row: &FileRow, mut entry: DirtyFile) -> Result<()> {
        entry.lost_rounds += 1;
        if entry.lost_rounds > ATTEMPTS_MAX {
            if row.staged {
                return self.drop_staged(row.id);
            }
            self.state.queue.set_everything(entry.mark);
            return Ok(());
        }
        for (parent, name) in self.state.index.names_of(row.id)? {
            if let Some(parent) = self.state.index.file(parent)? {
                self.postponed.push((parent.inode, name, entry.mark));
            }
        }
        self.postponed_files.push((inode, entry));
        Ok(())
    }
}

/// What a comparison with the receiver's copy came to.
pub(super) enum Compared {
    /// The entry's ranges are now exactly what differs.
    Ranges,
    /// The file was sent as a new one, built from the old.
    Rebuilt,
    /// The receiver can't be asked.
    NotNow,
}

impl Why {
    /// On behalf of a dirty file.
    pub(super) fn of(mark: Mark) -> Self {
        Self {
            mark,
            deep: false,
            scan: false,
        }
    }
}

//! Looking at files: content and attributes.

use std::time::{Duration, Instant};

use anyhow::Result;
use everwrite_protocol::ids::{FileId, Name};
use everwrite_protocol::local::Inode;
use everwrite_protocol::wire::{Attributes, BackupCommand, Kind};

use super::Round;
use super::account::{Sides, counts};
use super::names::{At, Opened, Why};
use super::times::{changed_in_between, is_racy, looks_written};
use crate::clock::wall_clock;
use crate::index::{FileRow, SUSPECT};
use crate::intake::{OriginId, Source};
use crate::look::{OpenDirectory, Stat, attributes_digest, stat_at};
use crate::queue::{Dirt, DirtyFile, Mark, Ticket};
use crate::read::{OpenContent, ReadOutcome, Reader, clean_pages, is_in_memory, open_content};

/// Files up to this size are sent whole when it is not known what changed (one question to the
/// receiver would cost as much).
const ASK_BYTES_MIN: u64 = 128 << 10;
/// A file of at least this size that was mostly rewritten is compared with the receiver's copy.
const REWRITTEN_BYTES_MIN: u64 = 1 << 20;
/// How long a file that is being rewritten must have been left alone.
const REST: Duration = Duration::from_millis(300);
/// The same for one that has just lost most of its content.
const REST_CUT_SHORT: Duration = Duration::from_millis(900);
/// However often it is written to, it is looked at after this.
const REST_MAX: Duration = Duration::from_secs(2);
/// A file that is older is not thought to be in the making any more.
const YOUNG: Duration = Duration::from_secs(60);
/// It must have grown by one part in so many to be compared again.
const GROWN_PART: u64 = 8;
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
        self.look_began = Instant::now();
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
            Located::Nowhere => self.search_file(inode, &row, entry),
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
    fn is_doubted(&self, row: &FileRow) -> Result<bool> {
        let Some(scan) = &self.state.scan else {
            return Ok(false);
        };
        let stored = self.state.index.changed_in(row.id)?;
        Ok(stored.is_some_and(|stored| stored < scan.doubted_before))
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
        widen(&mut entry, &row, stat, self.is_doubted(&row)?);
        if self.state.mapped.contains_key(&row.inode) && is_in_memory(&content.file) {
            // Nothing tells of what is stored into it.
            entry.dirt.whole = true;
        }
        if self.rests(&entry, &row, stat) {
            self.delay_file(row.inode, entry);
            return Ok(());
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
                    self.delay_file(row.inode, entry);
                    return Ok(());
                }
            }
        }
        if entry.dirt.whole {
            entry.dirt.ranges.add(0, u64::MAX);
        }
        entry.dirt = Dirt {
            ranges: entry.dirt.ranges,
            ..Dirt::default()
        };
        let (inode, mark) = (row.inode, entry.mark);
        let early = entry.dirt.ranges.pass(stat.size) || waits_for_growth;
        self.send_ranges(at, name, row, content, entry, bytes)?;
        if early {
            self.look_for_growth(inode, mark);
        }
        Ok(())
    }

    /// The kernel tells of bytes just before it raises the file's size; then there was nothing to read. When
    /// all calls have ended the size is what it is: then it is only made sure.
    fn look_for_growth(&mut self, inode: Inode, mut mark: Mark) {
        if self.is_quick() {
            mark.ticket = Ticket::BACKGROUND;
        }
        let mut entry = DirtyFile::new(mark);
        entry.dirt.appended = true;
        if let Some(entry) = self.state.rest(inode, entry, self.started) {
            self.delay_file(inode, entry);
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
    fn delay_file(&mut self, inode: Inode, entry: DirtyFile) {
        self.state
            .resting
            .insert(inode, (self.started + REST, entry));
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
        entry.cost += self.look_began.elapsed();
        let suspect = unfinished
            || entry.failed
            || changed_in_between(&entry, stat)
            || hides_writes(content, entry.mark);
        self.put_attributes(&row, stat, attributes, origin, suspect)?;
        if unfinished {
            entry.begun = entry.begun.or(Some(stat.changed));
            self.postponed_files.push((row.inode, entry));
            return Ok(());
        }
        if row.staged && !entry.failed {
            self.arrive(at, name, row.id, entry.mark)?;
        }
        self.rest_after(row.inode, entry);
        Ok(())
    }

    /// All that was dirty is sent. What became dirty meanwhile waits in proportion to what that cost.
    fn rest_after(&mut self, inode: Inode, entry: DirtyFile) {
        let now = Instant::now();
        self.state.pace.finished(inode, now, entry.cost);
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
        if let Some(row) = self.state.index.file(file)? {
            let row = FileRow {
                staged: false,
                ..row
            };
            self.state.index.put_file(&row, self.batch.sequence())?;
        }
        for (directory, other) in self.state.staged.remove(&file).unwrap_or_default() {
            self.state.queue.push_name(directory, other, mark);
        }
        if let Some(replaced) = self.state.index.child(at.file, name)? {
            self.blame(replaced, at, mark, false);
            self.detach(at.file, name, replaced, mark)?;
        }
        self.attach(at.file, name, file, mark.origin)
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
            Some(attributes) => self.put_attributes(row, stat, attributes, origin, false),
            None => Ok(()),
        }
    }

    /// Sends attributes if they differ from those last sent, and brings the row up to date. A
    /// `suspect` row is compared again by the next scan, whatever its times say.
    pub(super) fn put_attributes(
        &mut self,
        row: &FileRow,
        stat: &Stat,
        attributes: Attributes,
        origin: OriginId,
        suspect: bool,
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
        let mut new = FileRow::of(row.id, stat, digest, row.staged);
        if suspect {
            new.changed = SUSPECT;
        }
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

/// May what was read be out of date already, and nothing show it? What somebody announces is announced again
/// when it is written again.
pub(super) fn hides_writes(content: &OpenContent, mark: Mark) -> bool {
    mark.sources.has(Source::Scan) && is_racy(&content.stat, content.tick)
}

/// Is it a young file that goes on growing, as one that will replace another does? Comparing reads all
/// of it, so it must have grown by a good part: then all comparisons together read a few times its size.
fn is_being_made(row: &FileRow, stat: &Stat) -> bool {
    let age = wall_clock().0.saturating_sub(stat.birth.cast_signed());
    let grown = stat.size.saturating_sub(row.size);
    (0..YOUNG.as_nanos() as i64).contains(&age)
        && grown >= REWRITTEN_BYTES_MIN
        && grown >= stat.size / GROWN_PART
}

/// Is most of a large file dirty?
pub(super) fn is_heavy(dirt: &Dirt, row: &FileRow, stat: &Stat) -> bool {
    let size = stat.size.max(row.size);
    let dirty = if dirt.whole {
        size
    } else {
        dirt.ranges.bytes(size)
    };
    dirty >= REWRITTEN_BYTES_MIN && dirty * 2 > size
}

/// Is most of a file dirty of which the receiver has an older, large version?
fn is_rewritten(dirt: &Dirt, row: &FileRow, stat: &Stat) -> bool {
    row.size >= REWRITTEN_BYTES_MIN && is_heavy(dirt, row, stat)
}

/// Turns what the hints and the two sides say into ranges, where that is possible. A row is suspect
/// while the file is half sent; that is no reason to begin anew. What is announced of a file that is
/// doubted does not tell all of it.
fn widen(entry: &mut DirtyFile, row: &FileRow, stat: &Stat, doubted: bool) {
    let dirt = &mut entry.dirt;
    let told = !dirt.ranges.is_empty() || dirt.appended || dirt.whole;
    let announced = entry.begun.is_some() || told && !doubted;
    let suspect = row.is_suspect() && !row.staged && entry.begun.is_none();
    let by_scan = entry.mark.sources.has(Source::Scan) || doubted;
    dirt.whole |= suspect || !announced && looks_written(row, stat, by_scan);
    if stat.size > row.size {
        dirt.ranges.add(row.size, u64::MAX);
    }
}

fn wants_comparison(entry: &DirtyFile, row: &FileRow, stat: &Stat) -> bool {
    let whole = entry.dirt.whole && stat.size.max(row.size) > ASK_BYTES_MIN;
    let rewritten = entry.begun.is_none() && is_rewritten(&entry.dirt, row, stat);
    !row.staged && (whole || rewritten)
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

#[cfg(test)]
mod tests {
    use everwrite_protocol::ids::Timestamp;

    use super::*;
    use crate::intake::Source;

    fn stat(size: u64) -> Stat {
        let inode = Inode {
            device: 1,
            inode: 1,
        };
        Stat {
            inode,
            birth: 0,
            kind: Kind::Regular,
            mode: 0,
            uid: 0,
            gid: 0,
            size,
            allocated: 0,
            modified: Timestamp(0),
            changed: Timestamp(0),
            device_number: 0,
            links: 1,
        }
    }

    #[test]
    fn a_file_in_the_making_is_young_and_grows_by_a_good_part() {
        let now = wall_clock().0.cast_unsigned();
        let born = |birth, size| Stat {
            birth,
            ..stat(size)
        };
        let row = |size| FileRow::of(FileId(1), &stat(size), [0; 16], false);
        let cases = [
            (now, 40 << 20, 50 << 20, true),
            (now, 100 << 20, 101 << 20, false),
            (now, 100, 200, false),
            (now - 2 * YOUNG.as_nanos() as u64, 40 << 20, 50 << 20, false),
            (0, 40 << 20, 50 << 20, false),
        ];
        for (birth, before, size, expected) in cases {
            let made = is_being_made(&row(before), &born(birth, size));
            assert_eq!(made, expected, "from {before} to {size}, born {birth}");
        }
    }

    /// Dirty from 4 MiB on.
    fn entry(begun: Option<Timestamp>, source: Source) -> DirtyFile {
        let mark = Mark {
            ticket: Ticket(1),
            since: Instant::now(),
            origin: OriginId::SCAN,
            sources: source.into(),
        };
        let mut dirt = Dirt::default();
        dirt.ranges.add(4 << 20, u64::MAX);
        DirtyFile {
            dirt,
            begun,
            ..DirtyFile::new(mark)
        }
    }

    #[test]
    fn what_is_told_of_a_doubted_file_is_not_all() {
        let row = FileRow::of(FileId(1), &stat(10 << 20), [0; 16], false);
        let written = Stat {
            modified: Timestamp(row.modified.0 + 1),
            changed: Timestamp(row.changed.0 + 1),
            ..stat(10 << 20)
        };
        for (doubted, begun, whole) in [
            (false, None, false),
            (true, None, true),
            (true, Some(written.changed), false),
        ] {
            let mut entry = entry(begun, Source::Shim);
            widen(&mut entry, &row, &written, doubted);
            assert_eq!(entry.dirt.whole, whole, "{doubted} {begun:?}");
        }
    }

    #[test]
    fn what_is_half_sent_is_not_begun_anew() {
        let stat = stat(10 << 20);
        let mut row = FileRow::of(FileId(1), &stat, [0; 16], false);
        row.changed = SUSPECT;
        for begun in [None, Some(stat.changed)] {
            let mut entry = entry(begun, Source::Scan);
            widen(&mut entry, &row, &stat, false);
            assert_eq!(entry.dirt.whole, begun.is_none());
            assert_eq!(wants_comparison(&entry, &row, &stat), begun.is_none());
        }
        let mut entry = entry(Some(stat.changed), Source::Scan);
        entry.dirt.whole = true;
        assert!(
            wants_comparison(&entry, &row, &stat),
            "a new hint that says nothing of where"
        );
    }
}

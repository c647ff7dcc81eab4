//! Files that the index does not know yet.

use std::time::Duration;

use anyhow::Result;
use everwrite_protocol::ids::{FileId, Name};
use everwrite_protocol::wire::{Attributes, BackupCommand, Kind};

use super::Round;
use super::dirt::hides_writes;
use super::names::{At, Why};
use super::state::Delayed;
use crate::clock::wall_clock;
use crate::delta::Piece;
use crate::index::FileRow;
use crate::intake::OriginId;
use crate::look::{Stat, attributes_digest, read_attributes};
use crate::queue::Mark;
use crate::read::{OpenContent, Reader, open_content};

/// New files larger than this rest a moment before they are read: most are temporary files about to
/// be renamed over what they replace, and then only the difference has to be sent.
const RESTING_BYTES_MIN: u64 = 1 << 20;
/// How long a large new file must have been left alone, in nanoseconds.
const REST_NS: i64 = 300_000_000;
/// However often it is written to, it is looked at after this.
const REST_MAX: Duration = Duration::from_secs(2);
/// Replaced files smaller than this are no base for a delta.
const BASE_BYTES_MIN: u64 = 128 << 10;

impl Round<'_> {
    /// A new file: told to the receiver, named, and its content sent or on its way. `base` is what
    /// it replaces.
    pub(super) fn create(
        &mut self,
        at: &At<'_>,
        name: &Name,
        stat: &Stat,
        base: Option<FileRow>,
        why: Why,
    ) -> Result<()> {
        if stat.kind != Kind::Regular {
            return self.create_node(at, name, stat, base, why);
        }
        if self.is_resting(stat, base.is_some(), why.mark) {
            if let Ok(content) = open_content(at.directory, name)
                && content.stat.is_file(stat.inode, stat.birth)
            {
                self.keep(at, name, &content);
            }
            let until = self.started + Duration::from_nanos(REST_NS.unsigned_abs());
            self.state
                .delay(until, Delayed::Name(at.inode, name.clone(), why.mark));
            return Ok(());
        }
        match open_content(at.directory, name) {
            Ok(content) if content.stat.is_file(stat.inode, stat.birth) => {
                self.create_regular(at, name, &content, base, why)
            }
            Ok(_) => {
                // Another file took the name since it was looked at.
                self.postponed.push((at.inode, name.clone(), why.mark));
                Ok(())
            }
            Err(error) => {
                self.trouble(&at.directory.place, Some(name), &error);
                Ok(())
            }
        }
    }

    /// Better looked at a little later?
    fn is_resting(&self, stat: &Stat, replaces: bool, mark: Mark) -> bool {
        let age = wall_clock().0.saturating_sub(stat.modified.0);
        !self.state.hurry
            && !replaces
            && stat.size >= RESTING_BYTES_MIN
            && (0..REST_NS).contains(&age)
            && self.started.saturating_duration_since(mark.since) < REST_MAX
            && mark.sources.announced()
    }

    fn create_node(
        &mut self,
        at: &At<'_>,
        name: &Name,
        stat: &Stat,
        base: Option<FileRow>,
        why: Why,
    ) -> Result<()> {
        let Some(attributes) = self.attributes_at(at, name, stat) else {
            return Ok(());
        };
        self.give_way(at, name, base.as_ref(), why)?;
        let file = self.create_row(stat, attributes, false, why)?;
        self.attach(at.file, name, file, why.mark.origin)?;
        if stat.kind == Kind::Directory {
            self.state
                .queue
                .push_listing(stat.inode, why.mark, true, why.scan);
        }
        Ok(())
    }

    pub(super) fn create_regular(
        &mut self,
        at: &At<'_>,
        name: &Name,
        content: &OpenContent,
        base: Option<FileRow>,
        why: Why,
    ) -> Result<()> {
        let stat = &content.stat;
        let Some(attributes) = self.attributes_at(at, name, stat) else {
            return Ok(());
        };
        let own = base.as_ref().filter(|base| is_base(base, stat)).cloned();
        let delta_base = match own {
            Some(own) => Some(own),
            None => self.sibling(at, name, stat, None, why)?,
        };
        if delta_base.is_some() && self.is_quick() {
            self.postponed.push((at.inode, name.clone(), why.mark));
            return Ok(());
        }
        if let Some(delta_base) = delta_base
            && let Some(pieces) = self.delta_to(content, &delta_base)
        {
            self.give_way(at, name, base.as_ref(), why)?;
            let file = self.create_row(stat, attributes, false, why)?;
            self.send_pieces(content, file, delta_base.id, &pieces, why)?;
            self.state.kept.let_go(stat.inode);
            if hides_writes(content, why.mark) {
                self.distrust(file)?;
            }
            return self.attach(at.file, name, file, why.mark.origin);
        }
        if stat.size > self.state.limits.batch_bytes {
            self.keep(at, name, content);
            let file = self.create_row(stat, attributes, true, why)?;
            self.state
                .staged
                .insert(file, vec![(at.inode, name.clone())]);
            self.state
                .queue
                .dirty(stat.inode, why.mark, |dirt| dirt.ranges.add(0, u64::MAX));
            return Ok(());
        }
        self.state.kept.let_go(stat.inode);
        self.give_way(at, name, base.as_ref(), why)?;
        let file = self.create_row(stat, attributes, false, why)?;
        self.send_whole(at, name, content, file, why)?;
        self.attach(at.file, name, file, why.mark.origin)
    }

    /// All content of a small new file.
    fn send_whole(
        &mut self,
        at: &At<'_>,
        name: &Name,
        content: &OpenContent,
        file: FileId,
        why: Why,
    ) -> Result<()> {
        let stat = &content.stat;
        let sparse = stat.allocated < stat.size;
        let mut reader = Reader {
            batch: &mut self.batch,
            buffer: &mut self.buffer,
            bytes_read: &mut self.state.bytes_read,
        };
        let range = (0, stat.size);
        match reader.send_range(&content.file, file, why.mark.origin, range, sparse, true) {
            Ok(_) if hides_writes(content, why.mark) => self.distrust(file),
            Ok(_) => {
                let (inode, began) = (stat.inode, content.opened);
                self.state.recent.read(inode, began, &[range]);
                Ok(())
            }
            Err(error) => {
                self.trouble(&at.directory.place, Some(name), &error);
                self.distrust(file)
            }
        }
    }

    /// A file that vanished before all of it had arrived.
    pub(super) fn drop_staged(&mut self, file: FileId) -> Result<()> {
        let names = self.state.staged.remove(&file).unwrap_or_default();
        self.note_unread_arrival(&names)?;
        self.batch
            .push(OriginId::SCAN, BackupCommand::Drop { file });
        self.state.files = self.state.files.saturating_sub(1);
        self.state.index.remove_file(file, self.batch.sequence())
    }

    /// Content that differs from the replaced file, the rest copied by the receiver.
    pub(super) fn send_pieces(
        &mut self,
        content: &OpenContent,
        file: FileId,
        base: FileId,
        pieces: &[Piece],
        why: Why,
    ) -> Result<()> {
        let origin = why.mark.origin;
        for piece in pieces {
            match *piece {
                Piece::Same { offset, length } => {
                    self.batch
                        .push(origin, copy(file, offset, length, base, offset));
                }
                Piece::Copy {
                    offset,
                    length,
                    from_offset,
                } => {
                    self.batch
                        .push(origin, copy(file, offset, length, base, from_offset));
                }
                Piece::Data { offset, length } => {
                    let mut reader = Reader {
                        batch: &mut self.batch,
                        buffer: &mut self.buffer,
                        bytes_read: &mut self.state.bytes_read,
                    };
                    reader.send_range(
                        &content.file,
                        file,
                        origin,
                        (offset, length),
                        false,
                        true,
                    )?;
                }
                Piece::Hole { .. } => {}
            }
        }
        Ok(())
    }

    /// Takes the name from the file that had it.
    fn give_way(
        &mut self,
        at: &At<'_>,
        name: &Name,
        base: Option<&FileRow>,
        why: Why,
    ) -> Result<()> {
        match base {
            Some(base) => self.detach(at.file, name, base.id, why.mark),
            None => Ok(()),
        }
    }

    /// `Create`, and the row for it.
    pub(super) fn create_row(
        &mut self,
        stat: &Stat,
        attributes: Attributes,
        staged: bool,
        why: Why,
    ) -> Result<FileId> {
        let file = self.state.index.new_file();
        let row = FileRow::of(file, stat, attributes_digest(&attributes), staged);
        self.batch.push(
            why.mark.origin,
            BackupCommand::Create {
                file,
                attributes,
                origin: 0,
            },
        );
        self.state.index.put_file(&row, self.batch.sequence())?;
        self.state.files += 1;
        Ok(file)
    }

    /// Attributes of a name; `None` when it vanished, or can't be read, which is noted.
    pub(super) fn attributes_at(
        &mut self,
        at: &At<'_>,
        name: &Name,
        stat: &Stat,
    ) -> Option<Attributes> {
        match read_attributes(at.directory, name.as_os_str(), stat, &self.state.accounts) {
            Ok(attributes) => Some(attributes),
            Err(error) => {
                self.trouble(&at.directory.place, Some(name), &error);
                None
            }
        }
    }
}

fn copy(file: FileId, offset: u64, length: u64, from: FileId, from_offset: u64) -> BackupCommand {
    BackupCommand::Copy {
        file,
        offset,
        length,
        from,
        from_offset,
        origin: 0,
    }
}

fn is_base(base: &FileRow, stat: &Stat) -> bool {
    base.kind == Kind::Regular && base.size >= BASE_BYTES_MIN && stat.size >= BASE_BYTES_MIN
}

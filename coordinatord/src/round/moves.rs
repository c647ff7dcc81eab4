//! Names that come and go for files that the index knows.

use anyhow::Result;
use everwrite_protocol::ids::{FileId, Name};
use everwrite_protocol::wire::{BackupCommand, Kind};

use super::dirt::is_heavy;
use super::names::{At, Opened, Why};
use super::{Round, SMALL_BYTES};
use crate::index::FileRow;
use crate::intake::OriginId;
use crate::look::{Stat, stat_at};
use crate::queue::{Dirt, DirtyFile, Mark};
use crate::read::{OpenContent, open_content};

impl Round<'_> {
    /// The name now means a file that was known under another name: a rename, or a new hard link.
    #[expect(
        clippy::too_many_arguments,
        reason = "where, what it was, what it is, who did it"
    )]
    pub(super) fn moved(
        &mut self,
        at: &At<'_>,
        name: &Name,
        file: FileId,
        replaced: Option<FileId>,
        row: &FileRow,
        stat: &Stat,
        why: Why,
    ) -> Result<()> {
        if row.staged {
            // Still arriving; the name is attached at its end. Until then the receiver keeps what
            // it had under it.
            let names = self.state.staged.entry(file).or_default();
            if !names.contains(&(at.inode, name.clone())) {
                names.push((at.inode, name.clone()));
            }
            self.state
                .queue
                .dirty(row.inode, why.mark, |dirt| dirt.attributes = true);
            return Ok(());
        }
        if let Some(content) = self.unsent_content(at, name, row, stat) {
            // What it replaces is the best base there is, and stays until all of it is there.
            self.leave_old_names(at, name, row, why)?;
            let base = match replaced {
                Some(replaced) => self.state.index.file(replaced)?,
                None => None,
            };
            return self.create_regular(at, name, &content, base, why);
        }
        if let Some(replaced) = replaced {
            self.detach(at.file, name, replaced, why.mark)?;
        }
        if !self.is_one_link_more(row, stat)? {
            self.leave_old_names(at, name, row, why)?;
        }
        self.attach(at.file, name, file, why.mark.origin)?;
        // No recovery point may show the new name with less than the file had when it got it.
        if let Some(entry) = self.state.take_dirt(row.inode) {
            self.note(entry.mark);
            self.look_file(row.inode, entry, SMALL_BYTES)?;
        }
        if stat.kind == Kind::Directory {
            self.list_moved(at, row, why);
        }
        self.state
            .queue
            .dirty(row.inode, why.mark, |dirt| dirt.attributes = true);
        Ok(())
    }

    /// A directory has moved, and all below it.
    fn list_moved(&mut self, at: &At<'_>, row: &FileRow, why: Why) {
        let queue = &mut self.state.queue;
        if let Some(scan) = self.state.scan.as_ref().filter(|_| !why.deep) {
            // The scan may have been where it is now, and not yet where it was.
            let mut mark = queue.scan_mark(self.started);
            mark.ticket = scan.mark_of(mark.ticket);
            queue.push_listing(row.inode, mark, true, true);
        }
        // What a scan finds moved may have changed, too; and other rules may hold at the new place.
        if why.deep || self.has_rules(at.directory.place.root) {
            let queue = &mut self.state.queue;
            queue.push_listing(row.inode, why.mark, true, why.scan);
        }
    }

    /// The content of a file most of which the receiver does not have yet; what was known to be dirty
    /// about it is forgotten, for all of it will be sent as a new file. One with other names stays what it is,
    /// or those would go on to mean the old one.
    fn unsent_content(
        &mut self,
        at: &At<'_>,
        name: &Name,
        row: &FileRow,
        stat: &Stat,
    ) -> Option<OpenContent> {
        let resting = self.state.resting.get(&row.inode).map(|(_, entry)| entry);
        let queued = self.state.queue.file(row.inode);
        let heavy = |entry: &DirtyFile| is_heavy(&entry.clone().as_one().dirt, row, stat);
        let unsent = resting.is_some_and(heavy) || queued.is_some_and(heavy);
        if stat.kind != Kind::Regular || stat.links > 1 || !unsent {
            return None;
        }
        let content = open_content(at.directory, name).ok()?;
        if !content.stat.is_file(row.inode, row.birth) {
            return None;
        }
        self.state.take_dirt(row.inode);
        Some(content)
    }

    /// Takes away the other names of a file that no longer mean it. A directory has just one name.
    fn leave_old_names(&mut self, at: &At<'_>, name: &Name, row: &FileRow, why: Why) -> Result<()> {
        for (parent, old) in self.state.index.names_of(row.id)? {
            if (parent, &old) == (at.file, name) {
                continue;
            }
            let Some(parent_row) = self.state.index.file(parent)? else {
                continue;
            };
            let gone = row.kind == Kind::Directory
                || match self.open_directory(&parent_row, why.mark)? {
                    Opened::Yes(open) => !stat_at(&open, &old)
                        .unwrap_or_default()
                        .is_some_and(|stat| stat.is_file(row.inode, row.birth)),
                    // Not to be told yet: look at that name by itself.
                    Opened::Later | Opened::Never => false,
                };
            if gone {
                self.detach(parent, &old, row.id, why.mark)?;
            }
            // Whatever is there now is looked at, too.
            self.state.queue.push_name(parent_row.inode, old, why.mark);
        }
        Ok(())
    }

    /// May all names that are known mean the file still, beside the new one? Then they need not be looked at,
    /// which for thousands of them would take thousands of times as long: should one be gone nevertheless,
    /// that is told by a hint of its own, or found by a scan.
    fn is_one_link_more(&mut self, row: &FileRow, stat: &Stat) -> Result<bool> {
        if row.kind == Kind::Directory || stat.links < 2 {
            return Ok(false);
        }
        let known = match self.known_names.get(&row.id) {
            Some(known) => *known,
            None => self.state.index.count_names(row.id)?,
        };
        self.known_names.insert(row.id, known);
        Ok(known < u64::from(stat.links))
    }

    /// Gives a file a name, in the batch and in the index.
    pub(super) fn attach(
        &mut self,
        parent: FileId,
        name: &Name,
        file: FileId,
        origin: OriginId,
    ) -> Result<()> {
        self.batch.push(
            origin,
            BackupCommand::Attach {
                parent,
                name: name.clone(),
                file,
                origin: 0,
            },
        );
        self.touched.insert(parent);
        // It may have had that name.
        if let Some(known) = self.known_names.get_mut(&file) {
            *known += 1;
        }
        self.state
            .index
            .attach(parent, name, file, self.batch.sequence())
    }

    /// Takes a name away, in the batch and in the index.
    pub(super) fn detach(
        &mut self,
        parent: FileId,
        name: &Name,
        file: FileId,
        mark: Mark,
    ) -> Result<()> {
        self.batch.push(
            mark.origin,
            BackupCommand::Detach {
                parent,
                name: name.clone(),
                origin: 0,
            },
        );
        self.touched.insert(parent);
        self.orphans.insert(file);
        self.last_names.insert(file, (parent, name.clone()));
        self.known_names.remove(&file);
        self.state
            .index
            .detach(parent, name, self.batch.sequence())?;
        self.look_at_what_is_left(file, mark)
    }

    /// A file moves its times when it loses a name. One that has others is looked at, or the next scan
    /// would take that for a change that nobody announced.
    fn look_at_what_is_left(&mut self, file: FileId, mark: Mark) -> Result<()> {
        if !self.state.index.has_name(file)? {
            return Ok(());
        }
        if let Some(row) = self.state.index.file(file)? {
            let look = |dirt: &mut Dirt| dirt.attributes = true;
            self.state.queue.dirty(row.inode, mark, look);
        }
        Ok(())
    }

    /// Files that ended the round without a name are dead, with all below them; the receiver draws
    /// the same conclusion from the same commands.
    pub(super) fn bury_orphans(&mut self) -> Result<()> {
        let sequence = self.batch.sequence();
        let postponed = self.unread_postponed();
        while let Some(file) = self.orphans.pop_first() {
            let Some(row) = self.state.index.file(file)? else {
                continue;
            };
            if row.staged || self.state.index.has_name(file)? {
                continue;
            }
            let children = self.state.index.children(file)?;
            self.note_unread_death(&row, &postponed)?;
            self.note_death(&row, children.iter().map(|(_, child)| *child));
            for (name, child) in children {
                self.state.index.detach(file, &name, sequence)?;
                self.last_names.insert(child, (file, name));
                let mark = self.state.queue.scan_mark(self.started);
                self.look_at_what_is_left(child, mark)?;
                self.orphans.insert(child);
            }
            self.state.index.remove_file(file, sequence)?;
            self.state.files = self.state.files.saturating_sub(1);
            self.touched.remove(&file);
        }
        Ok(())
    }

    /// Times of directories in which names changed.
    pub(super) fn refresh_directories(&mut self) -> Result<()> {
        for directory in std::mem::take(&mut self.touched) {
            if directory == FileId::TOP {
                continue;
            }
            let Some(row) = self.state.index.file(directory)? else {
                continue;
            };
            let mark = self.state.queue.scan_mark(self.started);
            let Opened::Yes(open) = self.open_directory(&row, mark)? else {
                continue;
            };
            self.send_directory_attributes(&row, &open, mark.origin)?;
        }
        Ok(())
    }

    fn has_rules(&self, root: FileId) -> bool {
        self.state
            .root(root)
            .is_some_and(|root| root.excludes.has_rules())
    }
}

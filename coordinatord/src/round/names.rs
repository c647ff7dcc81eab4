//! Looking at names.

use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use anyhow::{Context, Result};
use everwrite_protocol::ids::{FileId, Name};
use everwrite_protocol::local::Inode;
use everwrite_protocol::wire::Kind;

use rustix::fs::CWD;

use super::Round;
use super::account::Sides;
use crate::exclude::Excludes;
use crate::index::FileRow;
use crate::look::{
    DirectoryGone, NameVerdict, OpenDirectory, Place, Stat, decide_name, is_same, is_want, stat_at,
};
use crate::queue::Mark;
use crate::reconcile::RootVerdict;

/// Rounds in which a directory is looked for before everything is listed instead.
const ATTEMPTS_MAX: u8 = 8;

/// A directory being looked into.
pub(super) struct At<'d> {
    pub(super) directory: &'d OpenDirectory,
    pub(super) file: FileId,
    pub(super) inode: Inode,
}

/// A name being looked at: who hinted, and whether a scan asks.
#[derive(Clone, Copy)]
pub(super) struct Why {
    pub(super) mark: Mark,
    pub(super) deep: bool,
    pub(super) scan: bool,
}

/// What opening a directory came to.
pub(super) enum Opened {
    Yes(OpenDirectory),
    /// It was moved; its own names are looked at first.
    Later,
    /// It is not protected, or its root is halted and will be scanned.
    Never,
}

impl Round<'_> {
    /// One hinted name.
    pub(super) fn look_name(&mut self, directory: Inode, name: Name, mark: Mark) -> Result<()> {
        // A directory that the index does not know lies outside all roots, or has not been found
        // yet: then finding it lists it.
        let Some(row) = self.state.directory(directory)? else {
            if mark.sources.announced() {
                let unplaced = &mut self.state.unplaced;
                unplaced.told(directory, name, mark.sources, self.started);
            }
            self.unknown();
            return Ok(());
        };
        match self.open_directory(&row, mark)? {
            Opened::Yes(open) => {
                self.state.attempts.remove(&directory);
                let at = At {
                    directory: &open,
                    file: row.id,
                    inode: row.inode,
                };
                self.look_at(
                    &at,
                    &name,
                    Why {
                        mark,
                        deep: false,
                        scan: false,
                    },
                )
            }
            Opened::Later => {
                self.postponed.push((directory, name, mark));
                Ok(())
            }
            Opened::Never => Ok(()),
        }
    }

    /// One name in an open directory.
    pub(super) fn look_at(&mut self, at: &At<'_>, name: &Name, why: Why) -> Result<()> {
        let place = &at.directory.place;
        let there = match stat_at(at.directory, name) {
            Ok(there) => there,
            Err(error) => {
                self.trouble(place, Some(name), &error);
                return Ok(());
            }
        };
        let found = there.filter(|stat| !self.is_excluded(place, name, stat));
        if place.relative.is_empty() && Excludes::is_rules_file(name.as_bytes()) {
            self.reload_rules(place.root, why.mark)?;
        }
        let hinted = why.mark.sources.announced();
        if hinted {
            // Even if the name is as before, it may have come and gone: the directory's time tells.
            self.touched.insert(at.file);
        }
        if hinted && found.is_some_and(|stat| stat.kind == Kind::Symlink) {
            self.follow_link(place, name, why.mark);
        }
        let indexed = self.state.index.child_row(at.file, name)?;
        let known = match &found {
            // As in most of what scans look at: there is nothing else that it could be.
            Some(stat) if indexed.as_ref().is_some_and(|row| is_same(row, stat)) => None,
            Some(stat) => {
                self.state
                    .index
                    .by_inode(stat.inode.device, stat.inode.inode, stat.birth)?
            }
            None => None,
        };
        let verdict = decide_name(indexed.as_ref(), found.as_ref(), known.as_ref());
        if self.waits_for_kept(at, name, indexed.as_ref(), verdict, why.mark) {
            return Ok(());
        }
        let changed = match verdict {
            NameVerdict::Nothing | NameVerdict::Same(_) | NameVerdict::Adopt(_) => false,
            // It is only not protected any more.
            NameVerdict::Gone(_) => there.is_none(),
            NameVerdict::Moved { .. } | NameVerdict::New { .. } => true,
        };
        if let (true, Some(indexed)) = (changed, &indexed) {
            self.mark_unread(indexed);
            self.blame(indexed.id, at, why.mark, found.is_none());
        }
        let before = match found {
            Some(_) => known
                .clone()
                .filter(|_| matches!(verdict, NameVerdict::Moved { .. })),
            None => indexed.clone(),
        };
        let commands = self.batch.commands();
        self.carry_out(at, name, why, verdict, indexed, known, found)?;
        if changed && self.batch.commands() > commands {
            let sides = Sides {
                before: before.as_ref(),
                now: found.as_ref(),
                named: true,
            };
            self.note_change(at, name, why.mark, sides);
        }
        Ok(())
    }

    #[expect(
        clippy::too_many_arguments,
        reason = "the two sides of a name and the verdict on them"
    )]
    fn carry_out(
        &mut self,
        at: &At<'_>,
        name: &Name,
        why: Why,
        verdict: NameVerdict,
        indexed: Option<FileRow>,
        known: Option<FileRow>,
        found: Option<Stat>,
    ) -> Result<()> {
        match (verdict, indexed, known, found) {
            (NameVerdict::Same(_), Some(row), _, Some(stat)) => {
                self.compare(&row, &stat, why);
                Ok(())
            }
            (NameVerdict::Adopt(_), Some(row), _, Some(stat)) => self.adopt(row, &stat, why),
            (NameVerdict::Gone(file), ..) => {
                self.lost(at, why);
                self.detach(at.file, name, file, why.mark)
            }
            (NameVerdict::Moved { file, replaced }, _, Some(row), Some(stat)) => {
                self.moved(at, name, file, replaced, &row, &stat, why)
            }
            (NameVerdict::New { replaced }, indexed, _, Some(stat)) => {
                let base = indexed.filter(|row| Some(row.id) == replaced);
                self.create(at, name, &stat, base, why)
            }
            (NameVerdict::Nothing, ..) => self.create_dead(at, name, why),
            _ => Ok(()),
        }
    }

    /// A program that creates a file through a dangling link names the link; what it made is at the
    /// link's end, maybe in another directory.
    fn follow_link(&mut self, place: &Place, name: &Name, mark: Mark) {
        let path = self.state.full_path(place.root, &place.join(name));
        let end = std::fs::canonicalize(path).ok();
        let parent = end
            .as_deref()
            .and_then(|end| end.parent())
            .map(|parent| stat_at(CWD, parent));
        let name = end.as_deref().and_then(|end| end.file_name());
        if let (Some(Ok(Some(parent))), Some(Ok(name))) =
            (parent, name.map(|name| Name::new(name.as_bytes())))
        {
            self.state.queue.push_name(parent.inode, name, mark);
        }
    }

    /// Both sides mean the same file: do its attributes or its content differ?
    fn compare(&mut self, row: &FileRow, stat: &Stat, why: Why) {
        if why.deep && stat.kind == Kind::Directory {
            self.state
                .queue
                .push_listing(row.inode, why.mark, true, why.scan);
        }
        let same = row.changed == stat.changed && row.modified == stat.modified;
        if same && (row.size == stat.size || stat.kind != Kind::Regular) {
            return;
        }
        self.state
            .queue
            .dirty(row.inode, why.mark, |dirt| dirt.attributes = true);
    }

    /// A file whose inode was not known: bind it, and compare all of it.
    fn adopt(&mut self, row: FileRow, stat: &Stat, why: Why) -> Result<()> {
        let bound = FileRow {
            inode: stat.inode,
            birth: stat.birth,
            ..row
        };
        self.state.index.put_file(&bound, self.batch.sequence())?;
        match stat.kind {
            Kind::Directory => {
                self.state
                    .queue
                    .push_listing(stat.inode, why.mark, true, why.scan);
                self.state
                    .queue
                    .dirty(stat.inode, why.mark, |dirt| dirt.attributes = true);
            }
            _ => self
                .state
                .queue
                .dirty(stat.inode, why.mark, |dirt| dirt.whole = true),
        }
        Ok(())
    }

    /// Opens a directory by its row, and sees to it when it is not where it should be.
    pub(super) fn open_directory(&mut self, row: &FileRow, mark: Mark) -> Result<Opened> {
        let state = &*self.state;
        match self
            .directories
            .open(&state.index, row.id, |root| state.active_path(root))?
        {
            Ok(open) => Ok(Opened::Yes(open)),
            Err(DirectoryGone::Unprotected) => Ok(Opened::Never),
            Err(DirectoryGone::Nameless) => Ok(Opened::Later),
            Err(DirectoryGone::Root(root)) => {
                self.state.queue_root(root, mark)?;
                Ok(Opened::Never)
            }
            Err(DirectoryGone::Failed(error)) if is_want(&error) => {
                Err(error).context("open a directory")
            }
            Err(DirectoryGone::Failed(error)) => {
                if let Some((root, names)) = self.state.index.way_to(row.id)? {
                    let relative = names
                        .iter()
                        .map(Name::as_bytes)
                        .collect::<Vec<_>>()
                        .join(&b'/');
                    self.trouble(&Place { root, relative }, None, &error);
                }
                Ok(Opened::Never)
            }
            Err(DirectoryGone::Elsewhere(moved)) => self.search(moved, mark),
        }
    }

    /// The directory `moved` is not where the index has it: its own names are looked at first.
    fn search(&mut self, moved: FileId, mark: Mark) -> Result<Opened> {
        let Some(row) = self.state.index.file(moved)? else {
            return Ok(Opened::Never);
        };
        // Once in a round, however many names wait for it.
        if !self.searched.insert(row.inode) {
            return Ok(Opened::Later);
        }
        let attempts = self.state.attempts.entry(row.inode).or_default();
        *attempts += 1;
        if *attempts > ATTEMPTS_MAX {
            self.state.queue.set_everything(mark);
            return Ok(Opened::Never);
        }
        for (parent, name) in self.state.index.names_of(moved)? {
            if let Some(parent) = self.state.index.file(parent)? {
                self.postponed.push((parent.inode, name, mark));
            }
        }
        Ok(Opened::Later)
    }

    fn is_excluded(&self, place: &Place, name: &Name, stat: &Stat) -> bool {
        let is_directory = stat.kind == Kind::Directory;
        self.state.root(place.root).is_some_and(|root| {
            root.excludes
                .excluded_here(&place.join(name), is_directory)
                .is_some()
        })
    }

    fn reload_rules(&mut self, root: FileId, mark: Mark) -> Result<()> {
        let Some(root) = self.state.root_mut(root) else {
            return Ok(());
        };
        let reload = root.excludes.reload();
        for warning in &reload.warnings {
            tracing::warn!(root = %root.name, "{warning}");
        }
        if reload.changed
            && let Some(file) = root.file
        {
            self.state.queue_root(file, mark)?;
        }
        Ok(())
    }

    /// A hint about something that the index does not know. Where every name is heard, that of whatever is
    /// protected has been told, or will be; elsewhere a scan has to look.
    pub(super) fn unknown(&mut self) {
        self.state.unknown_hinted |= !self.tools.witness.hears_all();
    }

    /// The disk has a name no more.
    fn lost(&mut self, at: &At<'_>, why: Why) {
        let place = &at.directory.place;
        if why.mark.sources.announced()
            && place.relative.is_empty()
            && let Some(root) = self.state.root_mut(place.root)
        {
            root.removal_announced = true;
        }
    }

    /// Notes that something could not be read.
    pub(super) fn trouble(&mut self, place: &Place, name: Option<&Name>, error: &std::io::Error) {
        if error.kind() == std::io::ErrorKind::NotFound {
            return;
        }
        let relative = name.map_or_else(|| place.relative.clone(), |name| place.join(name));
        let path = self.state.full_path(place.root, &relative);
        self.state.trouble(path, error);
    }
}

impl super::State {
    /// The directory that an inode is known as. One that was removed may have left its number to a file: names
    /// that were told of in it are nowhere any more.
    pub(super) fn directory(&self, at: Inode) -> Result<Option<FileRow>> {
        let row = self.index.by_inode(at.device, at.inode, 0)?;
        Ok(row.filter(|row| row.kind == Kind::Directory))
    }

    /// Absolute path at the source.
    pub fn full_path(&self, root: FileId, relative: &[u8]) -> PathBuf {
        let base = self
            .root(root)
            .map(|root| root.path.clone())
            .unwrap_or_default();
        base.join(std::ffi::OsStr::from_bytes(relative))
    }

    /// Queues a deep listing of one root; it is judged first.
    pub fn queue_root(&mut self, file: FileId, mark: Mark) -> Result<()> {
        if let Some(row) = self.index.file(file)? {
            self.queue.push_listing(row.inode, mark, true, true);
        }
        Ok(())
    }

    /// Is this root at work?
    pub fn is_active(&self, file: FileId) -> bool {
        self.root(file)
            .is_some_and(|root| root.verdict == RootVerdict::Go)
    }
}

//! Goes through the commands of one batch.
//!
//! Detaches of names that were there before the batch take effect first, then everything else in order,
//! also detaches of names that the batch itself gave; who lost the last name is dead when the batch is
//! over. A command that makes no sense in the
//! state it meets is left out and noted: a batch that was acknowledged must not be able to stop us.

use std::collections::{BTreeMap, BTreeSet};

use everwrite_protocol::ids::{FileId, Name, SequenceNumber};
use everwrite_protocol::wire::{Attributes, BackupCommand, Kind};

use super::before::{Before, Placed, WindowBatch, WindowPart};
use super::content::{Change, Content, Place, Superseded};
use super::rows::{OriginIndex, RefusedRow, Rows};
use super::view::{DEPTH_MAX, FileView, Life, Standing, View};
use crate::log::FramePosition;

/// A window gone through up to some batch.
#[derive(Debug)]
pub(super) struct Progress<'a, B> {
    /// The tree now.
    pub view: View<'a, B>,
    /// What the catalog gets.
    pub rows: Rows,
    /// What the history gets.
    pub superseded: Vec<Superseded>,
}

/// What the batch under way did to a file.
#[derive(Debug, Default)]
pub(super) struct Touch {
    /// Names it lost.
    pub closed: Vec<(FileId, Name)>,
    /// Names it got.
    pub opened: Vec<(FileId, Name)>,
    /// Size that its attributes told.
    pub told_size: Option<u64>,
    /// Content changed.
    pub content: bool,
    /// Bytes written.
    pub bytes: u64,
    /// Attributes were set.
    pub attributes: bool,
    /// It was created.
    pub created: bool,
    /// Who touched it last.
    pub origin: Option<OriginIndex>,
}

/// Why a command is left out.
pub(super) type Refused = &'static str;

type Done<E> = Result<Result<(), Refused>, E>;

/// One batch under way.
pub(super) struct BatchRun<'p, 'a, B> {
    pub(super) progress: &'p mut Progress<'a, B>,
    pub(super) sequence: SequenceNumber,
    pub(super) touched: BTreeMap<FileId, Touch>,
    /// Detaches, by part and command, of names that were not there before the batch.
    later: BTreeSet<(u32, u32)>,
}

/// Refuses the command by returning from the function.
macro_rules! refuse_unless {
    ($condition:expr, $reason:literal) => {
        if !$condition {
            return Ok(Err($reason));
        }
    };
}

impl<'p, 'a, B: Before> BatchRun<'p, 'a, B> {
    /// Goes through `batch`.
    pub(super) fn run(
        progress: &'p mut Progress<'a, B>,
        batch: &WindowBatch,
    ) -> Result<(), B::Error> {
        let sequence = batch.cut.cut.sequence;
        let mut run = Self {
            progress,
            sequence,
            touched: BTreeMap::new(),
            later: BTreeSet::new(),
        };
        for part in &batch.parts {
            run.detaches(part)?;
        }
        for part in &batch.parts {
            run.in_order(part)?;
        }
        run.finish()
    }

    /// Detaches what was there before the batch.
    fn detaches(&mut self, part: &WindowPart) -> Result<(), B::Error> {
        for (index, command) in commands(part) {
            if let BackupCommand::Detach { parent, name, .. } = command {
                let origin = self.origin(part, command);
                if self.detach(*parent, name, origin)?.is_err() {
                    self.later.insert((part.part.part, index));
                }
            }
        }
        Ok(())
    }

    fn in_order(&mut self, part: &WindowPart) -> Result<(), B::Error> {
        for (index, command) in commands(part) {
            let done_first = matches!(command, BackupCommand::Detach { .. })
                && !self.later.contains(&(part.part.part, index));
            if done_first {
                continue;
            }
            let origin = self.origin(part, command);
            if let Err(reason) = self.command(command, part.frame, origin)? {
                self.progress.rows.refuse(RefusedRow {
                    sequence: self.sequence,
                    part: part.part.part,
                    command: index,
                    reason,
                });
            }
        }
        Ok(())
    }

    fn origin(&mut self, part: &WindowPart, command: &BackupCommand) -> OriginIndex {
        let number = match command {
            BackupCommand::Create { origin, .. }
            | BackupCommand::Attach { origin, .. }
            | BackupCommand::Detach { origin, .. }
            | BackupCommand::Write { origin, .. }
            | BackupCommand::Copy { origin, .. }
            | BackupCommand::Punch { origin, .. }
            | BackupCommand::Truncate { origin, .. }
            | BackupCommand::SetAttributes { origin, .. } => *origin,
            BackupCommand::Drop { .. } | BackupCommand::Root { .. } => 0,
        };
        match part.part.origins.get(usize::from(number)) {
            Some(origin) => self.progress.rows.origin(origin),
            None => OriginIndex(0),
        }
    }

    fn command(
        &mut self,
        command: &BackupCommand,
        frame: FramePosition,
        origin: OriginIndex,
    ) -> Done<B::Error> {
        match command {
            BackupCommand::Create {
                file, attributes, ..
            } => self.create(*file, attributes, origin),
            BackupCommand::Attach {
                parent, name, file, ..
            } => self.attach(*parent, name, *file, origin),
            BackupCommand::Detach { parent, name, .. } => self.detach(*parent, name, origin),
            BackupCommand::Write {
                file,
                offset,
                length,
                payload_offset,
                ..
            } => {
                let place = Place::Log(frame, *payload_offset);
                let length = u64::from(*length);
                self.change(*file, origin, length, |content, change| {
                    content.write(*offset, length, place, change)
                })
            }
            BackupCommand::Copy {
                file,
                offset,
                length,
                from,
                from_offset,
                ..
            } => self.copy(*file, *offset, *length, (*from, *from_offset), origin),
            BackupCommand::Punch {
                file,
                offset,
                length,
                ..
            } => {
                let range = *offset..offset.saturating_add(*length);
                self.change(*file, origin, 0, |content, change| {
                    content.punch(range, change)
                })
            }
            BackupCommand::Truncate { file, length, .. } => {
                self.change(*file, origin, 0, |content, change| {
                    content.truncate(*length, change)
                })
            }
            BackupCommand::SetAttributes {
                file, attributes, ..
            } => self.set_attributes(*file, attributes, origin),
            BackupCommand::Drop { file } => self.drop_staged(*file),
            BackupCommand::Root { file, path } => {
                self.progress.rows.roots.push((*file, path.clone()));
                Ok(Ok(()))
            }
        }
    }

    fn touch(&mut self, file: FileId, origin: OriginIndex) -> &mut Touch {
        let touch = self.touched.entry(file).or_default();
        touch.origin = Some(origin);
        touch
    }

    fn create(&mut self, file: FileId, attributes: &Attributes, by: OriginIndex) -> Done<B::Error> {
        let known = file == FileId::TOP || self.progress.view.file(file)?.is_some();
        refuse_unless!(!known, "the file exists already");
        let view = FileView::created(file, attributes.clone(), self.sequence);
        self.progress.view.insert(file, view);
        self.touch(file, by).created = true;
        Ok(Ok(()))
    }

    fn detach(&mut self, parent: FileId, name: &Name, by: OriginIndex) -> Done<B::Error> {
        let (standing, _) = self.progress.view.standing(parent)?;
        refuse_unless!(standing != Standing::Dead, "the directory is dead");
        let Some(file) = self.progress.view.child(parent, name)? else {
            return Ok(Err("there is no such name"));
        };
        self.close(parent, name, file, by)?;
        Ok(Ok(()))
    }

    fn close(
        &mut self,
        parent: FileId,
        name: &Name,
        file: FileId,
        by: OriginIndex,
    ) -> Result<(), B::Error> {
        // Looked at now, so that its names before the window are known.
        self.progress.view.file(file)?;
        self.progress.view.close(parent, name, file);
        self.progress.rows.close_name(parent, name, self.sequence);
        self.touch(file, by).closed.push((parent, name.clone()));
        Ok(())
    }

    fn attach(
        &mut self,
        parent: FileId,
        name: &Name,
        file: FileId,
        by: OriginIndex,
    ) -> Done<B::Error> {
        if let Err(reason) = self.may_attach(parent, file)? {
            return Ok(Err(reason));
        }
        match self.progress.view.child(parent, name)? {
            Some(old) if old == file => return Ok(Ok(())),
            // Taking a name over is what rename(2) does; nobody needs to detach first.
            Some(old) => self.close(parent, name, old, by)?,
            None => {}
        }
        let view = self.progress.view.file(file)?;
        let view = view.filter(|view| view.attributes.kind == Kind::Directory);
        // A directory has one name: another one moves it.
        let moved_from = view.map_or_else(Vec::new, |view| view.names.clone());
        for (old_parent, old_name) in moved_from {
            self.close(old_parent, &old_name, file, by)?;
        }
        self.progress.view.open(parent, name, file);
        self.progress
            .rows
            .open_name(parent, name, file, self.sequence);
        self.touch(file, by).opened.push((parent, name.clone()));
        if let Some(view) = self.progress.view.file(file)? {
            view.life = Life::Named;
        }
        Ok(Ok(()))
    }

    /// Is the file not dead? One that lost a name in this batch was not, and dies at its end at the
    /// earliest, though its other names may all be below dead directories.
    fn is_usable(&mut self, file: FileId) -> Result<bool, B::Error> {
        let loses = self
            .touched
            .get(&file)
            .is_some_and(|touch| !touch.closed.is_empty());
        Ok(loses || self.progress.view.standing(file)?.0 != Standing::Dead)
    }

    fn may_attach(&mut self, parent: FileId, file: FileId) -> Done<B::Error> {
        let view = &mut self.progress.view;
        let Some(kind) = view.file(file)?.map(|view| view.attributes.kind) else {
            return Ok(Err("there is no such file"));
        };
        if !self.is_usable(file)? {
            return Ok(Err("the file is dead"));
        }
        let view = &mut self.progress.view;
        let (standing, depth) = view.standing(parent)?;
        refuse_unless!(standing != Standing::Dead, "the directory is dead");
        refuse_unless!(depth < DEPTH_MAX, "too deep");
        if parent == FileId::TOP {
            refuse_unless!(kind == Kind::Directory, "a root is a directory");
            return Ok(Ok(()));
        }
        let directory = view
            .file(parent)?
            .is_some_and(|v| v.attributes.kind == Kind::Directory);
        refuse_unless!(directory, "the parent is no directory");
        let cycle = kind == Kind::Directory && view.encloses(file, parent)?;
        refuse_unless!(!cycle, "a directory can't be below itself");
        Ok(Ok(()))
    }

    /// Changes the content of a regular file that is not dead.
    fn change(
        &mut self,
        file: FileId,
        by: OriginIndex,
        bytes: u64,
        act: impl FnOnce(&mut Content, &mut Change<'_, B>) -> Result<(), B::Error>,
    ) -> Done<B::Error> {
        refuse_unless!(
            self.is_usable(file)?,
            "there is no such file, or it is dead"
        );
        let Progress {
            view, superseded, ..
        } = &mut *self.progress;
        let before = view.before;
        let Some(view) = view.file(file)? else {
            return Ok(Err("there is no such file"));
        };
        refuse_unless!(
            view.attributes.kind == Kind::Regular,
            "only regular files have content"
        );
        let size = view.attributes.size;
        let content = view
            .content
            .get_or_insert_with(|| Content::existing(file, size));
        let (sequence, visible) = (self.sequence, view.visible);
        act(
            content,
            &mut Change {
                before,
                sequence,
                visible,
                superseded,
            },
        )?;
        let touch = self.touch(file, by);
        touch.content = true;
        touch.bytes += bytes;
        Ok(Ok(()))
    }

    fn copy(
        &mut self,
        file: FileId,
        offset: u64,
        length: u64,
        (from, from_offset): (FileId, u64),
        by: OriginIndex,
    ) -> Done<B::Error> {
        let sequence = self.sequence;
        let born = self.progress.view.file(file)?.and_then(|view| view.born);
        refuse_unless!(
            born == Some(sequence),
            "a copy goes into a file created in its batch only"
        );
        // A batch with a copy begins its window: before the batch is before the window.
        let Some(source) = self.progress.view.before.file(from)? else {
            return Ok(Err("there is no such file to copy from"));
        };
        let alive = matches!(source.placed, Placed::Named | Placed::Staged);
        refuse_unless!(alive, "the file to copy from is dead");
        refuse_unless!(
            source.attributes.kind == Kind::Regular,
            "only regular files have content"
        );
        let there = source
            .attributes
            .size
            .saturating_sub(from_offset)
            .min(length);
        let place = Place::Before(from, from_offset);
        self.change(file, by, 0, |content, change| {
            content.write(offset, there, place, change)?;
            content.write(offset + there, length - there, Place::Zeros, change)
        })
    }

    fn set_attributes(
        &mut self,
        file: FileId,
        attributes: &Attributes,
        by: OriginIndex,
    ) -> Done<B::Error> {
        refuse_unless!(
            self.is_usable(file)?,
            "there is no such file, or it is dead"
        );
        let Some(view) = self.progress.view.file(file)? else {
            return Ok(Err("there is no such file"));
        };
        refuse_unless!(
            view.attributes.kind == attributes.kind,
            "a file keeps its kind"
        );
        let size = view.attributes.size;
        view.attributes = Attributes {
            size,
            ..attributes.clone()
        };
        view.attributes_changed = true;
        let touch = self.touch(file, by);
        touch.attributes = true;
        touch.told_size = Some(attributes.size);
        Ok(Ok(()))
    }

    fn drop_staged(&mut self, file: FileId) -> Done<B::Error> {
        let children = self.progress.view.has_children(file)?;
        let Some(view) = self.progress.view.file(file)? else {
            return Ok(Err("there is no such file"));
        };
        refuse_unless!(
            view.life == Life::Staged,
            "only a staged file can be dropped"
        );
        refuse_unless!(!children, "the staged directory is not empty");
        view.life = Life::Dropped;
        self.touched.remove(&file);
        Ok(Ok(()))
    }
}

/// The commands of a part with their numbers.
fn commands(part: &WindowPart) -> impl Iterator<Item = (u32, &BackupCommand)> {
    (0..).zip(&part.part.commands)
}

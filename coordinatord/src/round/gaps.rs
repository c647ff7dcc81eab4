//! Content that was told of and was gone before it could be read: it is in no recovery point, and that is said.
//!
//! What could be kept open is none of it (`kept.rs`). What a program makes and removes before anybody has looked at it
//! once, or writes over itself, leaves nothing that it could be told by.

use std::collections::HashMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::Result;
use everwrite_protocol::control::GapCause;
use everwrite_protocol::ids::{FileId, Name, Timestamp};
use everwrite_protocol::local::Inode;
use everwrite_protocol::wire::Kind;

use super::{Round, State};
use crate::account::Gap;
use crate::clock;
use crate::index::FileRow;
use crate::queue::{Dirt, DirtyFile};

/// Deeper than any path that a program could name.
const DEPTH_MAX: usize = 4096;

/// What of a file's content was told of and not read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Unread {
    No,
    /// Something, first told then, of a file with this inode number. Nobody said which.
    Perhaps(Instant),
    Yes,
}

/// A file that died, and what may have been its content unread: unless it was the next file's with its inode number,
/// which need not be found yet.
#[derive(Debug)]
pub struct Doubtful {
    inode: Inode,
    birth: u64,
    told: Instant,
    died: Instant,
    path: PathBuf,
}

/// So long after a death the next file with the number is known, if there is one.
const DOUBT: Duration = Duration::from_secs(1);
/// Deaths that are doubtful at once; beyond, each is a gap.
const DOUBTFUL_MAX: usize = 10_000;

impl Unread {
    fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Yes, _) | (_, Self::Yes) => Self::Yes,
            (Self::Perhaps(one), Self::Perhaps(other)) => Self::Perhaps(one.min(other)),
            (Self::No, other) | (other, Self::No) => other,
        }
    }
}

impl DirtyFile {
    /// What was told of content that has not been read, and when.
    fn unread(&self) -> impl Iterator<Item = (&Dirt, Instant)> {
        let first = (!self.again).then_some((self.mark.since, &self.dirt));
        let next = self.next.as_ref().map(|(mark, dirt)| (mark.since, dirt));
        let all = first.into_iter().chain(next);
        all.filter(|(_, dirt)| dirt.has_content())
            .map(|(since, dirt)| (dirt, dirt.told.unwrap_or(since)))
    }

    /// The same of the file that was born at `birth`.
    fn unread_of(&self, birth: u64) -> Unread {
        let of = |(dirt, since): (&Dirt, Instant)| match dirt.born.means(birth) {
            Some(true) => Unread::Yes,
            Some(false) => Unread::No,
            None => Unread::Perhaps(since),
        };
        self.unread().map(of).fold(Unread::No, Unread::and)
    }
}

impl Round<'_> {
    /// Files that were looked for in this round, and whose content was not found by any name.
    pub(super) fn unread_postponed(&self) -> HashMap<Inode, DirtyFile> {
        let unread = |(_, entry): &&(Inode, DirtyFile)| entry.unread().next().is_some();
        let unread = self.postponed_files.iter().filter(unread);
        unread.cloned().collect()
    }

    /// A file is about to lose a name. Its inode number may be another file's already, which is then looked at
    /// in its place: so what waits is kept in mind.
    pub(super) fn mark_unread(&mut self, row: &FileRow) {
        let waiting: Vec<_> = self.waiting(row.inode).cloned().collect();
        if row.kind == Kind::Regular && !waiting.is_empty() {
            // Beside what waited when it lost the name before.
            self.unread.entry(row.id).or_default().extend(waiting);
        }
    }

    fn waiting(&self, inode: Inode) -> impl Iterator<Item = &DirtyFile> {
        let queue = self.state.queue.file(inode);
        let resting = self.state.resting.get(&inode).map(|(_, entry)| entry);
        queue.into_iter().chain(resting)
    }

    /// A file is dead. If what was last written to it has not been read, that is not in the history.
    pub(super) fn note_unread_death(
        &mut self,
        row: &FileRow,
        postponed: &HashMap<Inode, DirtyFile>,
    ) -> Result<()> {
        let unread = self.unread_of(row, postponed);
        if row.kind != Kind::Regular || unread == Unread::No || self.lives_on(row)? {
            return Ok(());
        }
        let Some(path) = self.last_path(row.id)? else {
            return Ok(());
        };
        match unread {
            Unread::Perhaps(told) if self.state.doubtful.len() < DOUBTFUL_MAX => {
                self.state.doubtful.push(Doubtful {
                    inode: row.inode,
                    birth: row.birth,
                    told,
                    died: self.started,
                    path,
                });
            }
            _ => self.note_gap(path, GapCause::Died),
        }
        Ok(())
    }

    fn unread_of(&self, row: &FileRow, postponed: &HashMap<Inode, DirtyFile>) -> Unread {
        let marked = self.unread.get(&row.id).into_iter().flatten();
        let told = marked
            .chain(postponed.get(&row.inode))
            .chain(self.waiting(row.inode));
        told.map(|entry| entry.unread_of(row.birth))
            .fold(Unread::No, Unread::and)
    }

    /// A new file has vanished while it arrived.
    pub(super) fn note_unread_arrival(&mut self, names: &[(Inode, Name)]) -> Result<()> {
        for (directory, name) in names {
            let parent = self
                .state
                .index
                .by_inode(directory.device, directory.inode, 0)?;
            let Some(parent) = parent else { continue };
            if let Some(path) = self.last_path(parent.id)? {
                self.note_gap(path.join(name.as_os_str()), GapCause::Arriving);
            }
        }
        Ok(())
    }

    /// Is the inode another file's of the index now, to which all of it is sent anew?
    fn lives_on(&self, row: &FileRow) -> Result<bool> {
        let Inode { device, inode } = row.inode;
        let known = self.state.index.by_inode(device, inode, row.birth)?;
        Ok(known.is_some_and(|known| known.id != row.id))
    }

    fn note_gap(&mut self, path: PathBuf, cause: GapCause) {
        self.findings.gaps.push(Gap { path, cause });
    }

    /// Where a file is, or was until this round. `None`: below no root.
    fn last_path(&self, file: FileId) -> Result<Option<PathBuf>> {
        let (mut names, mut at) = (Vec::new(), file);
        for _ in 0..DEPTH_MAX {
            if let Some(root) = self.state.root(at) {
                let below = names.iter().rev().map(Name::as_os_str);
                return Ok(Some(root.path.join(below.collect::<PathBuf>())));
            }
            let known = self.last_names.get(&at).cloned();
            let name = match known {
                Some(known) => Some(known),
                None => self.state.index.names_of(at)?.into_iter().next(),
            };
            let Some((parent, name)) = name else {
                return Ok(None);
            };
            names.push(name);
            at = parent;
        }
        Ok(None)
    }
}

impl State {
    /// Gaps among what was doubtful until now.
    pub fn settle_doubts(&mut self, now: Instant) -> Result<Vec<Gap>> {
        let due = |doubtful: &mut Doubtful| doubtful.died + DOUBT <= now;
        let mut gaps = Vec::new();
        for doubtful in self.doubtful.extract_if(.., due) {
            let Inode { device, inode } = doubtful.inode;
            let next = self.index.by_inode(device, inode, 0)?;
            if !next.is_some_and(|next| doubtful.was_of(&next)) {
                let (path, cause) = (doubtful.path, GapCause::Died);
                gaps.push(Gap { path, cause });
            }
        }
        Ok(gaps)
    }
}

impl Doubtful {
    /// Was what was told the content of this file, which has the number now?
    fn was_of(&self, next: &FileRow) -> bool {
        let born = clock::moment(Timestamp(next.birth.cast_signed()));
        next.birth > self.birth && born.is_some_and(|born| born <= self.told)
    }
}

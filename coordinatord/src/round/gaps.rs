//! Content that was told of and was gone before it could be read: it is in no recovery point, and that is said.
//!
//! What could be kept open is none of it (`kept.rs`). What a program makes and removes before anybody has looked at it
//! once, or writes over itself, leaves nothing that it could be told by.

use std::collections::HashSet;
use std::path::PathBuf;

use anyhow::Result;
use everwrite_protocol::control::GapCause;
use everwrite_protocol::ids::{FileId, Name};
use everwrite_protocol::local::Inode;
use everwrite_protocol::wire::Kind;

use super::Round;
use crate::account::Gap;
use crate::index::FileRow;
use crate::queue::{Dirt, DirtyFile};

/// Deeper than any path that a program could name.
const DEPTH_MAX: usize = 4096;

impl Dirt {
    /// Is there content to be read?
    fn has_content(&self) -> bool {
        self.whole || self.appended || !self.ranges.is_empty()
    }
}

impl DirtyFile {
    /// Was content told of that has not been read?
    fn is_unread(&self) -> bool {
        let next = self.next.as_ref();
        !self.again && self.dirt.has_content() || next.is_some_and(|(_, dirt)| dirt.has_content())
    }
}

impl Round<'_> {
    /// Files that were looked for in this round, and whose content was not found by any name.
    pub(super) fn unread_postponed(&self) -> HashSet<Inode> {
        let unread = |(_, entry): &&(Inode, DirtyFile)| entry.is_unread();
        let unread = self.postponed_files.iter().filter(unread);
        unread.map(|(inode, _)| *inode).collect()
    }

    /// A file is about to lose a name. Its inode number may be another file's already, which is then looked at
    /// in its place.
    pub(super) fn mark_unread(&mut self, row: &FileRow) {
        if self.waits_unread(row.inode) {
            self.unread.insert(row.id);
        }
    }

    fn waits_unread(&self, inode: Inode) -> bool {
        let queue = self.state.queue.file(inode);
        let resting = self.state.resting.get(&inode).map(|(_, entry)| entry);
        queue.into_iter().chain(resting).any(DirtyFile::is_unread)
    }

    /// A file is dead. If what was last written to it has not been read, that is not in the history.
    pub(super) fn note_unread_death(
        &mut self,
        row: &FileRow,
        postponed: &HashSet<Inode>,
    ) -> Result<()> {
        let is_unread = self.unread.contains(&row.id)
            || postponed.contains(&row.inode)
            || self.waits_unread(row.inode);
        if row.kind != Kind::Regular || !is_unread || self.lives_on(row)? {
            return Ok(());
        }
        if let Some(path) = self.last_path(row.id)? {
            self.note_gap(path, GapCause::Died);
        }
        Ok(())
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

//! What a round found, for the account: changes that commands were made for, and files that are lost
//! save in the history.

use std::collections::HashMap;

use everwrite_protocol::ids::{FileId, Name};
use everwrite_protocol::local::Inode;
use everwrite_protocol::wire::Kind;

use super::Round;
use super::dirt::ASK_BYTES_MIN;
use super::names::At;
use crate::account::{Change, Gap, Look, Loss, Suspect, suspected_cause};
use crate::index::FileRow;
use crate::intake::{OriginId, Source};
use crate::look::Stat;
use crate::queue::Mark;

/// What was found.
#[derive(Default)]
pub struct Findings {
    /// Changes that commands were made for.
    pub changes: Vec<Change>,
    /// Files that were deleted or overwritten.
    pub losses: Vec<Loss>,
    /// Content that was gone before it could be read.
    pub gaps: Vec<Gap>,
    /// Who took away, or gave to another file, a name of these files.
    culprits: HashMap<FileId, Culprit>,
}

/// Who is to be blamed if the file turns out to be dead.
#[derive(Clone, Copy)]
struct Culprit {
    origin: OriginId,
    root: FileId,
    removed: bool,
}

/// The two sides of something that changed.
#[derive(Clone, Copy)]
pub(super) struct Sides<'s> {
    pub(super) before: Option<&'s FileRow>,
    pub(super) now: Option<&'s Stat>,
    /// It is the name that changed, not just what is behind it.
    pub(super) named: bool,
}

impl Round<'_> {
    /// Commands were made for a name, or for the file behind it.
    pub(super) fn note_change(&mut self, at: &At<'_>, name: &Name, mark: Mark, sides: Sides<'_>) {
        let Some(file) = sides.inode() else { return };
        let named = sides.named.then_some((at.inode, name));
        let mut sources = mark.sources;
        if !sources.announced() {
            // A scan may come upon it while a hint of it waits.
            sources = sources.and(self.state.waiting_sources(file, named));
        }
        let told = sources.announced();
        if !told && !self.finds_misses() {
            return;
        }
        let change = Change {
            file,
            name: sides.named.then(|| (at.inode, name.clone())),
            origin: mark.origin,
            sources,
            suspect: (!told).then(|| self.suspect(at, name, file, sides)),
        };
        self.findings.changes.push(change);
    }

    /// After a gap, what a scan finds is what it is for, and nobody's miss.
    fn finds_misses(&self) -> bool {
        self.state
            .scan
            .as_ref()
            .is_some_and(|scan| scan.finds_misses())
    }

    fn suspect(&self, at: &At<'_>, name: &Name, file: Inode, sides: Sides<'_>) -> Suspect {
        let place = &at.directory.place;
        let before = sides.before.map_or(0, |row| row.size);
        Suspect {
            path: self.state.full_path(place.root, &place.join(name)),
            size: sides.now.map_or(before, |stat| stat.size),
            cause: suspected_cause(Look {
                before: sides.before,
                now: sides.now,
                named: sides.named,
                mapped: self.state.mapped.contains_key(&file),
                scanned: self.state.scanned,
            }),
        }
    }

    /// Should the file be dead at the end of the round, this is who did it.
    pub(super) fn blame(&mut self, file: FileId, at: &At<'_>, mark: Mark, removed: bool) {
        if let Some(origin) = self.suspect_of(mark) {
            let root = at.directory.place.root;
            let culprit = Culprit {
                origin,
                root,
                removed,
            };
            self.findings.culprits.insert(file, culprit);
        }
    }

    /// Whom to blame. Our own commands announce without an origin, and nobody knows when it was that
    /// something happened which a scan finds after a gap.
    fn suspect_of(&self, mark: Mark) -> Option<OriginId> {
        let ours = mark.origin == OriginId::SCAN && !mark.sources.has(Source::Kernel);
        let known = if mark.sources.announced() {
            !ours
        } else {
            self.finds_misses()
        };
        known.then_some(mark.origin)
    }

    /// A file is dead, and so is all below it.
    pub(super) fn note_death(&mut self, row: &FileRow, children: impl Iterator<Item = FileId>) {
        let Some(culprit) = self.findings.culprits.remove(&row.id) else {
            return;
        };
        for child in children {
            let culprit = Culprit {
                removed: true,
                ..culprit
            };
            self.findings.culprits.insert(child, culprit);
        }
        self.lose(row, culprit);
    }

    /// Content that the receiver had was written over, or cut off.
    pub(super) fn note_overwritten(&mut self, at: &At<'_>, row: &FileRow, mark: Mark) {
        if let Some(origin) = self.suspect_of(mark) {
            let culprit = Culprit {
                origin,
                root: at.directory.place.root,
                removed: false,
            };
            self.lose(row, culprit);
        }
    }

    fn lose(&mut self, row: &FileRow, culprit: Culprit) {
        if row.kind != Kind::Directory {
            self.findings.losses.push(Loss {
                file: row.id,
                root: culprit.root,
                origin: culprit.origin,
                removed: culprit.removed,
                birth: row.birth,
            });
        }
    }
}

/// Can commands for the file be on account of a change? A late hint leads to content that was sent with
/// the change before it. A directory's times follow its names, which are counted; a staged file was
/// when it was created.
pub(super) fn counts(row: &FileRow, stat: &Stat) -> bool {
    // What is sent again whether or not it changed is counted only if that shows.
    let sent_anyway = row.is_suspect() || row.is_unproven() && stat.size <= ASK_BYTES_MIN;
    let untouched = row.changed == stat.changed || sent_anyway && row.modified == stat.modified;
    let same = untouched && row.size == stat.size;
    !row.staged && row.kind != Kind::Directory && !same
}

impl Sides<'_> {
    /// The file that is there now, or was.
    fn inode(&self) -> Option<Inode> {
        let now = self.now.map(|stat| stat.inode);
        now.or_else(|| self.before.map(|row| row.inode))
    }
}

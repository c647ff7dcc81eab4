//! From the tree before and the tree after a window to the steps between, and to where files are.

use std::collections::{BTreeMap, BTreeSet};

use everwrite_protocol::ids::{FileId, Name};
use everwrite_protocol::wire::Kind;

use super::before::{Before, Placed};
use super::content::{Content, Piece, Place, Superseded};
use super::steps::{Arrive, Build, ContentStep, Detach, Fate, FileStep, Home, Homes, Steps, Whole};
use super::view::{FileView, Life, View};

/// Larger dead files are kept as they are (a rename), though the log may have all of their bytes.
const LOG_ONLY_BYTES_MAX: u64 = 64 << 20;

/// Where a changed file ends up.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum End {
    /// There, in this way.
    Placed(Placed),
    /// Forgotten.
    Dropped,
}

/// Works out the steps.
pub(super) struct Outcome<'v, 'a, B> {
    view: &'v mut View<'a, B>,
    ends: BTreeMap<FileId, End>,
    steps: Steps,
    stirred: BTreeSet<FileId>,
}

impl<'v, 'a, B: Before> Outcome<'v, 'a, B> {
    /// Steps, and where each changed file is afterwards.
    pub(super) fn of(
        view: &'v mut View<'a, B>,
        superseded: &[Superseded],
    ) -> Result<(Steps, BTreeMap<FileId, End>), B::Error> {
        let ends = BTreeMap::new();
        let mut outcome = Self {
            view,
            ends,
            steps: Steps::default(),
            stirred: BTreeSet::new(),
        };
        let changed = outcome.changed();
        for file in &changed {
            let end = outcome.end(*file)?;
            outcome.ends.insert(*file, end);
        }
        for file in &changed {
            outcome.detach(*file)?;
        }
        for file in &changed {
            outcome.place(*file)?;
        }
        for row in superseded {
            outcome.source(&row.piece)?;
        }
        outcome.order();
        outcome.stir()?;
        Ok((outcome.steps, outcome.ends))
    }

    fn changed(&self) -> Vec<FileId> {
        let seen = self.view.seen_files().into_iter();
        seen.filter(|file| self.view.seen(*file).is_some_and(FileView::changed))
            .collect()
    }

    fn end(&mut self, file: FileId) -> Result<End, B::Error> {
        let Some(view) = self.view.seen(file) else {
            return Ok(End::Dropped);
        };
        Ok(End::Placed(match view.life {
            Life::Dropped => return Ok(End::Dropped),
            Life::Staged => Placed::Staged,
            Life::Named => Placed::Named,
            Life::Buried => view.before.unwrap_or(Placed::Log),
            Life::Dead(_) => match view.attributes.kind {
                Kind::Directory if self.view.has_children(file)? => Placed::Object,
                Kind::Regular if !self.in_log(file)? => Placed::Object,
                _ => Placed::Log,
            },
        }))
    }

    /// Has the log every byte of the file?
    fn in_log(&self, file: FileId) -> Result<bool, B::Error> {
        let Some(view) = self.view.seen(file) else {
            return Ok(false);
        };
        if view.attributes.size > LOG_ONLY_BYTES_MAX {
            return Ok(false);
        }
        let untouched = Content::existing(file, view.attributes.size);
        let content = view.content.as_ref().unwrap_or(&untouched);
        let mut at = 0;
        for piece in content.touched() {
            if is_before(&piece) || !self.gap_in_log(file, at..piece.offset)? {
                return Ok(false);
            }
            at = piece.offset + piece.length;
        }
        self.gap_in_log(file, at..content.size())
    }

    fn gap_in_log(&self, file: FileId, gap: std::ops::Range<u64>) -> Result<bool, B::Error> {
        Ok(gap.is_empty() || !self.view.before.pieces(file, gap)?.iter().any(is_before))
    }

    /// P1 of one file.
    fn detach(&mut self, file: FileId) -> Result<(), B::Error> {
        let Some(view) = self.view.seen(file) else {
            return Ok(());
        };
        let main = main_fate(view, self.ends.get(&file));
        if view.before == Some(Placed::Staged) {
            if main != Fate::Staging {
                self.steps.detaches.push(Detach {
                    file,
                    from: Home::Staging,
                    fate: main,
                });
            }
            return Ok(());
        }
        let kept = view
            .names_before
            .iter()
            .any(|name| view.names.contains(name));
        let closed: Vec<(FileId, Name)> = view
            .names_before
            .iter()
            .filter(|name| !view.names.contains(name))
            .cloned()
            .collect();
        for (index, (parent, name)) in closed.into_iter().enumerate() {
            let fate = if kept || index > 0 {
                Fate::Unlink
            } else {
                main
            };
            self.home_before(parent)?;
            self.stirred.insert(parent);
            self.steps.detaches.push(Detach {
                file,
                from: Home::In(parent, name),
                fate,
            });
        }
        Ok(())
    }

    /// P0, P2 to P4 of one file.
    fn place(&mut self, file: FileId) -> Result<(), B::Error> {
        let Some(End::Placed(placed)) = self.ends.get(&file).copied() else {
            return Ok(());
        };
        let Some(view) = self.view.seen(file).cloned() else {
            return Ok(());
        };
        if placed == Placed::Log {
            return Ok(());
        }
        let born = view.before.is_none();
        let whole = view.content.as_ref().filter(|_| born).map(whole);
        let built = whole
            .as_ref()
            .is_some_and(|whole| whole.pieces.iter().any(is_before));
        let new_names: Vec<(FileId, Name)> = view
            .names
            .iter()
            .filter(|name| !view.names_before.contains(name))
            .cloned()
            .collect();
        let kept = view
            .names
            .iter()
            .find(|name| view.names_before.contains(name))
            .cloned();
        let (home, links) = match placed {
            Placed::Staged => (Home::Staging, Vec::new()),
            Placed::Object | Placed::Log => (Home::Object, Vec::new()),
            Placed::Named => home_and_links(kept.clone(), &new_names),
        };
        let arrive = match (placed, view.before) {
            _ if kept.is_some() => Arrive::Stay,
            (_, None) if built => Arrive::FromStaging,
            (_, None) => Arrive::Create,
            (Placed::Named, _) => Arrive::FromStaging,
            // Dead: P1 brought it to its home. Staged: it is there.
            _ => Arrive::Stay,
        };
        let content = match (&whole, &view.content) {
            (Some(_), _) if built => ContentStep::None,
            (Some(whole), _) => ContentStep::Whole(whole.clone()),
            (None, Some(content)) => patch(content),
            (None, None) => ContentStep::None,
        };
        let set_attributes = view.attributes_changed || view.content.is_some();
        let attributes = view.attributes.clone();
        if let Some(content) = whole.filter(|_| built) {
            content
                .pieces
                .iter()
                .try_for_each(|piece| self.source(piece))?;
            self.steps.builds.push(Build { file, content });
        }
        for (parent, _) in &new_names {
            self.stirred.insert(*parent);
            self.home_after(*parent)?;
        }
        if let Home::In(parent, _) = &home {
            self.home_after(*parent)?;
        }
        let directory = attributes.kind == Kind::Directory;
        let step = FileStep {
            file,
            home,
            arrive,
            links,
            content,
            attributes,
            set_attributes,
        };
        match directory {
            true => self.steps.directories.push(step),
            false => self.steps.files.push(step),
        }
        Ok(())
    }

    /// Learns where the file is whose bytes from before the window are asked for.
    fn source(&mut self, piece: &Piece) -> Result<(), B::Error> {
        match piece.place {
            Place::Before(file, _) => self.home_before(file),
            Place::Log(..) | Place::Zeros => Ok(()),
        }
    }

    /// Learns where a file or directory is before the window, and all above it.
    fn home_before(&mut self, file: FileId) -> Result<(), B::Error> {
        let mut at = file;
        while at != FileId::TOP && !self.steps.homes_before.contains_key(&at) {
            let Some(view) = self.view.file(at)? else {
                return Ok(());
            };
            let home = match (view.before, view.names_before.first()) {
                (_, Some((parent, name))) => Home::In(*parent, name.clone()),
                (Some(Placed::Staged), None) => Home::Staging,
                _ => Home::Object,
            };
            self.steps.homes_before.insert(at, home.clone());
            let Home::In(parent, _) = home else {
                return Ok(());
            };
            at = parent;
        }
        Ok(())
    }

    /// Learns where a directory is after the window, and all above it.
    fn home_after(&mut self, directory: FileId) -> Result<(), B::Error> {
        let mut at = directory;
        while at != FileId::TOP && !self.steps.homes_after.contains_key(&at) {
            let Some(view) = self.view.file(at)? else {
                return Ok(());
            };
            let home = match (view.life, view.names.first()) {
                (_, Some((parent, name))) => Home::In(*parent, name.clone()),
                (Life::Staged, None) => Home::Staging,
                _ => Home::Object,
            };
            self.steps.homes_after.insert(at, home.clone());
            let Home::In(parent, _) = home else {
                return Ok(());
            };
            at = parent;
        }
        Ok(())
    }

    /// Deepest names leave first; parents arrive first; files of a directory are together.
    fn order(&mut self) {
        let Steps {
            homes_before,
            homes_after,
            detaches,
            directories,
            files,
            ..
        } = &mut self.steps;
        detaches.sort_by_cached_key(|step| {
            (
                std::cmp::Reverse(depth(homes_before, &step.from)),
                step.file,
            )
        });
        directories.sort_by_cached_key(|step| (depth(homes_after, &step.home), step.file));
        files.sort_by_cached_key(|step| match &step.home {
            Home::In(parent, _) => (*parent, step.file),
            Home::Staging | Home::Object => (FileId::TOP, step.file),
        });
    }

    /// Directories that are still somewhere, and whose times the steps disturb.
    fn stir(&mut self) -> Result<(), B::Error> {
        for directory in std::mem::take(&mut self.stirred) {
            let gone = matches!(
                self.ends.get(&directory),
                Some(End::Dropped | End::Placed(Placed::Log))
            );
            if directory == FileId::TOP || gone {
                continue;
            }
            self.home_after(directory)?;
            if let Some(view) = self.view.seen(directory) {
                self.steps
                    .stirred
                    .push((directory, view.attributes.clone()));
            }
        }
        Ok(())
    }
}

fn is_before(piece: &Piece) -> bool {
    matches!(piece.place, Place::Before(..))
}

/// Where the inode goes when all its names from before the window are closed.
fn main_fate(view: &FileView, end: Option<&End>) -> Fate {
    match end {
        Some(End::Placed(Placed::Named | Placed::Staged)) => Fate::Staging,
        Some(End::Placed(Placed::Object)) => Fate::Object,
        _ if view.attributes.kind == Kind::Directory => Fate::RemoveDirectory,
        _ => Fate::Unlink,
    }
}

/// The inode stays under a kept name, or goes to its first new one; the others are links to it.
fn home_and_links(
    kept: Option<(FileId, Name)>,
    new: &[(FileId, Name)],
) -> (Home, Vec<(FileId, Name)>) {
    match (kept, new) {
        (Some((parent, name)), links) => (Home::In(parent, name), links.to_vec()),
        (None, [(parent, name), links @ ..]) => (Home::In(*parent, name.clone()), links.to_vec()),
        // A named file has a name; this arm keeps the function total.
        (None, []) => (Home::Staging, Vec::new()),
    }
}

fn whole(content: &Content) -> Whole {
    let pieces = content
        .touched()
        .filter(|piece| piece.place != Place::Zeros)
        .collect();
    Whole {
        size: content.size(),
        pieces,
    }
}

fn patch(content: &Content) -> ContentStep {
    ContentStep::Patch {
        low_water: content.low_water(),
        size: content.size(),
        pieces: content.touched().collect(),
    }
}

/// How many directories are above.
fn depth(homes: &Homes, home: &Home) -> usize {
    let mut depth = 0;
    let mut at = Some(home);
    while let Some(Home::In(parent, _)) = at {
        depth += 1;
        at = homes.get(parent);
    }
    depth
}

//! The tree as it is while a window is gone through: what the window changed over what was before.

use std::collections::{BTreeMap, HashMap};

use everwrite_protocol::ids::{FileId, Name, SequenceNumber};
use everwrite_protocol::wire::{Attributes, Kind};

use super::before::{Before, Placed};
use super::content::Content;

/// Deepest tree, in directories. Limits what a hostile source can make us walk.
pub(super) const DEPTH_MAX: usize = 2048;

/// Where a file is in its life.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Life {
    /// Never had a name.
    Staged,
    /// Has one, or had one when the batch began.
    Named,
    /// Lost its last name in this batch.
    Dead(SequenceNumber),
    /// Dead before the window.
    Buried,
    /// Forgotten before it had a name.
    Dropped,
}

/// What a file's names lead to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Standing {
    /// Up to the top: it is in the tree.
    Alive,
    /// Up to a staged directory, or it is staged itself.
    Staged,
    /// Up to a directory (or it is one) that lost its name in this batch and may get another.
    Loose,
    /// Nowhere.
    Dead,
}

/// A file as it is now.
#[derive(Clone, Debug)]
pub(super) struct FileView {
    /// Where it was before the window; `None`: created in it.
    pub before: Option<Placed>,
    /// Names before the window.
    pub names_before: Vec<(FileId, Name)>,
    /// The batch that created it, if it was created in the window.
    pub born: Option<SequenceNumber>,
    /// All but content and names.
    pub attributes: Attributes,
    /// Attributes were changed in the window.
    pub attributes_changed: bool,
    /// Names now.
    pub names: Vec<(FileId, Name)>,
    /// Where it is in its life.
    pub life: Life,
    /// A recovery point before the batch under way shows it.
    pub visible: bool,
    /// Content, where the window touched it.
    pub content: Option<Content>,
}

impl FileView {
    /// A file created in the window.
    pub(super) fn created(file: FileId, attributes: Attributes, born: SequenceNumber) -> Self {
        let regular = attributes.kind == Kind::Regular;
        let content = regular.then(|| Content::created(file, attributes.size, born));
        Self {
            before: None,
            names_before: Vec::new(),
            born: Some(born),
            attributes,
            attributes_changed: true,
            names: Vec::new(),
            life: Life::Staged,
            visible: false,
            content,
        }
    }

    /// Did the window change anything of it?
    pub(super) fn changed(&self) -> bool {
        self.before.is_none()
            || self.attributes_changed
            || self.content.is_some()
            || self.names != self.names_before
            || self.life == Life::Dropped
    }
}

/// The tree now.
#[derive(Debug)]
pub(super) struct View<'a, B> {
    /// The state before the window.
    pub before: &'a B,
    files: BTreeMap<FileId, FileView>,
    /// Names which the window changed: who has them now.
    names: HashMap<FileId, HashMap<Name, Option<FileId>>>,
    /// How many more names a directory holds now than before.
    grown: HashMap<FileId, i64>,
}

impl<'a, B: Before> View<'a, B> {
    /// Nothing changed yet.
    pub(super) fn new(before: &'a B) -> Self {
        Self {
            before,
            files: BTreeMap::new(),
            names: HashMap::new(),
            grown: HashMap::new(),
        }
    }

    /// Adds a file created in the window.
    pub(super) fn insert(&mut self, file: FileId, view: FileView) {
        self.files.insert(file, view);
    }

    /// A file; `None`: there is none by this id.
    pub(super) fn file(&mut self, file: FileId) -> Result<Option<&mut FileView>, B::Error> {
        if !self.files.contains_key(&file)
            && let Some(view) = self.load(file)?
        {
            self.files.insert(file, view);
        }
        Ok(self.files.get_mut(&file))
    }

    fn load(&self, file: FileId) -> Result<Option<FileView>, B::Error> {
        if file == FileId::TOP || file > self.before.highest_file() {
            return Ok(None);
        }
        let Some(before) = self.before.file(file)? else {
            return Ok(None);
        };
        let names = self.before.names(file)?;
        Ok(Some(FileView {
            before: Some(before.placed),
            names_before: names.clone(),
            born: None,
            attributes: before.attributes,
            attributes_changed: false,
            names,
            life: match before.placed {
                Placed::Named => Life::Named,
                Placed::Staged => Life::Staged,
                Placed::Object | Placed::Log => Life::Buried,
            },
            visible: before.placed == Placed::Named,
            content: None,
        }))
    }

    /// The highest id among the files created in the window; 0: none was.
    pub(super) fn highest_file(&self) -> FileId {
        let born = self
            .files
            .iter()
            .rev()
            .find(|(_, view)| view.before.is_none());
        born.map_or(FileId::TOP, |(file, _)| *file)
    }

    /// Every file looked at so far.
    pub(super) fn into_files(self) -> BTreeMap<FileId, FileView> {
        self.files
    }

    /// A file looked at before.
    pub(super) fn seen(&self, file: FileId) -> Option<&FileView> {
        self.files.get(&file)
    }

    /// Ids of the files looked at so far.
    pub(super) fn seen_files(&self) -> Vec<FileId> {
        self.files.keys().copied().collect()
    }

    /// Who has this name now.
    pub(super) fn child(&self, parent: FileId, name: &Name) -> Result<Option<FileId>, B::Error> {
        if let Some(now) = self.names.get(&parent).and_then(|names| names.get(name)) {
            return Ok(*now);
        }
        match self.files.get(&parent) {
            Some(view) if view.before.is_none() => Ok(None),
            _ => self.before.child(parent, name),
        }
    }

    /// Gives the name to the file.
    pub(super) fn open(&mut self, parent: FileId, name: &Name, file: FileId) {
        self.names
            .entry(parent)
            .or_default()
            .insert(name.clone(), Some(file));
        *self.grown.entry(parent).or_default() += 1;
        if let Some(view) = self.files.get_mut(&file) {
            view.names.push((parent, name.clone()));
        }
    }

    /// Takes the name from the file.
    pub(super) fn close(&mut self, parent: FileId, name: &Name, file: FileId) {
        self.names
            .entry(parent)
            .or_default()
            .insert(name.clone(), None);
        *self.grown.entry(parent).or_default() -= 1;
        if let Some(view) = self.files.get_mut(&file) {
            view.names.retain(|(p, n)| (*p, n) != (parent, name));
        }
    }

    /// Does a directory hold any name now?
    pub(super) fn has_children(&self, parent: FileId) -> Result<bool, B::Error> {
        let born = self
            .files
            .get(&parent)
            .is_some_and(|view| view.before.is_none());
        let before = if born {
            0
        } else {
            self.before.children(parent)?
        };
        let grown = self.grown.get(&parent).copied().unwrap_or(0);
        Ok(i64::try_from(before)
            .unwrap_or(i64::MAX)
            .saturating_add(grown)
            > 0)
    }

    /// What the file's names lead to, and how deep that is.
    pub(super) fn standing(&mut self, file: FileId) -> Result<(Standing, usize), B::Error> {
        let mut at = file;
        for depth in 0..=DEPTH_MAX {
            if at == FileId::TOP {
                return Ok((Standing::Alive, depth));
            }
            let Some(view) = self.file(at)? else {
                return Ok((Standing::Dead, depth));
            };
            match (view.life, view.names.as_slice()) {
                (Life::Dead(_) | Life::Buried | Life::Dropped, _) => {
                    return Ok((Standing::Dead, depth));
                }
                (Life::Staged, _) => return Ok((Standing::Staged, depth)),
                (Life::Named, []) => return Ok((Standing::Loose, depth)),
                (Life::Named, [(parent, _)]) => at = *parent,
                (Life::Named, several) => {
                    let parents: Vec<FileId> = several.iter().map(|(parent, _)| *parent).collect();
                    return self.standing_of_any(&parents);
                }
            }
        }
        Ok((Standing::Dead, DEPTH_MAX))
    }

    /// The best that one of these directories has. Only files that are no directory have several
    /// names, so this does not recurse further than once.
    fn standing_of_any(&mut self, parents: &[FileId]) -> Result<(Standing, usize), B::Error> {
        let mut best = (Standing::Dead, 0);
        for parent in parents {
            let (standing, depth) = self.standing(*parent)?;
            if best.0 == Standing::Dead {
                best = (standing, depth + 1);
            }
            if standing == Standing::Alive {
                return Ok((standing, depth + 1));
            }
        }
        Ok(best)
    }

    /// Is `file` at or above `directory`?
    pub(super) fn encloses(&mut self, file: FileId, directory: FileId) -> Result<bool, B::Error> {
        let mut at = directory;
        for _ in 0..=DEPTH_MAX {
            if at == file {
                return Ok(true);
            }
            match self.file(at)?.and_then(|view| view.names.first()) {
                Some((parent, _)) => at = *parent,
                None => return Ok(false),
            }
        }
        Ok(true)
    }
}

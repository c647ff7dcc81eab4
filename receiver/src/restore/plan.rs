//! What a restore will do, worked out before anything is done: a value that can be shown.

use std::collections::{HashMap, HashSet};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use everwrite_protocol::ids::FileId;
use everwrite_protocol::wire::{At, Kind, Point, TreeEntry};

use super::error::RestoreError;
use super::history::{Asked, History};
use super::marker::Marker;

/// What is wanted.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RestoreRequest {
    /// Path at the receiver: names joined by slashes, the root's first.
    pub path: Vec<u8>,
    /// As of when.
    pub at: At,
    /// Where to.
    pub to: Destination,
}

/// Where a restore goes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Destination {
    /// Into this directory (made when it is missing), under its own name. Nothing may be there.
    Into(PathBuf),
    /// To where it was, over what is there.
    InPlace {
        /// Directory of the root at the source.
        root: PathBuf,
        /// Also remove what was not there then, as far as the history has it.
        delete: bool,
    },
}

/// What happens to one path.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Action {
    /// Nothing is there.
    Create,
    /// The same kind of file is there: what differs is written.
    Update,
    /// Another kind of file is there, and goes first.
    Replace,
    /// Another name of the file of that step.
    Link {
        /// Index of the step.
        first: usize,
    },
    /// It was not there then, and goes.
    Remove,
}

/// One path.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Step {
    /// Path below [`RestorePlan::base`]; empty: the base itself.
    pub relative: Vec<u8>,
    /// What was there then (of [`Action::Remove`]: what is there now).
    pub entry: TreeEntry,
    /// What happens.
    pub action: Action,
}

/// All that a restore will do. Parents come before what is in them, removals last, deepest first.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RestorePlan {
    /// The recovery point.
    pub point: Point,
    /// Directory below which everything lies.
    pub base: PathBuf,
    /// The steps.
    pub steps: Vec<Step>,
    /// What is there now and was not then, and stays: paths below the base.
    pub kept: Vec<Vec<u8>>,
    /// Marks a restore under way, in the base; none in place.
    pub(super) marker: Option<Marker>,
}

impl RestorePlan {
    /// Asks the history and looks at the destination. Changes nothing.
    pub fn make(history: &impl History, request: &RestoreRequest) -> Result<Self, RestoreError> {
        let history = Asked(history);
        let point = history.resolve(request.at.clone())?;
        let top = history.stat(&request.path, point.sequence)?;
        let top =
            top.filter(|_| !request.path.is_empty())
                .ok_or_else(|| RestoreError::NotStored {
                    path: String::from_utf8_lossy(&request.path).into_owned(),
                    at: point.sequence.0,
                })?;
        let mut planner = Planner::new(&history, point, request, &top)?;
        planner.missing_parents(&request.path)?;
        planner.tree(&request.path, top)?;
        planner.finish()
    }

    /// Regular files whose content will be written or compared.
    pub fn files(&self) -> u64 {
        self.contents().count() as u64
    }

    /// Their sizes added up, in bytes.
    pub fn bytes(&self) -> u64 {
        self.contents().map(|step| step.entry.attributes.size).sum()
    }

    fn contents(&self) -> impl Iterator<Item = &Step> {
        let written = |step: &&Step| !matches!(step.action, Action::Link { .. } | Action::Remove);
        self.steps
            .iter()
            .filter(written)
            .filter(|step| step.entry.attributes.kind == Kind::Regular)
    }

    /// Where a step's path is.
    pub fn local(&self, relative: &[u8]) -> PathBuf {
        join(&self.base, relative)
    }
}

struct Planner<'p, H> {
    history: &'p Asked<'p, H>,
    plan: RestorePlan,
    /// Bytes of the path at the receiver that the base stands for.
    stripped: usize,
    in_place: Option<bool>,
    /// Directories that are made anew: nothing can be in them yet.
    fresh: HashSet<Vec<u8>>,
    first_names: HashMap<FileId, usize>,
    in_the_way: Vec<PathBuf>,
    removals: Vec<Step>,
}

impl<'p, H: History> Planner<'p, H> {
    fn new(
        history: &'p Asked<'p, H>,
        point: Point,
        request: &RestoreRequest,
        top: &TreeEntry,
    ) -> Result<Self, RestoreError> {
        let (base, marker, stripped, in_place) = match &request.to {
            Destination::Into(base) => {
                let marker = Marker::check(base, &request.path, &point, top.name.as_bytes())?;
                let stripped = request.path.len() - top.name.as_bytes().len();
                (base, Some(marker), stripped, None)
            }
            Destination::InPlace { root, delete } => {
                let end = request.path.iter().position(|byte| *byte == b'/');
                (root, None, end.unwrap_or(request.path.len()), Some(*delete))
            }
        };
        Ok(Self {
            history,
            plan: RestorePlan {
                point,
                base: base.clone(),
                steps: Vec::new(),
                kept: Vec::new(),
                marker,
            },
            stripped,
            in_place,
            fresh: HashSet::new(),
            first_names: HashMap::new(),
            in_the_way: Vec::new(),
            removals: Vec::new(),
        })
    }

    /// In place, directories that led to the path then may be gone by now.
    fn missing_parents(&mut self, path: &[u8]) -> Result<(), RestoreError> {
        let slashes = path
            .iter()
            .enumerate()
            .filter(|(_, byte)| **byte == b'/')
            .map(|(at, _)| at);
        let above: Vec<_> = slashes.filter(|_| self.in_place.is_some()).collect();
        for end in above {
            let parent = &path[..end];
            let exists = self
                .local(parent)
                .symlink_metadata()
                .is_ok_and(|found| found.is_dir());
            if !exists && let Some(entry) = self.history.stat(parent, self.plan.point.sequence)? {
                self.step(parent, entry);
            }
        }
        Ok(())
    }

    /// `path` and all below it.
    fn tree(&mut self, path: &[u8], entry: TreeEntry) -> Result<(), RestoreError> {
        let mut waiting = vec![(path.to_owned(), entry)];
        while let Some((path, entry)) = waiting.pop() {
            let directory = entry.attributes.kind == Kind::Directory;
            self.step(&path, entry);
            if directory {
                let entries = self.history.list(&path, self.plan.point.sequence)?;
                self.extras(&path, &entries)?;
                let below = entries.into_iter().rev();
                waiting.extend(below.map(|entry| (child(&path, entry.name.as_bytes()), entry)));
            }
        }
        Ok(())
    }

    fn step(&mut self, path: &[u8], entry: TreeEntry) {
        let relative = self.relative(path);
        let found = self.found(&relative);
        let directory = entry.attributes.kind == Kind::Directory;
        let action = match (found, self.first_names.get(&entry.file)) {
            (Some(kind), _) if kind == Kind::Directory && !directory => {
                if self.in_place != Some(true) {
                    self.in_the_way.push(self.plan.local(&relative));
                }
                Action::Replace
            }
            (Some(kind), _) if kind != entry.attributes.kind => Action::Replace,
            (_, Some(&first)) if !directory => Action::Link { first },
            (Some(_), _) => Action::Update,
            (None, _) => Action::Create,
        };
        if directory && matches!(action, Action::Create | Action::Replace) {
            self.fresh.insert(relative.clone());
        }
        self.first_names
            .entry(entry.file)
            .or_insert(self.plan.steps.len());
        self.plan.steps.push(Step {
            relative,
            entry,
            action,
        });
    }

    /// What kind of file is at a destination now. Below a directory that is made anew there is
    /// nothing, whatever a link that is in its place now leads to.
    fn found(&self, relative: &[u8]) -> Option<Kind> {
        let parent = &relative[..relative.iter().rposition(|byte| *byte == b'/').unwrap_or(0)];
        if !relative.is_empty() && self.fresh.contains(parent) {
            return None;
        }
        let found = join(&self.plan.base, relative).symlink_metadata().ok()?;
        Some(super::place::kind(&found))
    }

    /// In place: what is in the directory now, was not then, and is stored, so that it can be had
    /// back. What is not stored (excluded, or too new) is never touched.
    fn extras(&mut self, path: &[u8], then: &[TreeEntry]) -> Result<(), RestoreError> {
        let relative = self.relative(path);
        let Some(delete) = self.in_place.filter(|_| !self.fresh.contains(&relative)) else {
            return Ok(());
        };
        let names: HashSet<_> = then.iter().map(|entry| &entry.name).collect();
        let newest = self.history.resolve(At::Newest)?.sequence;
        let is_there = self.history.stat(path, newest)?;
        if is_there.is_none_or(|entry| entry.attributes.kind != Kind::Directory) {
            return Ok(());
        }
        for entry in self.history.list(path, newest)? {
            let full = child(path, entry.name.as_bytes());
            if names.contains(&entry.name) || self.local(&full).symlink_metadata().is_err() {
                continue;
            }
            match delete {
                true => self.removal(&full, entry, newest)?,
                false => self.plan.kept.push(self.relative(&full)),
            }
        }
        Ok(())
    }

    /// Removes all that is stored at and below a path; parents are put before what is in them.
    fn removal(
        &mut self,
        path: &[u8],
        entry: TreeEntry,
        newest: everwrite_protocol::ids::SequenceNumber,
    ) -> Result<(), RestoreError> {
        let mut waiting = vec![(path.to_owned(), entry)];
        while let Some((path, entry)) = waiting.pop() {
            if entry.attributes.kind == Kind::Directory {
                let below = self.history.list(&path, newest)?.into_iter();
                waiting.extend(below.map(|entry| (child(&path, entry.name.as_bytes()), entry)));
            }
            let relative = self.relative(&path);
            self.removals.push(Step {
                relative,
                entry,
                action: Action::Remove,
            });
        }
        Ok(())
    }

    /// Path below the base.
    fn relative(&self, path: &[u8]) -> Vec<u8> {
        let rest = path.get(self.stripped..).unwrap_or_default();
        rest.strip_prefix(b"/").unwrap_or(rest).to_owned()
    }

    fn local(&self, path: &[u8]) -> PathBuf {
        self.plan.local(&self.relative(path))
    }

    fn finish(mut self) -> Result<RestorePlan, RestoreError> {
        if !self.in_the_way.is_empty() {
            return Err(RestoreError::InTheWay {
                in_the_way: self.in_the_way,
            });
        }
        self.plan.steps.extend(self.removals.into_iter().rev());
        Ok(self.plan)
    }
}

fn child(parent: &[u8], name: &[u8]) -> Vec<u8> {
    [parent, name].join(&b'/')
}

fn join(base: &Path, relative: &[u8]) -> PathBuf {
    match relative {
        b"" => base.to_owned(),
        relative => base.join(OsStr::from_bytes(relative)),
    }
}

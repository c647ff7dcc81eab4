//! Roots: declared to the receiver, checked before anything in them is compared.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use anyhow::{Context, Result};
use everwrite_protocol::ids::{FileId, Name};
use everwrite_protocol::wire::{Attributes, BackupCommand, Kind};
use rustix::fs::{CWD, Mode, OFlags, openat};

use super::{Round, State};
use crate::index::FileRow;
use crate::intake::OriginId;
use crate::look::{Accounts, Stat, attributes_digest, read_attributes, stat_at};
use crate::queue::{Mark, Ticket};
use crate::reconcile::{RootFacts, RootVerdict, Scan, ScanReason, judge_root};

/// [`ProtectedRoot::file`](super::ProtectedRoot::file) of a root that was not seen yet.
pub(super) const ROOT_UNBOUND: Option<FileId> = None;

impl Round<'_> {
    /// Binds roots that are new in this run: to the receiver's root of that name, or to a new one.
    pub(super) fn declare_roots(&mut self) -> Result<()> {
        for at in 0..self.state.roots.len() {
            let root = &self.state.roots[at];
            if root.file.is_some() || root.verdict != RootVerdict::Go {
                continue;
            }
            let path = root.path.clone();
            match stat_at(CWD, &path)? {
                Some(stat) if stat.kind == Kind::Directory => {
                    self.declare_root(at, &path, &stat)?
                }
                _ => self.state.roots[at].verdict = RootVerdict::Missing,
            }
        }
        Ok(())
    }

    fn declare_root(&mut self, at: usize, path: &Path, stat: &Stat) -> Result<()> {
        let name = self.state.roots[at].name.clone();
        let mut mark = self.state.queue.scan_mark(self.started);
        // Every barrier waits for a root's first listing.
        mark.ticket = Ticket::default();
        let known = self.state.index.child(FileId::TOP, &name)?;
        let file = match known {
            Some(file) => file,
            None => self.create_root(&name, path, stat)?,
        };
        let root = &mut self.state.roots[at];
        (root.file, root.initial) = (Some(file), known.is_none());
        if let Some(row) = self.state.index.file(file)? {
            self.state.queue.push_listing(row.inode, mark, true, true);
        }
        Ok(())
    }

    fn create_root(&mut self, name: &Name, path: &Path, stat: &Stat) -> Result<FileId> {
        let file = self.state.index.new_file();
        let attributes = root_attributes(path, stat, &self.state.accounts)
            .with_context(|| format!("read the attributes of {}", path.display()))?;
        let bytes = path.as_os_str().as_bytes().to_vec();
        self.batch
            .push(OriginId::SCAN, BackupCommand::Root { file, path: bytes });
        let digest = attributes_digest(&attributes);
        self.batch.push(
            OriginId::SCAN,
            BackupCommand::Create {
                file,
                attributes,
                origin: 0,
            },
        );
        let parent = FileId::TOP;
        self.batch.push(
            OriginId::SCAN,
            BackupCommand::Attach {
                parent,
                name: name.clone(),
                file,
                origin: 0,
            },
        );
        let row = FileRow::of(file, stat, digest, false);
        self.state.index.put_file(&row, self.batch.sequence())?;
        self.state
            .index
            .attach(parent, name, file, self.batch.sequence())?;
        self.state.files += 1;
        Ok(file)
    }

    /// Everything is to be looked at: a deep listing of each root.
    pub(super) fn look_everywhere(&mut self) -> Result<()> {
        let Some(mark) = self.state.queue.take_everything() else {
            return Ok(());
        };
        self.note(mark);
        self.state.attempts.clear();
        let started = self.started;
        let scan = self
            .state
            .scan
            .get_or_insert_with(|| Scan::new(ScanReason::Gap, started));
        scan.doubted_before = self.batch.sequence();
        scan.until = scan.until.max(mark.ticket);
        self.state.list_roots(mark, true)
    }
}

impl State {
    /// Queues a deep listing of every active root.
    pub fn list_roots(&mut self, mark: Mark, scan: bool) -> Result<()> {
        let roots: Vec<FileId> = self.roots.iter().filter_map(|root| root.file).collect();
        for root in roots {
            if let Some(row) = self.index.file(root)? {
                self.queue.push_listing(row.inode, mark, true, scan);
            }
        }
        Ok(())
    }

    /// Judges a root before its names are compared: `found` are the protected names in it now.
    pub(super) fn judge(
        &mut self,
        file: FileId,
        found: Option<(&Stat, &[Name])>,
    ) -> Result<RootVerdict> {
        let known = self.index.children(file)?;
        let row = self.index.file(file)?;
        let Some(root) = self.root_mut(file) else {
            return Ok(RootVerdict::Go);
        };
        let facts = RootFacts {
            is_directory: found.is_some(),
            same_directory: found.is_some_and(|(stat, _)| {
                row.is_some_and(|row| !row.is_bound() || stat.is_file(row.inode, row.birth))
            }),
            names_now: found.map_or(0, |(_, names)| names.len()),
            names_known: known.len(),
            names_common: found.map_or(0, |(_, names)| {
                known
                    .iter()
                    .filter(|(name, _)| names.binary_search(name).is_ok())
                    .count()
            }),
            accepted: root.accept_empty,
            announced: root.removal_announced,
        };
        let verdict = judge_root(facts);
        if verdict != root.verdict && verdict != RootVerdict::Go {
            let path = root.path.display().to_string();
            tracing::error!(root = %root.name, "{}", verdict.reason(&root.name.to_string(), &path));
        }
        root.verdict = verdict;
        if verdict == RootVerdict::Go {
            (root.accept_empty, root.removal_announced) = (false, false);
        }
        Ok(verdict)
    }

    /// Has a root gone, come back, or become another since it was last judged? Called about once a
    /// second; a root that changed is listed, and judged then.
    pub fn check_roots(&mut self, now: std::time::Instant) -> Result<()> {
        for at in 0..self.roots.len() {
            let (path, verdict) = (self.roots[at].path.clone(), self.roots[at].verdict);
            let found = stat_at(CWD, &path).unwrap_or_default();
            let found = found.filter(|stat| stat.kind == Kind::Directory);
            let Some(file) = self.roots[at].file else {
                self.roots[at].verdict = if found.is_some() {
                    RootVerdict::Go
                } else {
                    RootVerdict::Missing
                };
                continue;
            };
            let Some(row) = self.index.file(file)? else {
                continue;
            };
            let same = found.is_some_and(|stat| stat.is_file(row.inode, row.birth));
            let healed =
                verdict != RootVerdict::Go && (found.is_some() || self.roots[at].accept_empty);
            let vanished = verdict == RootVerdict::Go && row.is_bound() && !same;
            if healed || vanished || (same && self.is_suddenly_empty(file, &path)?) {
                let mark = self.queue.scan_mark(now);
                self.queue.push_listing(row.inode, mark, true, true);
            }
        }
        Ok(())
    }

    fn is_suddenly_empty(&self, file: FileId, path: &Path) -> Result<bool> {
        let Some(root) = self.root(file) else {
            return Ok(false);
        };
        if root.verdict != RootVerdict::Go || root.removal_announced {
            return Ok(false);
        }
        let empty = std::fs::read_dir(path).is_ok_and(|mut names| names.next().is_none());
        Ok(empty && self.index.has_children(file)?)
    }
}

/// A root's directory, opened by its path, read by way of its own `.`: `/` has no parent.
fn root_attributes(path: &Path, stat: &Stat, accounts: &Accounts) -> std::io::Result<Attributes> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let directory = openat(CWD, path, flags, Mode::empty())?;
    read_attributes(directory, OsStr::new("."), stat, accounts)
}

//! Does what a plan says, then reads everything back.
//!
//! A file gets its attributes when its content is complete, directories theirs when everything is in
//! them. So a restore that was killed can be told from the times alone how far it had come.

use std::collections::HashMap;
use std::io;
use std::os::fd::AsFd;
use std::path::PathBuf;

use everwrite_protocol::ids::FileId;
use everwrite_protocol::wire::Kind;
use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::Errno;

use super::content::write_content;
use super::error::RestoreError;
use super::history::{Asked, History};
use super::nodes::{has_attributes, node, open, read_digest, same_file, symlink};
use super::piece::Piece;
use super::place::{Place, Places};
use super::plan::{Action, RestorePlan, Step};
use crate::mirror::{Node, Privileges, Unset, set_attributes};

/// Files whose first pieces are asked for ahead, and how large they may be, bytes.
const AHEAD_FILES: usize = 64;
const AHEAD_BYTES_MAX: u64 = 128 << 10;

/// How far a restore is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Progress {
    /// Paths done.
    pub steps: u64,
    /// Content done, bytes.
    pub bytes: u64,
    /// Files read back and found right.
    pub read_back: u64,
}

/// What a restore did.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Report {
    /// Paths restored, or found as they are to be.
    pub restored: u64,
    /// Paths removed.
    pub removed: u64,
    /// Bytes of content that had to be written.
    pub bytes_written: u64,
    /// What is another than before: made, removed, written to, or with other attributes.
    pub changed: Vec<PathBuf>,
    /// What could not be set, with the cause in words: owner without privilege and the like.
    pub unset: Vec<(PathBuf, String)>,
}

/// Carries out `plan`, telling `progress` now and then.
pub fn carry_out(
    plan: &RestorePlan,
    history: &impl History,
    progress: &mut dyn FnMut(Progress),
) -> Result<Report, RestoreError> {
    let base = plan.base.as_path();
    std::fs::create_dir_all(base).map_err(local("make", base.to_owned()))?;
    plan.marker.as_ref().map_or(Ok(()), |marker| marker.set())?;
    let places = Places::below(base).map_err(local("open", base.to_owned()))?;
    let mut work = Work {
        plan,
        history: Asked(history),
        places,
        first_pieces: HashMap::new(),
        digests: Vec::new(),
        report: Report::default(),
        done: Progress::default(),
        progress,
    };
    work.steps()?;
    work.directories()?;
    work.read_back()?;
    plan.marker
        .as_ref()
        .map_or(Ok(()), |marker| marker.clear())?;
    Ok(work.report)
}

fn local(what: &'static str, path: PathBuf) -> impl FnOnce(io::Error) -> RestoreError {
    move |source| RestoreError::Local { what, path, source }
}

struct Work<'w, H> {
    plan: &'w RestorePlan,
    history: Asked<'w, H>,
    places: Places,
    /// First pieces of small files, asked for ahead.
    first_pieces: HashMap<FileId, Piece>,
    /// Of each file that was written: index of its step, digest of what it must hold.
    digests: Vec<(usize, blake3::Hash)>,
    report: Report,
    done: Progress,
    progress: &'w mut dyn FnMut(Progress),
}

impl<H: History> Work<'_, H> {
    fn steps(&mut self) -> Result<(), RestoreError> {
        for (index, step) in self.plan.steps.iter().enumerate() {
            match step.action {
                Action::Remove => self.remove(step)?,
                Action::Link { first } => self.link(index, step, first)?,
                Action::Create | Action::Update => self.make(index, step)?,
                Action::Replace => {
                    self.clear(step)?;
                    self.make(index, step)?;
                }
            }
            self.done.steps += 1;
            (self.progress)(self.done);
        }
        Ok(())
    }

    fn at<'s>(
        &self,
        what: &'static str,
        step: &'s Step,
    ) -> impl FnOnce(io::Error) -> RestoreError + use<'s, H> {
        local(what, self.plan.local(&step.relative))
    }

    fn place(&mut self, step: &Step) -> Result<Place, RestoreError> {
        let found = self.places.find(&step.relative);
        found.map_err(self.at("reach", step))
    }

    fn clear(&mut self, step: &Step) -> Result<(), RestoreError> {
        let place = self.place(step)?;
        self.places.forget();
        place.remove().map_err(self.at("remove", step))
    }

    /// A directory that somebody has put something into since stays.
    fn remove(&mut self, step: &Step) -> Result<(), RestoreError> {
        let flags = match step.entry.attributes.kind {
            Kind::Directory => AtFlags::REMOVEDIR,
            _ => AtFlags::empty(),
        };
        let place = self.place(step)?;
        match rustix::fs::unlinkat(&*place.directory, place.name.as_slice(), flags) {
            Ok(()) => {
                self.report.removed += 1;
                self.changed(step);
            }
            Err(Errno::NOTEMPTY | Errno::EXIST) => {
                let path = self.plan.local(&step.relative);
                self.report.unset.push((
                    path,
                    "kept: there is something in it that is not stored".to_owned(),
                ));
            }
            Err(Errno::NOENT | Errno::ISDIR | Errno::NOTDIR) => {}
            Err(error) => return Err(self.at("remove", step)(error.into())),
        }
        Ok(())
    }

    /// A file system that has no hard links gets a file of its own.
    fn link(&mut self, index: usize, step: &Step, first: usize) -> Result<(), RestoreError> {
        let from = self.place(&self.plan.steps[first])?;
        let to = self.place(step)?;
        if same_file(&from, &to) {
            self.report.restored += 1;
            return Ok(());
        }
        to.remove().map_err(self.at("remove", step))?;
        let linked = rustix::fs::linkat(
            &*from.directory,
            from.name.as_slice(),
            &*to.directory,
            to.name.as_slice(),
            AtFlags::empty(),
        );
        match linked {
            Ok(()) => {
                self.report.restored += 1;
                self.changed(step);
                Ok(())
            }
            Err(Errno::PERM | Errno::MLINK | Errno::OPNOTSUPP) => {
                let path = self.plan.local(&step.relative);
                self.report
                    .unset
                    .push((path, "hard link: it is a copy".to_owned()));
                self.make(index, step)
            }
            Err(error) => Err(self.at("link", step)(error.into())),
        }
    }

    fn make(&mut self, index: usize, step: &Step) -> Result<(), RestoreError> {
        let place = self.place(step)?;
        let attributes = &step.entry.attributes;
        match attributes.kind {
            Kind::Directory => self.directory(step, &place)?,
            Kind::Regular => return self.regular(index, step, &place),
            Kind::Symlink => symlink(&place, &attributes.target).map_err(self.at("link", step))?,
            kind => match node(&place, kind, attributes.mode, attributes.device_number) {
                Err(Errno::PERM) => {
                    let path = self.plan.local(&step.relative);
                    self.report
                        .unset
                        .push((path, "device nodes need privilege".to_owned()));
                    return Ok(());
                }
                made => made.map_err(|error| self.at("make", step)(error.into()))?,
            },
        }
        self.report.restored += 1;
        match attributes.kind {
            Kind::Directory => Ok(()),
            _ => self.attributes(step, &place),
        }
    }

    fn directory(&mut self, step: &Step, place: &Place) -> Result<(), RestoreError> {
        match rustix::fs::mkdirat(&*place.directory, place.name.as_slice(), Mode::RWXU) {
            Err(Errno::EXIST) => Ok(()),
            made => made.map_err(|error| self.at("make", step)(error.into())),
        }
    }

    fn regular(&mut self, index: usize, step: &Step, place: &Place) -> Result<(), RestoreError> {
        if self.is_done(step, place) {
            self.report.restored += 1;
            self.done.bytes += step.entry.attributes.size;
            return Ok(());
        }
        let file = open(place).map_err(self.at("open", step))?;
        let first = self.first_piece(index, step);
        let (before, total) = (self.done, step.entry.attributes.size);
        let (done, progress) = (&mut self.done, &mut self.progress);
        let mut tell = |bytes: u64| {
            done.bytes = before.bytes + bytes.min(total);
            progress(*done);
        };
        let what = (step.entry.file, self.plan.point.sequence);
        let path = self.plan.local(&step.relative);
        let written = write_content(&self.history, what, first, &file, &mut tell);
        let written = written.map_err(|error| error.at(path))?;
        self.done.bytes = before.bytes + total;
        self.report.bytes_written += written.bytes;
        self.report.restored += 1;
        self.digests.push((index, written.digest));
        if written.changed {
            self.changed(step);
        }
        self.attributes(step, place)
    }

    /// The first piece of a small file; asks for those of the files that come next as well.
    fn first_piece(&mut self, index: usize, step: &Step) -> Option<Piece> {
        let small = |step: &&Step| {
            let attributes = &step.entry.attributes;
            let written = !matches!(step.action, Action::Link { .. } | Action::Remove);
            written && attributes.kind == Kind::Regular && attributes.size <= AHEAD_BYTES_MAX
        };
        if small(&step) && !self.first_pieces.contains_key(&step.entry.file) {
            let next = self.plan.steps[index..]
                .iter()
                .filter(small)
                .take(AHEAD_FILES);
            let files: Vec<_> = next.map(|step| step.entry.file).collect();
            self.first_pieces = self.history.read_first(&files, self.plan.point.sequence);
        }
        self.first_pieces.remove(&step.entry.file)
    }

    /// A restore that goes on: the file has its attributes, so it has its content.
    fn is_done(&self, step: &Step, place: &Place) -> bool {
        let resumed = self
            .plan
            .marker
            .as_ref()
            .is_some_and(|marker| marker.resumed);
        resumed && has_attributes(place, &step.entry.attributes)
    }

    fn changed(&mut self, step: &Step) {
        let path = self.plan.local(&step.relative);
        if self.report.changed.last() != Some(&path) {
            self.report.changed.push(path);
        }
    }

    /// Sets them, exactly as they were; privileges decide what is left unset.
    fn attributes(&mut self, step: &Step, place: &Place) -> Result<(), RestoreError> {
        if has_attributes(place, &step.entry.attributes) {
            return Ok(());
        }
        self.changed(step);
        let node = place
            .node()
            .map_err(|error| self.at("open", step)(error.into()))?;
        let mut unset = Unset::default();
        let exact = Privileges { root: true };
        let set = set_attributes(
            Node::Path(node.as_fd()),
            &step.entry.attributes,
            exact,
            &mut unset,
        );
        set.map_err(self.at("set the attributes of", step))?;
        if let Some(what) = unset.told() {
            self.report
                .unset
                .push((self.plan.local(&step.relative), what));
        }
        Ok(())
    }

    /// Directories' attributes, deepest first: whatever is put into one changes its times, and a mode
    /// without the right to write keeps everything out.
    fn directories(&mut self) -> Result<(), RestoreError> {
        let made = |step: &&Step| {
            step.entry.attributes.kind == Kind::Directory && step.action != Action::Remove
        };
        for step in self.plan.steps.iter().rev().filter(made) {
            let place = self.place(step)?;
            self.attributes(step, &place)?;
        }
        Ok(())
    }

    /// From the disk, as far as the kernel can be brought to it.
    fn read_back(&mut self) -> Result<(), RestoreError> {
        let base = self.plan.base.clone();
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let directory = rustix::fs::open(&base, flags, Mode::empty());
        let synced = directory.and_then(rustix::fs::syncfs);
        synced.map_err(|error| local("sync", base)(error.into()))?;
        for (index, expected) in std::mem::take(&mut self.digests) {
            let step = &self.plan.steps[index];
            let place = self.place(step)?;
            let found = read_digest(&place);
            match found.map_err(self.at("read back", step))? {
                Some(found) if found != expected => {
                    return Err(RestoreError::ReadBack {
                        path: self.plan.local(&step.relative),
                    });
                }
                _ => self.done.read_back += 1,
            }
            (self.progress)(self.done);
        }
        Ok(())
    }
}

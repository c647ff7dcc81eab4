//! Does what a plan says, then reads everything back.
//!
//! A file gets its attributes when its content is complete, directories theirs when everything is in
//! them. So a restore that was killed can be told from the times alone how far it had come.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::path::PathBuf;

use everwrite_protocol::wire::Kind;
use rustix::fs::{AtFlags, FileType, Mode, OFlags};
use rustix::io::Errno;

use super::content::write_content;
use super::digest;
use super::error::RestoreError;
use super::history::{Asked, History};
use super::place::{Place, Places};
use super::plan::{Action, RestorePlan, Step};
use crate::mirror::{Node, Privileges, Unset, open_file, read_attributes, set_attributes};

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
            Ok(()) => self.report.removed += 1,
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
        let (before, total) = (self.done, step.entry.attributes.size);
        let (done, progress) = (&mut self.done, &mut self.progress);
        let mut tell = |bytes: u64| {
            done.bytes = before.bytes + bytes.min(total);
            progress(*done);
        };
        let path = self.plan.local(&step.relative);
        let written = write_content(
            &self.history,
            step.entry.file,
            self.plan.point.sequence,
            &file,
            &mut tell,
        );
        let written = written.map_err(|error| error.at(path))?;
        self.done.bytes = before.bytes + total;
        self.report.bytes_written += written.bytes;
        self.report.restored += 1;
        self.digests.push((index, written.digest));
        self.attributes(step, place)
    }

    /// A restore that goes on: the file has its attributes, so it has its content.
    fn is_done(&self, step: &Step, place: &Place) -> bool {
        let resumed = self
            .plan
            .marker
            .as_ref()
            .is_some_and(|marker| marker.resumed);
        let attributes = &step.entry.attributes;
        let found = || {
            let node = place.node().ok()?;
            read_attributes(Node::Path(node.as_fd()), vec![]).ok()
        };
        resumed
            && found().is_some_and(|found| {
                let same = (found.size, found.modified) == (attributes.size, attributes.modified);
                same && found.mode == attributes.mode
            })
    }

    /// Sets them, exactly as they were; privileges decide what is left unset.
    fn attributes(&mut self, step: &Step, place: &Place) -> Result<(), RestoreError> {
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

/// `None`: its mode does not let us read it.
fn read_digest(place: &Place) -> io::Result<Option<blake3::Hash>> {
    let file = match open_file(place.directory.as_fd(), &place.name, OFlags::RDONLY) {
        Err(Errno::ACCESS | Errno::PERM) => return Ok(None),
        file => file?,
    };
    // Advice: without it the page cache would answer for the disk.
    let _ = rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed);
    digest::of_file(&file).map(Some)
}

fn same_file(one: &Place, other: &Place) -> bool {
    let identity = |place: &Place| {
        let stat = rustix::fs::fstat(place.node().ok()?).ok()?;
        Some((stat.st_dev, stat.st_ino))
    };
    identity(one).is_some_and(|found| identity(other) == Some(found))
}

/// What is there, or a new one. One that may not be written is replaced: it is about to be another
/// anyway.
fn open(place: &Place) -> io::Result<File> {
    let open =
        |flags: OFlags| open_file(place.directory.as_fd(), &place.name, OFlags::RDWR | flags);
    match open(OFlags::CREATE) {
        Err(Errno::ACCESS | Errno::TXTBSY) => {
            place.remove()?;
            Ok(open(OFlags::CREATE | OFlags::EXCL)?)
        }
        file => Ok(file?),
    }
}

fn symlink(place: &Place, target: &[u8]) -> io::Result<()> {
    let there = rustix::fs::readlinkat(&*place.directory, place.name.as_slice(), Vec::new());
    if there.is_ok_and(|there| there.to_bytes() == target) {
        return Ok(());
    }
    place.remove()?;
    Ok(rustix::fs::symlinkat(
        target,
        &*place.directory,
        place.name.as_slice(),
    )?)
}

fn node(place: &Place, kind: Kind, mode: u32, device_number: u64) -> Result<(), Errno> {
    let kind = match kind {
        Kind::Fifo => FileType::Fifo,
        Kind::Socket => FileType::Socket,
        Kind::CharacterDevice => FileType::CharacterDevice,
        _ => FileType::BlockDevice,
    };
    if is_node(place, kind, device_number) {
        return Ok(());
    }
    place
        .remove()
        .map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?;
    let mode = Mode::from_raw_mode(mode & 0o600);
    rustix::fs::mknodat(
        &*place.directory,
        place.name.as_slice(),
        kind,
        mode,
        device_number,
    )
}

fn is_node(place: &Place, kind: FileType, device_number: u64) -> bool {
    let stat = place
        .node()
        .ok()
        .and_then(|node| rustix::fs::fstat(node).ok());
    stat.is_some_and(|stat| {
        FileType::from_raw_mode(stat.st_mode) == kind && stat.st_rdev == device_number
    })
}

//! Carries a plan out on the mirror.
//!
//! Errors of one file that trying again won't mend (a name too long for this file system, a file too
//! large, no right to make a device) are noted with the file and passed over; the catalog has the
//! truth, and the history is whole. Errors of the disk end the attempt; the window is done again.

mod detach;
mod file;
mod sync;

use std::io;
use std::path::PathBuf;

use everwrite_protocol::ids::FileId;
use rustix::fs::Mode;
use rustix::io::Errno;

use super::plan::Plan;
use super::plan::content::{Piece, Place};
use super::plan::steps::{FileStep, Homes};
use crate::catalog::CatalogRead;
use crate::log::content::LogContent;
use crate::mirror::{
    Directories, Node, Privileges, SourceDirectory, Unset, open_node, set_attributes, set_modified,
    write_at,
};
use crate::store::StoreError;
use std::os::fd::AsFd;
use sync::Sync;

/// What the mirror could not take, by file; `None`: it could take everything.
pub(super) type UnsetFiles = Vec<(FileId, Option<String>)>;

/// Carries out one plan.
pub(super) struct Carrier<'p> {
    base: &'p SourceDirectory,
    plan: &'p Plan,
    /// The catalog before the plan.
    read: &'p CatalogRead<'p>,
    content: &'p mut LogContent,
    privileges: Privileges,
    before: Directories<'p, Homes>,
    after: Directories<'p, Homes>,
    sync: Sync,
    unset: UnsetFiles,
}

/// Why a step failed.
#[derive(Debug)]
enum StepError {
    /// The disk, or the file system's limits.
    Io(io::Error),
    /// The log or the catalog.
    Store(StoreError),
}

impl From<io::Error> for StepError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<Errno> for StepError {
    fn from(error: Errno) -> Self {
        Self::Io(error.into())
    }
}

impl From<StoreError> for StepError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl<'p> Carrier<'p> {
    pub(super) fn new(
        base: &'p SourceDirectory,
        plan: &'p Plan,
        read: &'p CatalogRead<'p>,
        content: &'p mut LogContent,
        privileges: Privileges,
    ) -> Self {
        let steps = &plan.steps;
        let count =
            steps.builds.len() + steps.detaches.len() + steps.directories.len() + steps.files.len();
        Self {
            base,
            plan,
            read,
            content,
            privileges,
            before: Directories::new(base, &steps.homes_before, false),
            after: Directories::new(base, &steps.homes_after, true),
            sync: Sync::for_steps(count),
            unset: Vec::new(),
        }
    }

    /// P2 to P5.
    pub(super) fn finish(mut self) -> Result<UnsetFiles, StoreError> {
        for step in &self.plan.steps.directories {
            self.one(step, "place the directory", Self::place_directory)?;
        }
        for step in &self.plan.steps.files {
            self.one(step, "write the file", Self::file)?;
        }
        for step in &self.plan.steps.directories {
            self.one(
                step,
                "set the directory's attributes",
                Self::directory_attributes,
            )?;
        }
        self.directory_times()?;
        self.sync.finish(self.base)?;
        Ok(self.unset)
    }

    /// Does a step of one file; what can't be mended is noted.
    fn one(
        &mut self,
        step: &FileStep,
        action: &'static str,
        act: impl FnOnce(&mut Self, &FileStep, &mut Unset) -> Result<(), StepError>,
    ) -> Result<(), StoreError> {
        let mut unset = Unset::default();
        match act(self, step, &mut unset) {
            Ok(()) => {}
            Err(StepError::Io(error)) if is_lasting(&error) => {
                unset.add(format!("can't {action} in the mirror: {error}"));
            }
            Err(error) => return Err(named(error, action, step.file)),
        }
        let told = unset.told();
        if told.is_some() || step.set_attributes {
            self.unset.push((step.file, told));
        }
        Ok(())
    }

    fn directory_attributes(
        &mut self,
        step: &FileStep,
        unset: &mut Unset,
    ) -> Result<(), StepError> {
        if !step.set_attributes {
            return Ok(());
        }
        let spot = self.after.spot(step.file, &step.home)?;
        let node = match open_node(spot.directory.as_fd(), &spot.name) {
            Err(Errno::NOENT) => {
                rustix::fs::mkdirat(&*spot.directory, &spot.name[..], Mode::RWXU)?;
                open_node(spot.directory.as_fd(), &spot.name)?
            }
            node => node?,
        };
        set_attributes(
            Node::Path(node.as_fd()),
            &step.attributes,
            self.privileges,
            unset,
        )?;
        self.sync.node(&spot)?;
        Ok(())
    }

    fn directory_times(&mut self) -> Result<(), StoreError> {
        for (file, attributes) in &self.plan.steps.stirred {
            let done = self.after.open(*file).and_then(|directory| {
                let node = Node::Path(directory.as_fd());
                set_modified(node, attributes, &mut Unset::default())?;
                self.sync.directory(&directory)
            });
            match done {
                Err(error) if is_lasting(&error) => {
                    tracing::error!(file = file.0, %error, "can't set a directory's time in the mirror");
                }
                done => {
                    done.map_err(|error| named(error.into(), "set the directory's time", *file))?;
                }
            }
        }
        Ok(())
    }

    /// Writes a piece that is in the log.
    fn write_piece(&mut self, file: &std::fs::File, piece: &Piece) -> Result<(), StepError> {
        if let Place::Log(frame, inner) = piece.place {
            let bytes = self.content.read(frame, inner, piece.length as u32)?;
            write_at(file, bytes, piece.offset)?;
        }
        Ok(())
    }
}

fn named(error: StepError, action: &'static str, file: FileId) -> StoreError {
    match error {
        StepError::Store(error) => error,
        StepError::Io(source) => {
            let path = PathBuf::from(format!("mirror file {}", file.0));
            StoreError::Io {
                action,
                path,
                source,
            }
        }
    }
}

/// Trying again would not help, however well the disk is.
fn is_lasting(error: &io::Error) -> bool {
    let lasting = [
        Errno::FBIG,
        Errno::NAMETOOLONG,
        Errno::INVAL,
        Errno::ILSEQ,
        Errno::MLINK,
        Errno::PERM,
        Errno::ACCESS,
        Errno::OPNOTSUPP,
        Errno::LOOP,
        Errno::XDEV,
        Errno::ISDIR,
        Errno::NOTDIR,
        Errno::EXIST,
        Errno::NOTEMPTY,
    ];
    error
        .raw_os_error()
        .is_some_and(|code| lasting.contains(&Errno::from_raw_os_error(code)))
}

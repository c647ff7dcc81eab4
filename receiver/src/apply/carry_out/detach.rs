//! P0 and P1: what has to be done before anything new is put into place.

use std::fs::File;
use std::os::fd::AsFd;

use everwrite_protocol::ids::FileId;
use rustix::fs::{AtFlags, OFlags};
use rustix::io::Errno;

use super::super::plan::content::{ContentBefore, Piece, Place};
use super::super::plan::steps::{Build, Detach, Fate, Home};
use super::{Carrier, StepError, is_lasting, named};
use crate::mirror::{Spot, copy_range, is_absent, open_file};
use crate::store::StoreError;

impl Carrier<'_> {
    /// P0; durable when it returns. Tells whether there was anything that must not be done again: the
    /// files that it is made from may be gone or changed as soon as P1 begins.
    pub(in super::super) fn build(&mut self) -> Result<bool, StoreError> {
        for build in &self.plan.steps.builds {
            self.build_one(build)
                .map_err(|error| named(error, "build the file in staging", build.file))?;
        }
        let built = !self.plan.steps.builds.is_empty();
        if built {
            self.sync.finish(self.base)?;
        }
        Ok(built)
    }

    fn build_one(&mut self, build: &Build) -> Result<(), StepError> {
        let spot = self.before.spot(build.file, &Home::Staging)?;
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::TRUNC;
        let file = open_file(spot.directory.as_fd(), &spot.name, flags)?;
        file.set_len(build.content.size)?;
        for piece in &build.content.pieces {
            match piece.place {
                Place::Before(from, offset) => self.copy(from, offset, &file, piece)?,
                Place::Log(..) | Place::Zeros => self.write_piece(&file, piece)?,
            }
        }
        self.sync.file(&file)?;
        Ok(self.sync.directory(&*spot.directory)?)
    }

    fn copy(
        &mut self,
        from: FileId,
        offset: u64,
        file: &File,
        piece: &Piece,
    ) -> Result<(), StepError> {
        let source = self.before.find(from).and_then(|spot| {
            Ok(open_file(
                spot.directory.as_fd(),
                &spot.name,
                OFlags::RDONLY,
            )?)
        });
        match source {
            Ok(source) => Ok(copy_range(
                &source,
                offset,
                file,
                piece.offset,
                piece.length,
            )?),
            Err(error) if is_absent(&error) => {
                tracing::error!(
                    file = from.0,
                    "a file of the mirror is missing; its bytes are taken from the log as far as it has them (did something else change the mirror?)"
                );
                for there in self.read.pieces(from, offset..offset + piece.length)? {
                    let offset = piece.offset + (there.offset - offset);
                    self.write_piece(file, &Piece { offset, ..there })?;
                }
                Ok(())
            }
            Err(error) => Err(error.into()),
        }
    }

    /// P1; durable when it returns. Tells whether there was anything that must not be done again.
    pub(in super::super) fn detach(&mut self) -> Result<bool, StoreError> {
        let steps = &self.plan.steps;
        if steps.detaches.is_empty() {
            return Ok(false);
        }
        for step in &steps.detaches {
            match self.detach_one(step) {
                Err(StepError::Io(error)) if is_lasting(&error) => {
                    tracing::error!(file = step.file.0, %error, "can't take a name out of the mirror");
                }
                done => done.map_err(|error| named(error, "take the name away", step.file))?,
            }
        }
        self.sync.finish(self.base)?;
        Ok(true)
    }

    fn detach_one(&mut self, step: &Detach) -> Result<(), StepError> {
        let from = match self.before.spot(step.file, &step.from) {
            Ok(from) => from,
            // Its directory has moved on already: so has the name.
            Err(error) if is_absent(&error) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        let done = match step.fate {
            Fate::Unlink => {
                rustix::fs::unlinkat(&*from.directory, &from.name[..], AtFlags::empty())
            }
            Fate::RemoveDirectory => {
                match rustix::fs::unlinkat(&*from.directory, &from.name[..], AtFlags::REMOVEDIR) {
                    // Something that we don't know lies in it: kept, not destroyed.
                    Err(Errno::NOTEMPTY) => return self.carry(step.file, &from, &Home::Object),
                    done => done,
                }
            }
            Fate::Staging => return self.carry(step.file, &from, &Home::Staging),
            Fate::Object => return self.carry(step.file, &from, &Home::Object),
        };
        match done {
            Ok(()) | Err(Errno::NOENT) => Ok(self.sync.directory(&*from.directory)?),
            Err(error) => Err(error.into()),
        }
    }

    fn carry(&mut self, file: FileId, from: &Spot, to: &Home) -> Result<(), StepError> {
        let to = self.before.spot(file, to)?;
        match rustix::fs::renameat(
            &*from.directory,
            &from.name[..],
            &*to.directory,
            &to.name[..],
        ) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(error) => return Err(error.into()),
        }
        self.sync.directory(&*from.directory)?;
        Ok(self.sync.directory(&*to.directory)?)
    }
}

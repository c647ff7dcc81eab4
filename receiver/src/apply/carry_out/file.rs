//! P2 to P4 of one file: it gets to its place, gets its content, its attributes, its further names.

use std::fs::File;
use std::os::fd::AsFd;

use everwrite_protocol::wire::{Attributes, Kind};
use rustix::fs::{AtFlags, FileType, Mode, OFlags};
use rustix::io::Errno;

use super::super::plan::before::Before;
use super::super::plan::content::{ContentBefore, Piece, Place};
use super::super::plan::steps::{Arrive, ContentStep, FileStep, Home};
use super::{Carrier, StepError};
use crate::mirror::{
    Node, Spot, Unset, open_directory, open_file, open_node, punch, set_attributes,
};

impl Carrier<'_> {
    pub(super) fn place_directory(
        &mut self,
        step: &FileStep,
        _: &mut Unset,
    ) -> Result<(), StepError> {
        if step.arrive == Arrive::Stay {
            return Ok(());
        }
        let spot = self.after.spot(step.file, &step.home)?;
        if step.arrive == Arrive::FromStaging {
            self.leave_staging(step, &spot)?;
        }
        // Made now, or made before a crash, or lost by someone's meddling.
        match rustix::fs::mkdirat(&*spot.directory, &spot.name[..], Mode::RWXU) {
            Ok(()) => {}
            Err(Errno::EXIST) => drop(open_directory(spot.directory.as_fd(), &spot.name)?),
            Err(error) => return Err(error.into()),
        }
        Ok(self.sync.directory(&*spot.directory)?)
    }

    pub(super) fn file(&mut self, step: &FileStep, unset: &mut Unset) -> Result<(), StepError> {
        let spot = self.after.spot(step.file, &step.home)?;
        if step.arrive == Arrive::FromStaging {
            self.leave_staging(step, &spot)?;
        }
        // Its name being all that changes, it is not even looked at.
        let untouched = step.arrive == Arrive::Stay
            && step.content == ContentStep::None
            && !step.set_attributes
            && step.links.is_empty();
        let there = match step.attributes.kind {
            _ if untouched => return Ok(()),
            Kind::Regular => self.regular(step, &spot, unset)?,
            _ => self.special(step, &spot, unset)?,
        };
        if !there {
            return Ok(());
        }
        if step.arrive != Arrive::Stay {
            self.sync.directory(&*spot.directory)?;
        }
        for (parent, name) in &step.links {
            self.link(&spot, step, &Home::In(*parent, name.clone()))?;
        }
        Ok(())
    }

    /// Missing in staging means that it came from there before a crash.
    fn leave_staging(&mut self, step: &FileStep, spot: &Spot) -> Result<(), StepError> {
        let staged = self.after.spot(step.file, &Home::Staging)?;
        let (from, to) = (&*staged.directory, &*spot.directory);
        match rustix::fs::renameat(from, &staged.name[..], to, &spot.name[..]) {
            Ok(()) => Ok(self.sync.directory(from)?),
            Err(Errno::NOENT) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    fn regular(
        &mut self,
        step: &FileStep,
        spot: &Spot,
        unset: &mut Unset,
    ) -> Result<bool, StepError> {
        let file = match step.arrive {
            Arrive::Create => {
                let flags = OFlags::RDWR | OFlags::CREATE | OFlags::TRUNC;
                open_file(spot.directory.as_fd(), &spot.name, flags)?
            }
            Arrive::FromStaging | Arrive::Stay => self.open_or_remake(step, spot)?,
        };
        self.content(&file, step)?;
        if step.set_attributes {
            set_attributes(Node::from(&file), &step.attributes, self.privileges, unset)?;
        }
        self.sync.file(&file)?;
        Ok(true)
    }

    /// A file that is missing from the mirror, or has a size that we never gave it, is made anew from
    /// what the log has of it.
    fn open_or_remake(&mut self, step: &FileStep, spot: &Spot) -> Result<File, StepError> {
        match open_file(spot.directory.as_fd(), &spot.name, OFlags::RDWR) {
            Ok(file) if self.is_ours(&file, step)? => return Ok(file),
            Ok(_) | Err(Errno::NOENT) => {}
            Err(error) => return Err(error.into()),
        }
        tracing::error!(
            file = step.file.0,
            "a file of the mirror is missing or cut; made it anew from the log (did something else change the mirror?)"
        );
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::TRUNC;
        let file = open_file(spot.directory.as_fd(), &spot.name, flags)?;
        let size = self.size_before(step)?;
        for piece in self.read.pieces(step.file, 0..size)? {
            self.write_piece(&file, &piece)?;
        }
        file.set_len(size)?;
        let unset = &mut Unset::default();
        set_attributes(Node::from(&file), &step.attributes, self.privileges, unset)?;
        Ok(file)
    }

    fn size_before(&self, step: &FileStep) -> Result<u64, StepError> {
        let before = self.read.file(step.file)?;
        Ok(before.map_or(step.attributes.size, |before| before.attributes.size))
    }

    /// Has the file a size that it can have before, during and after its step?
    fn is_ours(&self, file: &File, step: &FileStep) -> Result<bool, StepError> {
        let size = file.metadata()?.len();
        let cut = match step.content {
            ContentStep::Patch { low_water, .. } => low_water,
            ContentStep::None | ContentStep::Whole(_) => step.attributes.size,
        };
        Ok(size == step.attributes.size || size == cut || size == self.size_before(step)?)
    }

    fn content(&mut self, file: &File, step: &FileStep) -> Result<(), StepError> {
        match &step.content {
            ContentStep::None => Ok(()),
            ContentStep::Whole(whole) => {
                whole
                    .pieces
                    .iter()
                    .try_for_each(|piece| self.write_piece(file, piece))?;
                let end = whole
                    .pieces
                    .last()
                    .map_or(0, |piece| piece.offset + piece.length);
                if end < whole.size {
                    file.set_len(whole.size)?;
                }
                Ok(())
            }
            ContentStep::Patch {
                low_water,
                size,
                pieces,
            } => self.patch(file, *low_water, *size, pieces),
        }
    }

    fn patch(
        &mut self,
        file: &File,
        low_water: u64,
        size: u64,
        pieces: &[Piece],
    ) -> Result<(), StepError> {
        let mut now = file.metadata()?.len();
        if low_water < now {
            file.set_len(low_water)?;
            now = low_water;
        }
        if now != size {
            file.set_len(size)?;
        }
        for piece in pieces {
            match piece.place {
                // Beyond what was there before it is zeros already.
                Place::Zeros => punch(file, piece.offset..(piece.offset + piece.length).min(now))?,
                _ => self.write_piece(file, piece)?,
            }
        }
        Ok(())
    }

    /// Tells whether the node is there: an unprivileged receiver can't make devices.
    fn special(
        &mut self,
        step: &FileStep,
        spot: &Spot,
        unset: &mut Unset,
    ) -> Result<bool, StepError> {
        let directory = spot.directory.as_fd();
        if step.arrive == Arrive::Create {
            match rustix::fs::unlinkat(directory, &spot.name[..], AtFlags::empty()) {
                Ok(()) | Err(Errno::NOENT) => {}
                Err(error) => return Err(error.into()),
            }
        }
        let node = match open_node(directory, &spot.name) {
            Err(Errno::NOENT) => match make_special(spot, &step.attributes) {
                Err(Errno::PERM) => {
                    unset.add("the device node itself");
                    return Ok(false);
                }
                made => {
                    made?;
                    open_node(directory, &spot.name)?
                }
            },
            node => node?,
        };
        let node = Node::Path(node.as_fd());
        set_attributes(node, &step.attributes, self.privileges, unset)?;
        Ok(true)
    }

    fn link(&mut self, spot: &Spot, step: &FileStep, to: &Home) -> Result<(), StepError> {
        let to = self.after.spot(step.file, to)?;
        let link = || {
            let (from, into) = (&*spot.directory, &*to.directory);
            rustix::fs::linkat(from, &spot.name[..], into, &to.name[..], AtFlags::empty())
        };
        match link() {
            Err(Errno::EXIST) if !same_file(spot, &to)? => {
                rustix::fs::unlinkat(&*to.directory, &to.name[..], AtFlags::empty())?;
                link()?;
            }
            Ok(()) | Err(Errno::EXIST) => {}
            Err(error) => return Err(error.into()),
        }
        Ok(self.sync.directory(&*to.directory)?)
    }
}

fn same_file(one: &Spot, other: &Spot) -> Result<bool, StepError> {
    let stat = |spot: &Spot| {
        rustix::fs::statat(&*spot.directory, &spot.name[..], AtFlags::SYMLINK_NOFOLLOW)
    };
    let (one, other) = (stat(one)?, stat(other)?);
    Ok((one.st_dev, one.st_ino) == (other.st_dev, other.st_ino))
}

fn make_special(spot: &Spot, attributes: &Attributes) -> Result<(), Errno> {
    let make = |kind, device| {
        let mode = Mode::RUSR | Mode::WUSR;
        rustix::fs::mknodat(&*spot.directory, &spot.name[..], kind, mode, device)
    };
    match attributes.kind {
        Kind::Symlink => {
            rustix::fs::symlinkat(&attributes.target[..], &*spot.directory, &spot.name[..])
        }
        Kind::Fifo => make(FileType::Fifo, 0),
        Kind::Socket => make(FileType::Socket, 0),
        Kind::CharacterDevice => make(FileType::CharacterDevice, attributes.device_number),
        Kind::BlockDevice => make(FileType::BlockDevice, attributes.device_number),
        Kind::Regular | Kind::Directory => Err(Errno::INVAL),
    }
}

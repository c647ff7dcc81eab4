//! P2 to P4 of one file: it gets to its place, gets its content, its attributes, its further names.

use std::fs::File;
use std::os::fd::AsFd;

use everwrite_protocol::wire::{Attributes, Kind};
use rustix::fs::{AtFlags, FileType, Mode, OFlags};
use rustix::io::Errno;

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
        match step.attributes.kind {
            Kind::Regular => self.regular(step, &spot, unset)?,
            _ => self.special(step, &spot, unset)?,
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
    ) -> Result<(), StepError> {
        let untouched = step.arrive == Arrive::Stay && step.content == ContentStep::None;
        if untouched && !step.set_attributes {
            return Ok(());
        }
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
        Ok(self.sync.file(&file)?)
    }

    /// A file that is missing from the mirror is made anew from what the log has of it.
    fn open_or_remake(&mut self, step: &FileStep, spot: &Spot) -> Result<File, StepError> {
        match open_file(spot.directory.as_fd(), &spot.name, OFlags::RDWR) {
            Err(Errno::NOENT) => {}
            opened => return Ok(opened?),
        }
        tracing::error!(
            file = step.file.0,
            "a file of the mirror is missing; made it anew from the log (did something else change the mirror?)"
        );
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL;
        let file = open_file(spot.directory.as_fd(), &spot.name, flags)?;
        for piece in self.read.pieces(step.file, 0..step.attributes.size)? {
            self.write_piece(&file, &piece)?;
        }
        file.set_len(step.attributes.size)?;
        set_attributes(
            Node::from(&file),
            &step.attributes,
            self.privileges,
            &mut Unset::default(),
        )?;
        Ok(file)
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

    fn special(
        &mut self,
        step: &FileStep,
        spot: &Spot,
        unset: &mut Unset,
    ) -> Result<(), StepError> {
        if step.arrive == Arrive::Stay && !step.set_attributes {
            return Ok(());
        }
        let node = match open_node(spot.directory.as_fd(), &spot.name) {
            Ok(_) if step.arrive == Arrive::Create => {
                rustix::fs::unlinkat(&*spot.directory, &spot.name[..], AtFlags::empty())?;
                None
            }
            Ok(node) => Some(node),
            Err(Errno::NOENT) => None,
            Err(error) => return Err(error.into()),
        };
        let node = match node {
            Some(node) => node,
            None => match make_special(spot, &step.attributes) {
                Err(Errno::PERM) => {
                    unset.add("the device node itself");
                    return Ok(());
                }
                made => {
                    made?;
                    open_node(spot.directory.as_fd(), &spot.name)?
                }
            },
        };
        Ok(set_attributes(
            Node::Path(node.as_fd()),
            &step.attributes,
            self.privileges,
            unset,
        )?)
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

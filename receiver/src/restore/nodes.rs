//! Single files at the destination: made, compared, read back.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;

use everwrite_protocol::wire::{Attributes, Kind};
use rustix::fs::{FileType, Mode, OFlags};
use rustix::io::Errno;

use super::digest;
use super::place::Place;
use crate::mirror::{Node, open_file, read_attributes};

/// Whether everything but content and the names of owners is as it is to be.
pub(super) fn has_attributes(place: &Place, wanted: &Attributes) -> bool {
    let found = place
        .node()
        .ok()
        .and_then(|node| read_attributes(Node::Path(node.as_fd()), wanted.target.clone()).ok());
    found.is_some_and(|found| {
        let user = wanted.user.clone();
        let group = wanted.group.clone();
        Attributes {
            user,
            group,
            ..found
        } == *wanted
    })
}

/// `None`: its mode does not let us read it.
pub(super) fn read_digest(place: &Place) -> io::Result<Option<blake3::Hash>> {
    let file = match open_file(place.directory.as_fd(), &place.name, OFlags::RDONLY) {
        Err(Errno::ACCESS | Errno::PERM) => return Ok(None),
        file => file?,
    };
    // Advice: without it the page cache would answer for the disk.
    let _ = rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed);
    digest::of_file(&file).map(Some)
}

pub(super) fn same_file(one: &Place, other: &Place) -> bool {
    let identity = |place: &Place| {
        let stat = rustix::fs::fstat(place.node().ok()?).ok()?;
        Some((stat.st_dev, stat.st_ino))
    };
    identity(one).is_some_and(|found| identity(other) == Some(found))
}

/// What is there, or a new one. One that may not be written is replaced: it is about to be another
/// anyway.
pub(super) fn open(place: &Place) -> io::Result<File> {
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

pub(super) fn symlink(place: &Place, target: &[u8]) -> io::Result<()> {
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

pub(super) fn node(place: &Place, kind: Kind, mode: u32, device_number: u64) -> Result<(), Errno> {
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

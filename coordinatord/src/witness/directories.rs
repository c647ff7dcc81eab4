//! From the handles that fanotify tells to inodes, and whether they lie below a root.

use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use everwrite_protocol::local::Inode;
use rustix::fs::{Mode, OFlags, openat};
use rustix::io::Errno;

use super::area::Area;
use super::handle::{self, open};
use super::record::Handle;
use crate::look::{Stat, stat_descriptor};

/// Directories remembered; all are forgotten when there are more.
const KNOWN_MAX: usize = 1 << 16;
/// Deeper than any path that a program could name.
const DEPTH_MAX: usize = 4096;

/// A directory below a root, as it is seen there: one that overlayfs writes into is seen in the overlay, and
/// maybe as itself, too.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct View {
    /// Place of the area in the list of areas.
    pub(super) area: usize,
    /// The directory.
    pub(super) directory: Inode,
}

/// What is known of directories, until one is moved.
#[derive(Default)]
pub(super) struct Directories {
    known: HashMap<Handle, Vec<View>>,
}

impl Directories {
    /// Directories were moved, or other roots are watched.
    pub(super) fn forget(&mut self) {
        self.known.clear();
    }

    /// Which directory it is, wherever it lies below a root (or is one). An error means that this could not be
    /// found out, and is not remembered.
    pub(super) fn views(&mut self, handle: &Handle, areas: &[Area]) -> io::Result<Vec<View>> {
        if let Some(known) = self.known.get(handle) {
            return Ok(known.clone());
        }
        let (mut views, mut is_there, mut is_itself) = (Vec::new(), false, false);
        for (number, area) in on_file_system(handle, areas) {
            if is_itself && !area.is_shown_elsewhere() {
                continue;
            }
            let Some(directory) = open(area.as_fd(), handle)? else {
                continue;
            };
            is_there = true;
            if is_below(directory.as_fd(), area)?
                && let Some(seen) = area.seen(directory.as_fd())?
            {
                is_itself |= !area.is_shown_elsewhere();
                views.push(View {
                    area: number,
                    directory: seen.inode,
                });
            }
        }
        if is_there {
            self.remember(handle, &views);
        }
        Ok(views)
    }

    fn remember(&mut self, handle: &Handle, views: &[View]) {
        if self.known.len() >= KNOWN_MAX {
            self.forget();
        }
        self.known.insert(handle.clone(), views.to_vec());
    }
}

/// The file itself, open without any right to it, and what it looks like in the area; `None` when it is gone.
pub(super) fn file(handle: &Handle, area: &Area) -> io::Result<Option<(OwnedFd, Stat)>> {
    let Some(file) = open(area.as_fd(), handle)? else {
        return Ok(None);
    };
    let seen = area.seen(file.as_fd())?;
    Ok(seen.map(|stat| (file, stat)))
}

/// Areas through which handles of that file system can be opened.
fn on_file_system<'a>(
    handle: &Handle,
    areas: &'a [Area],
) -> impl Iterator<Item = (usize, &'a Area)> {
    let file_system = handle.file_system;
    let is_on = move |area: &&Area| area.file_system == file_system;
    areas
        .iter()
        .enumerate()
        .filter(move |(_, area)| is_on(area))
}

/// Can the handles of that file system be opened? Not without the right to.
pub(super) fn can_be_opened(area: &Area) -> io::Result<()> {
    match open(area.as_fd(), &handle::of(area.as_fd())?)? {
        Some(_) => Ok(()),
        None => Err(io::Error::from_raw_os_error(libc::ESTALE)),
    }
}

/// Climbs until it meets the area's directory or the top.
pub(super) fn is_below(directory: BorrowedFd<'_>, area: &Area) -> io::Result<bool> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let mut here = stat_descriptor(directory)?.inode;
    let mut above = openat(directory, "..", flags, Mode::empty());
    for _ in 0..DEPTH_MAX {
        if area.inode == here {
            return Ok(true);
        }
        let parent = match above {
            Ok(parent) => parent,
            // Removed meanwhile, or not in this mount.
            Err(Errno::NOENT) => return Ok(false),
            Err(error) => return Err(error.into()),
        };
        let there = stat_descriptor(&parent)?.inode;
        if there == here {
            return Ok(false);
        }
        here = there;
        above = openat(&parent, "..", flags, Mode::empty());
    }
    Ok(false)
}

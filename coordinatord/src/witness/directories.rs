//! From the handles that fanotify tells to inodes, and whether they lie below a root.

use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::time::Duration;

use everwrite_protocol::local::Inode;
use rustix::fs::{Mode, OFlags, openat};
use rustix::io::Errno;

use super::area::Area;
use super::record::Handle;
use crate::look::{Stat, stat_descriptor};

/// Directories remembered; all are forgotten when there are more.
const KNOWN_MAX: usize = 1 << 16;
/// `MAX_HANDLE_SZ`, fcntl.h.
const HANDLE_BYTES_MAX: usize = 128;
/// Deeper than any path that a program could name.
const DEPTH_MAX: usize = 4096;

/// What is known of directories, until one is moved.
#[derive(Default)]
pub(super) struct Directories {
    known: HashMap<Handle, Option<Inode>>,
}

impl Directories {
    /// Directories were moved, or other roots are watched.
    pub(super) fn forget(&mut self) {
        self.known.clear();
    }

    /// Which directory it is, if it lies below a root (or is one). An error means that this could not be
    /// found out, and is not remembered.
    pub(super) fn inside(&mut self, handle: &Handle, areas: &[Area]) -> io::Result<Option<Inode>> {
        if let Some(known) = self.known.get(handle) {
            return Ok(*known);
        }
        let (mut inode, mut is_there) = (None, false);
        for mount in mounts(handle, areas) {
            let Some(directory) = open(mount, handle)? else {
                continue;
            };
            is_there = true;
            if is_below(directory.as_fd(), areas)? {
                inode = Some(stat_descriptor(&directory)?.inode);
                break;
            }
        }
        if !is_there {
            return Ok(None);
        }
        if self.known.len() >= KNOWN_MAX {
            self.forget();
        }
        self.known.insert(handle.clone(), inode);
        Ok(inode)
    }
}

/// The file itself, open without any right to it, and what it looks like; `None` when it is gone.
pub(super) fn file(handle: &Handle, areas: &[Area]) -> io::Result<Option<(OwnedFd, Stat)>> {
    for mount in mounts(handle, areas) {
        if let Some(file) = open(mount, handle)? {
            let stat = stat_descriptor(&file)?;
            return Ok(Some((file, stat)));
        }
    }
    Ok(None)
}

/// Directories through which handles of that file system can be opened.
fn mounts<'a>(handle: &Handle, areas: &'a [Area]) -> impl Iterator<Item = BorrowedFd<'a>> {
    let file_system = handle.file_system;
    areas
        .iter()
        .filter(move |area| area.file_system == file_system)
        .map(AsFd::as_fd)
}

/// Can the handles of that file system be opened? Not on overlayfs, nor without the right to.
pub(super) fn can_be_opened(area: &Area) -> io::Result<()> {
    let handle = Handle {
        file_system: area.file_system,
        ..handle_of(area.as_fd())?
    };
    match open(area.as_fd(), &handle)? {
        Some(_) => Ok(()),
        None => Err(io::Error::from_raw_os_error(libc::ESTALE)),
    }
}

/// `name_to_handle_at(2)` of an open directory.
fn handle_of(directory: BorrowedFd<'_>) -> io::Result<Handle> {
    let mut words = [0u64; 1 + HANDLE_BYTES_MAX / 8];
    words[0] = u64::from_ne_bytes(head(HANDLE_BYTES_MAX as u32, 0));
    let mut mount = 0;
    // SAFETY: `words` is laid out as `struct file_handle` with as much room as its first member says, and
    // aligned more strictly; the path is an empty string.
    let told = unsafe {
        libc::name_to_handle_at(
            directory.as_raw_fd(),
            c"".as_ptr(),
            words.as_mut_ptr().cast(),
            &raw mut mount,
            libc::AT_EMPTY_PATH,
        )
    };
    if told < 0 {
        return Err(io::Error::last_os_error());
    }
    let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_ne_bytes()).collect();
    let number = |at: usize| {
        bytes[at..]
            .first_chunk()
            .map_or(0, |four| u32::from_ne_bytes(*four))
    };
    let length = (number(0) as usize).min(HANDLE_BYTES_MAX);
    Ok(Handle {
        file_system: [0; 8],
        kind: number(4).cast_signed(),
        bytes: bytes[8..8 + length].to_vec(),
    })
}

/// The first two members of `struct file_handle`.
fn head(length: u32, kind: i32) -> [u8; 8] {
    let mut bytes = [0; 8];
    bytes[..4].copy_from_slice(&length.to_ne_bytes());
    bytes[4..].copy_from_slice(&kind.to_ne_bytes());
    bytes
}

/// Times that a handle is tried while its inode's number is being given to another file, and how long apart.
const TRIES: u32 = 100;
const BETWEEN_TRIES: Duration = Duration::from_micros(200);

/// `open_by_handle_at(2)`, which needs CAP_DAC_READ_SEARCH. `None`: it is gone.
///
/// While another file that gets the same inode number is being created, the kernel says ENOMEM (`iget_locked`
/// has no other word for an inode with I_CREATING), for as long as the journal has it wait; ESTALE comes right
/// after. That is common where one file is made and deleted all the time, as a database's journal is.
pub(super) fn open(mount: BorrowedFd<'_>, handle: &Handle) -> io::Result<Option<OwnedFd>> {
    for _ in 1..TRIES {
        match open_once(mount, handle) {
            Err(error) if error.raw_os_error() == Some(libc::ENOMEM) => {
                std::thread::sleep(BETWEEN_TRIES);
            }
            answer => return answer,
        }
    }
    open_once(mount, handle)
}

fn open_once(mount: BorrowedFd<'_>, handle: &Handle) -> io::Result<Option<OwnedFd>> {
    let length = u32::try_from(handle.bytes.len()).map_err(io::Error::other)?;
    let mut words = vec![0u64; 1 + handle.bytes.len().div_ceil(8)];
    words[0] = u64::from_ne_bytes(head(length, handle.kind));
    for (word, bytes) in words[1..].iter_mut().zip(handle.bytes.chunks(8)) {
        let mut padded = [0; 8];
        padded[..bytes.len()].copy_from_slice(bytes);
        *word = u64::from_ne_bytes(padded);
    }
    // SAFETY: `words` is laid out as `struct file_handle`, as long as its first member says, and
    // aligned more strictly.
    let opened = unsafe {
        libc::open_by_handle_at(
            mount.as_raw_fd(),
            words.as_mut_ptr().cast(),
            libc::O_PATH | libc::O_CLOEXEC,
        )
    };
    if opened >= 0 {
        // SAFETY: it was just opened, and nobody else knows it.
        return Ok(Some(unsafe { OwnedFd::from_raw_fd(opened) }));
    }
    match io::Error::last_os_error() {
        error if error.raw_os_error() == Some(libc::ESTALE) => Ok(None),
        error => Err(error),
    }
}

/// Climbs until it meets a root or the top.
fn is_below(directory: BorrowedFd<'_>, areas: &[Area]) -> io::Result<bool> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let mut here = stat_descriptor(directory)?.inode;
    let mut above = openat(directory, "..", flags, Mode::empty());
    for _ in 0..DEPTH_MAX {
        if areas.iter().any(|area| area.inode == here) {
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

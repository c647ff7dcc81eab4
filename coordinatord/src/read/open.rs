//! Opening a protected file without disturbing it.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::time::Instant;

use everwrite_protocol::ids::{Name, Timestamp};
use rustix::fs::{Mode, OFlags, openat};
use rustix::io::Errno;

use crate::clock::{self, file_clock};
use crate::look::{Stat, stat_descriptor};

/// A regular file open for reading, and what it looked like before the first byte was read.
#[derive(Debug)]
pub struct OpenContent {
    /// The file.
    pub file: File,
    /// Taken before reading: a change after it shows at the next look.
    pub stat: Stat,
    /// When that was, or before.
    pub opened: Instant,
    /// The clock by which file systems set times, read before that.
    pub tick: Timestamp,
}

/// Opens a regular file. Does not follow a link, wait for a pipe's other end, or touch the access
/// time where that is allowed (the owner's and root's privilege, open(2)).
pub fn open_content(directory: impl AsFd, name: &Name) -> io::Result<OpenContent> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let open = |flags| openat(&directory, name.as_os_str(), flags, Mode::empty());
    let descriptor = match open(flags | OFlags::NOATIME) {
        Err(Errno::PERM) => open(flags),
        other => other,
    }?;
    let tick = file_clock();
    let opened = clock::now();
    let stat = stat_descriptor(&descriptor)?;
    Ok(OpenContent {
        opened,
        file: descriptor.into(),
        stat,
        tick,
    })
}

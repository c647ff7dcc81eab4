//! The net beside eBPF: fanotify(7) tells of names and attributes on whole file systems, and, where
//! nothing tells of ranges, of which files were written.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use super::record::{Record, records};

/// Names and attributes, of files and directories.
const NAMES: u64 = libc::FAN_CREATE
    | libc::FAN_DELETE
    | libc::FAN_RENAME
    | libc::FAN_ATTRIB
    | libc::FAN_CLOSE_WRITE
    | libc::FAN_ONDIR;
/// Bytes taken at once.
const BUFFER_BYTES: usize = 256 << 10;

/// A fanotify group. Its marks go when it is dropped.
pub(super) struct NameWatch {
    group: OwnedFd,
    buffer: Vec<u8>,
}

impl NameWatch {
    /// Needs CAP_SYS_ADMIN, and Linux 5.17 for the file beside its name.
    pub(super) fn start() -> io::Result<Self> {
        let flags = libc::FAN_CLASS_NOTIF
            | libc::FAN_REPORT_DFID_NAME_TARGET
            | libc::FAN_CLOEXEC
            | libc::FAN_NONBLOCK;
        let events = libc::O_RDONLY | libc::O_LARGEFILE | libc::O_CLOEXEC;
        // SAFETY: takes two numbers.
        let group = unsafe { libc::fanotify_init(flags, events.cast_unsigned()) };
        if group < 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(Self {
            // SAFETY: it was just opened, and nobody else knows it.
            group: unsafe { OwnedFd::from_raw_fd(group) },
            buffer: vec![0; BUFFER_BYTES],
        })
    }

    /// Has the whole file system of `directory` watched; `writes`: also which files are written, which
    /// costs every writer on it.
    pub(super) fn mark(&self, directory: BorrowedFd<'_>, writes: bool) -> io::Result<()> {
        let mask = NAMES | if writes { libc::FAN_MODIFY } else { 0 };
        // SAFETY: without a path the descriptor itself is meant.
        let marked = unsafe {
            libc::fanotify_mark(
                self.group.as_raw_fd(),
                libc::FAN_MARK_ADD | libc::FAN_MARK_FILESYSTEM,
                mask,
                directory.as_raw_fd(),
                std::ptr::null(),
            )
        };
        match marked {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    }

    /// A buffer full of what was told; `None` when there is no more. In place of what is not understood
    /// there is nothing.
    pub(super) fn next(&mut self) -> io::Result<Option<Vec<Option<Record>>>> {
        match rustix::io::read(&self.group, &mut self.buffer[..]) {
            Ok(0) => Ok(None),
            Ok(length) => Ok(Some(records(&self.buffer[..length]))),
            Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

/// Readable when there is something.
impl AsFd for NameWatch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.group.as_fd()
    }
}

/// Why it can't be had, for people.
pub(super) fn reason(error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(libc::EPERM) => {
            "fanotify is not permitted: run the coordinator as root, or give it CAP_SYS_ADMIN and CAP_DAC_READ_SEARCH".to_owned()
        }
        Some(libc::EINVAL | libc::ENOSYS) => {
            format!("this kernel's fanotify does not tell names (Linux 5.17 does): {error}")
        }
        Some(libc::EOPNOTSUPP | libc::EXDEV | libc::ENODEV | libc::ESTALE) => {
            format!("this file system can't tell fanotify which file it is: {error}")
        }
        _ => error.to_string(),
    }
}

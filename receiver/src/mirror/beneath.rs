//! Opening beneath a directory, through no link.

use std::ffi::OsStr;
use std::fs::File;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

use rustix::fs::{Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

fn open(directory: BorrowedFd<'_>, name: &[u8], flags: OFlags) -> Result<OwnedFd, Errno> {
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    let flags = flags | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let mode = if flags.contains(OFlags::CREATE) {
        Mode::RUSR | Mode::WUSR
    } else {
        Mode::empty()
    };
    rustix::fs::openat2(directory, OsStr::from_bytes(name), flags, mode, resolve)
}

/// A directory, to be walked through.
pub fn open_directory(directory: BorrowedFd<'_>, name: &[u8]) -> Result<OwnedFd, Errno> {
    open(directory, name, OFlags::PATH | OFlags::DIRECTORY)
}

/// A regular file. With [`OFlags::NONBLOCK`], so that nothing else that lies there can hold us.
pub fn open_file(directory: BorrowedFd<'_>, name: &[u8], flags: OFlags) -> Result<File, Errno> {
    open(directory, name, flags | OFlags::NONBLOCK | OFlags::NOCTTY).map(File::from)
}

/// Anything, to be looked at or have its attributes set. A symbolic link is not followed.
pub fn open_node(directory: BorrowedFd<'_>, name: &[u8]) -> Result<OwnedFd, Errno> {
    // NO_SYMLINKS would refuse the link itself; O_PATH with O_NOFOLLOW opens it. The name is one
    // component, so there is nothing else to resolve.
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
    rustix::fs::openat2(
        directory,
        OsStr::from_bytes(name),
        flags,
        Mode::empty(),
        resolve,
    )
}

/// Does the error say that the file is not there, or something else in the place of it or of a directory
/// above it?
pub fn is_absent(error: &std::io::Error) -> bool {
    let absent = [
        Errno::NOENT,
        Errno::NOTDIR,
        Errno::LOOP,
        Errno::ISDIR,
        Errno::NXIO,
    ];
    error.kind() == std::io::ErrorKind::NotFound
        || error
            .raw_os_error()
            .is_some_and(|code| absent.contains(&Errno::from_raw_os_error(code)))
}

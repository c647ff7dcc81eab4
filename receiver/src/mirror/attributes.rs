//! All of a file but content and names: set as recorded, and read back.
//!
//! Order: owner, extended attributes, mode, times. A change of owner takes set-user-id bits and
//! capabilities away; everything before changes the times. What an unprivileged receiver can't set is
//! told ([`Unset`]), not an error: the catalog has the true values.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::path::PathBuf;

use everwrite_protocol::ids::Timestamp;
use everwrite_protocol::wire::{Attributes, Kind, Xattr};
use rustix::fs::{AtFlags, Gid, Mode, Stat, Timespec, Timestamps, Uid, XattrFlags};
use rustix::io::Errno;

/// Longest value of an attribute, and longest list of names, that the kernel gives (64 KiB).
const XATTR_BYTES_MAX: usize = 1 << 16;

/// What this process may do to attributes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Privileges {
    /// It is root, more or less.
    pub root: bool,
}

impl Privileges {
    /// Of this process.
    pub fn current() -> Self {
        Self {
            root: rustix::process::geteuid().is_root(),
        }
    }

    /// The mode to set in the mirror. Without privileges we must be able to get in again ourselves.
    fn mode(self, attributes: &Attributes) -> u32 {
        match (self.root, attributes.kind) {
            (true, _) => attributes.mode,
            (false, Kind::Directory) => attributes.mode | 0o700,
            (false, _) => attributes.mode | 0o600,
        }
    }
}

/// What could not be set, in words.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Unset(Vec<String>);

impl Unset {
    /// Notes something.
    pub fn add(&mut self, what: impl Into<String>) {
        self.0.push(what.into());
    }

    /// All of it; `None`: everything could be set.
    pub fn told(self) -> Option<String> {
        (!self.0.is_empty()).then(|| self.0.join(", "))
    }
}

/// An open file of any kind.
#[derive(Clone, Copy, Debug)]
pub enum Node<'f> {
    /// Opened for reading or writing.
    Open(BorrowedFd<'f>),
    /// Opened with `O_PATH`: links, devices, pipes, directories.
    Path(BorrowedFd<'f>),
}

impl Node<'_> {
    fn fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Open(fd) | Self::Path(fd) => *fd,
        }
    }

    /// The one name by which `chmod` and `setxattr` take an `O_PATH` descriptor.
    fn proc_path(&self) -> PathBuf {
        PathBuf::from(format!("/proc/self/fd/{}", self.fd().as_raw_fd()))
    }

    /// Status.
    pub fn stat(&self) -> io::Result<Stat> {
        Ok(rustix::fs::fstat(self.fd())?)
    }

    fn set_owner(&self, uid: u32, gid: u32) -> Result<(), Errno> {
        let (uid, gid) = (Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)));
        rustix::fs::chownat(self.fd(), c"", uid, gid, AtFlags::EMPTY_PATH)
    }

    fn set_mode(&self, mode: u32) -> Result<(), Errno> {
        match self {
            Self::Open(fd) => rustix::fs::fchmod(fd, Mode::from_raw_mode(mode)),
            Self::Path(_) => rustix::fs::chmod(self.proc_path(), Mode::from_raw_mode(mode)),
        }
    }

    fn set_modified(&self, modified: Timestamp) -> Result<(), Errno> {
        let (seconds, nanoseconds) = modified.parts();
        let omit = Timespec {
            tv_sec: 0,
            tv_nsec: rustix::fs::UTIME_OMIT,
        };
        let modified = Timespec {
            tv_sec: seconds,
            tv_nsec: nanoseconds.into(),
        };
        let times = Timestamps {
            last_access: omit,
            last_modification: modified,
        };
        match self {
            Self::Open(fd) => rustix::fs::futimens(fd, &times),
            Self::Path(fd) => rustix::fs::utimensat(fd, c"", &times, AtFlags::EMPTY_PATH),
        }
    }

    fn modified(&self) -> io::Result<Timestamp> {
        let stat = self.stat()?;
        Ok(Timestamp::from_parts(
            stat.st_mtime,
            stat.st_mtime_nsec as u32,
        ))
    }

    fn list_xattrs(&self) -> Result<Vec<CString>, Errno> {
        let list = |buffer: &mut [u8]| match self {
            Self::Open(fd) => rustix::fs::flistxattr(fd, buffer),
            Self::Path(_) => rustix::fs::listxattr(self.proc_path(), buffer),
        };
        let bytes = match grown(list) {
            Err(Errno::OPNOTSUPP) => Vec::new(),
            listed => listed?,
        };
        let names = bytes
            .split(|byte| *byte == 0)
            .filter(|name| !name.is_empty());
        Ok(names.filter_map(|name| CString::new(name).ok()).collect())
    }

    fn xattr(&self, name: &CString) -> Result<Vec<u8>, Errno> {
        grown(|buffer: &mut [u8]| match self {
            Self::Open(fd) => rustix::fs::fgetxattr(fd, name, buffer),
            Self::Path(_) => rustix::fs::getxattr(self.proc_path(), name, buffer),
        })
    }

    fn set_xattr(&self, name: &CString, value: &[u8]) -> Result<(), Errno> {
        match self {
            Self::Open(fd) => rustix::fs::fsetxattr(fd, name, value, XattrFlags::empty()),
            Self::Path(_) => {
                rustix::fs::setxattr(self.proc_path(), name, value, XattrFlags::empty())
            }
        }
    }

    fn remove_xattr(&self, name: &CString) -> Result<(), Errno> {
        match self {
            Self::Open(fd) => rustix::fs::fremovexattr(fd, name),
            Self::Path(_) => rustix::fs::removexattr(self.proc_path(), name),
        }
    }
}

/// Calls `read` with a buffer that is long enough. Never an empty one: rustix answers 0 to that.
fn grown(read: impl Fn(&mut [u8]) -> Result<usize, Errno>) -> Result<Vec<u8>, Errno> {
    let mut buffer = vec![0u8; 256];
    loop {
        match read(&mut buffer) {
            Err(Errno::RANGE) if buffer.len() < XATTR_BYTES_MAX => {
                buffer.resize(buffer.len() * 4, 0)
            }
            done => {
                buffer.truncate(done?);
                return Ok(buffer);
            }
        }
    }
}

/// Sets everything. Times of a directory have to be set again once its entries are there.
pub fn set_attributes(
    node: Node<'_>,
    attributes: &Attributes,
    privileges: Privileges,
    unset: &mut Unset,
) -> io::Result<()> {
    note(
        node.set_owner(attributes.uid, attributes.gid),
        unset,
        || "owner".into(),
    )?;
    set_xattrs(node, &attributes.xattrs, unset)?;
    if attributes.kind != Kind::Symlink {
        let mode = privileges.mode(attributes);
        note(node.set_mode(mode), unset, || "mode".into())?;
        if mode != attributes.mode {
            unset.add("mode without access for the owner");
        }
    }
    set_modified(node, attributes, unset)
}

/// Sets the time of last change.
pub fn set_modified(node: Node<'_>, attributes: &Attributes, unset: &mut Unset) -> io::Result<()> {
    let modified = attributes.modified;
    let set = match node.set_modified(modified) {
        // The kernel takes the nearest that the file system knows, and says nothing.
        Ok(()) if !EVERYWHERE.contains(&modified.parts().0) => match node.modified()? == modified {
            true => Ok(()),
            false => Err(Errno::RANGE),
        },
        set => set,
    };
    note(set, unset, || "modification time".into())
}

/// Seconds that every file system can keep: from 1970 to 2037.
const EVERYWHERE: std::ops::Range<i64> = 0..i32::MAX as i64;

fn set_xattrs(node: Node<'_>, wanted: &[Xattr], unset: &mut Unset) -> io::Result<()> {
    for name in node.list_xattrs()? {
        let kept = wanted.iter().any(|xattr| xattr.name == name.as_bytes());
        // The label of a security module is the host's own.
        if !kept && name.as_bytes() != b"security.selinux" {
            note(node.remove_xattr(&name), unset, || {
                told("no", name.as_bytes())
            })?;
        }
    }
    for xattr in wanted {
        match CString::new(xattr.name.as_slice()) {
            Ok(name) => {
                // ext4 says "no space" of an attribute that is too long for it.
                let set = match node.set_xattr(&name, &xattr.value) {
                    Err(Errno::NOSPC) => Err(Errno::TOOBIG),
                    set => set,
                };
                note(set, unset, || told("extended attribute", &xattr.name))?;
            }
            Err(_) => unset.add(told("extended attribute", &xattr.name)),
        }
    }
    Ok(())
}

fn told(what: &str, name: &[u8]) -> String {
    format!("{what} {}", String::from_utf8_lossy(name))
}

/// What we may not do, or this file system can't, is noted; anything else is an error.
fn note(
    done: Result<(), Errno>,
    unset: &mut Unset,
    what: impl FnOnce() -> String,
) -> io::Result<()> {
    match done {
        Err(
            Errno::PERM
            | Errno::ACCESS
            | Errno::OPNOTSUPP
            | Errno::INVAL
            | Errno::RANGE
            | Errno::TOOBIG
            | Errno::NODATA,
        ) => {
            unset.add(what());
            Ok(())
        }
        done => done.map_err(Into::into),
    }
}

/// What a file on the disk has. Names of owner and group are not looked up.
pub fn read_attributes(node: Node<'_>, target: Vec<u8>) -> io::Result<Attributes> {
    let stat = node.stat()?;
    let mut xattrs = Vec::new();
    for name in node.list_xattrs()? {
        let value = node.xattr(&name)?;
        xattrs.push(Xattr {
            name: name.into_bytes(),
            value,
        });
    }
    xattrs.sort_by(|a, b| a.name.cmp(&b.name));
    let kind = kind(&stat);
    Ok(Attributes {
        kind,
        mode: stat.st_mode & 0o7777,
        uid: stat.st_uid,
        gid: stat.st_gid,
        user: None,
        group: None,
        modified: node.modified()?,
        size: if kind == Kind::Regular {
            stat.st_size as u64
        } else {
            0
        },
        device_number: match kind {
            Kind::CharacterDevice | Kind::BlockDevice => stat.st_rdev,
            _ => 0,
        },
        target,
        xattrs,
    })
}

fn kind(stat: &Stat) -> Kind {
    use rustix::fs::FileType;
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::Directory => Kind::Directory,
        FileType::Symlink => Kind::Symlink,
        FileType::Fifo => Kind::Fifo,
        FileType::Socket => Kind::Socket,
        FileType::CharacterDevice => Kind::CharacterDevice,
        FileType::BlockDevice => Kind::BlockDevice,
        FileType::RegularFile | FileType::Unknown => Kind::Regular,
    }
}

/// The descriptor of a file of ours that is open.
impl<'f, F: AsFd> From<&'f F> for Node<'f> {
    fn from(file: &'f F) -> Self {
        Self::Open(file.as_fd())
    }
}

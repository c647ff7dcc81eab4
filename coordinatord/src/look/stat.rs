//! `statx(2)`, reduced to what matters here.

use std::io;
use std::os::fd::AsFd;
use std::path::Path;

use everwrite_protocol::ids::Timestamp;
use everwrite_protocol::local::Inode;
use everwrite_protocol::wire::Kind;
use rustix::fs::{AtFlags, FileType, Statx, StatxFlags, makedev, statx};

/// What is on the disk under a name, or behind a descriptor.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Stat {
    /// Device and inode number, as `stat(2)` gives them.
    pub inode: Inode,
    /// Birth time in nanoseconds; 0 where the file system has none.
    pub birth: u64,
    /// Kind of file.
    pub kind: Kind,
    /// `st_mode & 0o7777`.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Size in bytes.
    pub size: u64,
    /// Allocated bytes.
    pub allocated: u64,
    /// Last change of content.
    pub modified: Timestamp,
    /// Last change of the inode.
    pub changed: Timestamp,
    /// `st_rdev`.
    pub device_number: u64,
    /// Hard links.
    pub links: u32,
}

impl Stat {
    /// Is this the same file, not another one with a reused inode number?
    pub fn is_file(&self, inode: Inode, birth: u64) -> bool {
        self.inode == inode && (self.birth == birth || self.birth == 0 || birth == 0)
    }
}

/// The name in the directory, not following a symbolic link; `None` when there is nothing.
pub fn stat_at(directory: impl AsFd, name: impl AsRef<Path>) -> io::Result<Option<Stat>> {
    match statx(directory, name.as_ref(), AtFlags::SYMLINK_NOFOLLOW, MASK) {
        Ok(found) => Ok(Some(reduce(&found))),
        Err(rustix::io::Errno::NOENT | rustix::io::Errno::NOTDIR) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// What an open descriptor refers to.
pub fn stat_descriptor(descriptor: impl AsFd) -> io::Result<Stat> {
    Ok(reduce(&statx(descriptor, "", AtFlags::EMPTY_PATH, MASK)?))
}

const MASK: StatxFlags = StatxFlags::BASIC_STATS.union(StatxFlags::BTIME);

fn reduce(found: &Statx) -> Stat {
    let birth = if found.stx_mask & StatxFlags::BTIME.bits() != 0 {
        Timestamp::from_parts(found.stx_btime.tv_sec, found.stx_btime.tv_nsec)
            .0
            .cast_unsigned()
    } else {
        0
    };
    Stat {
        inode: Inode {
            device: makedev(found.stx_dev_major, found.stx_dev_minor),
            inode: found.stx_ino,
        },
        birth,
        kind: kind_of(found.stx_mode),
        mode: u32::from(found.stx_mode) & 0o7777,
        uid: found.stx_uid,
        gid: found.stx_gid,
        size: found.stx_size,
        allocated: found.stx_blocks * 512,
        modified: Timestamp::from_parts(found.stx_mtime.tv_sec, found.stx_mtime.tv_nsec),
        changed: Timestamp::from_parts(found.stx_ctime.tv_sec, found.stx_ctime.tv_nsec),
        device_number: makedev(found.stx_rdev_major, found.stx_rdev_minor),
        links: found.stx_nlink,
    }
}

fn kind_of(mode: u16) -> Kind {
    match FileType::from_raw_mode(mode.into()) {
        FileType::Directory => Kind::Directory,
        FileType::Symlink => Kind::Symlink,
        FileType::Fifo => Kind::Fifo,
        FileType::Socket => Kind::Socket,
        FileType::CharacterDevice => Kind::CharacterDevice,
        FileType::BlockDevice => Kind::BlockDevice,
        FileType::RegularFile | FileType::Unknown => Kind::Regular,
    }
}

//! All of a file but its content and names.

use std::ffi::{CString, OsStr};
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::ffi::OsStrExt;

use everwrite_protocol::codec;
use everwrite_protocol::wire::{Attributes, Kind, Xattr};
use rustix::fs::{lgetxattr, llistxattr, readlinkat};
use rustix::io::Errno;

use super::accounts::Accounts;
use super::stat::Stat;

/// Attributes of the file that `stat` describes, found as `name` in `directory`.
pub fn read_attributes(
    directory: impl AsFd,
    name: &OsStr,
    stat: &Stat,
    accounts: &Accounts,
) -> io::Result<Attributes> {
    let target = match stat.kind {
        Kind::Symlink => readlinkat(&directory, name, Vec::new())?.into_bytes(),
        _ => Vec::new(),
    };
    // By way of /proc, for symbolic links and unreadable files have no descriptor that fgetxattr(2)
    // would take.
    let path = xattr_path(&directory, name);
    Ok(attributes_of(stat, target, read_xattrs(&path)?, accounts))
}

/// Tells whether attributes changed since they were last sent.
pub fn attributes_digest(attributes: &Attributes) -> [u8; 16] {
    let mut digest = [0u8; 16];
    let encoded = codec::encode(attributes).unwrap_or_default();
    digest.copy_from_slice(&blake3::hash(&encoded).as_bytes()[..16]);
    digest
}

/// Attributes that `stat` tells, and these.
pub fn attributes_of(
    stat: &Stat,
    target: Vec<u8>,
    xattrs: Vec<Xattr>,
    accounts: &Accounts,
) -> Attributes {
    Attributes {
        kind: stat.kind,
        mode: stat.mode,
        uid: stat.uid,
        gid: stat.gid,
        user: accounts.user(stat.uid).map(str::to_owned),
        group: accounts.group(stat.gid).map(str::to_owned),
        modified: stat.modified,
        size: if stat.kind == Kind::Regular {
            stat.size
        } else {
            0
        },
        device_number: match stat.kind {
            Kind::CharacterDevice | Kind::BlockDevice => stat.device_number,
            _ => 0,
        },
        target,
        xattrs,
    }
}

fn xattr_path(directory: impl AsFd, name: &OsStr) -> Vec<u8> {
    let mut path = format!("/proc/self/fd/{}/", directory.as_fd().as_raw_fd()).into_bytes();
    path.extend_from_slice(name.as_bytes());
    path
}

/// Attributes of these name spaces are kept. Others (`system.nfs4_acl`, …) belong to a file system.
const KEPT: [&[u8]; 5] = [
    b"user.",
    b"trusted.",
    b"security.",
    b"system.posix_acl_access",
    b"system.posix_acl_default",
];

fn read_xattrs(path: &[u8]) -> io::Result<Vec<Xattr>> {
    let path = CString::new(path)?;
    let mut list = [0u8; 4096];
    let listed: Vec<u8> = match llistxattr(path.as_c_str(), &mut list) {
        Ok(length) => list[..length].to_vec(),
        Err(Errno::RANGE) => {
            let mut list = vec![0u8; XATTR_LIST_BYTES_MAX];
            let length = llistxattr(path.as_c_str(), &mut list)?;
            list.truncate(length);
            list
        }
        Err(Errno::OPNOTSUPP) => return Ok(Vec::new()),
        Err(error) => return Err(error.into()),
    };
    let mut xattrs = Vec::new();
    for name in listed.split(|byte| *byte == 0).filter(|name| is_kept(name)) {
        match read_xattr(&path, name) {
            Ok(value) => xattrs.push(Xattr {
                name: name.to_vec(),
                value,
            }),
            // Removed since it was listed, or not for us to read.
            Err(error) if is_absent(&error) => {}
            Err(error) => return Err(error),
        }
    }
    xattrs.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(xattrs)
}

/// `XATTR_LIST_MAX` of xattr(7).
const XATTR_LIST_BYTES_MAX: usize = 65536;
/// `XATTR_SIZE_MAX` of xattr(7).
const XATTR_VALUE_BYTES_MAX: usize = 65536;

fn is_kept(name: &[u8]) -> bool {
    KEPT.iter().any(|kept| name.starts_with(kept))
}

fn is_absent(error: &io::Error) -> bool {
    matches!(
        Errno::from_io_error(error),
        Some(Errno::NODATA | Errno::PERM | Errno::ACCESS)
    )
}

fn read_xattr(path: &CString, name: &[u8]) -> io::Result<Vec<u8>> {
    let name = CString::new(name)?;
    let mut value = [0u8; 512];
    match lgetxattr(path.as_c_str(), name.as_c_str(), &mut value) {
        Ok(length) => Ok(value[..length].to_vec()),
        Err(Errno::RANGE) => {
            let mut value = vec![0u8; XATTR_VALUE_BYTES_MAX];
            let length = lgetxattr(path.as_c_str(), name.as_c_str(), &mut value)?;
            value.truncate(length);
            Ok(value)
        }
        Err(error) => Err(error.into()),
    }
}

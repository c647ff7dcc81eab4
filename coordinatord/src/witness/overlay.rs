//! overlayfs: what is changed below its mount is changed in its upper directory, on another file system, which
//! tells of it. So the upper directory is watched, and what is told is taken for what is seen in the overlay.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};

use super::handle;
use crate::look::stat_descriptor;
use crate::mounts::mounts;

/// `s_magic`, statfs(2).
pub(super) const OVERLAY: u64 = 0x794c_7630;
/// `OVL_FH_FLAG_PATH_UPPER`, `struct ovl_fb`: the rest is a handle of the upper file system.
const OF_UPPER: u8 = 1 << 2;
/// Bytes before the handle in `struct ovl_fh`: three that are nothing, version, magic number, length, flags, type
/// and the file system's UUID.
const FLAGS_AT: usize = 6;
const TYPE_AT: usize = 7;
const HEAD_BYTES: usize = 24;

/// Where the changes of a directory in an overlay are kept.
#[derive(Debug)]
pub(super) struct Upper {
    /// The upper directory of the overlay, open.
    pub(super) directory: File,
    /// The directory as a path below the overlay's top.
    pub(super) below: PathBuf,
}

/// Finds the upper directory of the overlay that `path` lies in. An error says why its changes can't be heard.
pub(super) fn upper(path: &Path, mountinfo: &[u8]) -> io::Result<Upper> {
    let mount = mounts(mountinfo)
        .filter(|mount| path.starts_with(&mount.point))
        .max_by_key(|mount| mount.point.as_os_str().len())
        .filter(|mount| mount.kind == b"overlay")
        .ok_or_else(|| io::Error::other("overlayfs: its mount is not to be found"))?;
    let option = mount.option("upperdir").ok_or_else(|| {
        io::Error::other("overlayfs without an upper directory: nothing can be changed in it")
    })?;
    let top = File::open(&mount.point)?;
    let is_it = |candidate: &PathBuf| {
        let upper = File::open(candidate).ok()?;
        is_upper_of(upper.as_fd(), top.as_fd())
            .ok()?
            .then_some(upper)
    };
    let found = candidates(&option, &mount.point).iter().find_map(is_it);
    let upper = found.ok_or_else(|| not_there(&option, top.as_fd()))?;
    if stat_descriptor(&upper)?.inode.inode != stat_descriptor(&top)?.inode.inode {
        return Err(io::Error::other(
            "overlayfs over several file systems, whose inode numbers come and go: mount it with xino=on",
        ));
    }
    let inside = path
        .strip_prefix(&mount.point)
        .unwrap_or_else(|_| Path::new(""));
    let below = mount
        .top
        .strip_prefix("/")
        .unwrap_or(&mount.top)
        .join(inside);
    Ok(Upper {
        directory: upper,
        below,
    })
}

/// The upper directories of all overlays that are mounted here, and where these are; of one that is not to be found
/// from here, nothing. Where it can't be told which of several candidates it is, all that are there.
pub(super) fn uppers(mountinfo: &[u8]) -> Vec<(PathBuf, File)> {
    let mut found = Vec::new();
    for mount in mounts(mountinfo).filter(|mount| mount.kind == b"overlay") {
        let option = mount.option("upperdir");
        let top = File::open(&mount.point);
        let (Some(option), Ok(top)) = (option, top) else {
            continue;
        };
        for candidate in candidates(&option, &mount.point) {
            if let Ok(upper) = File::open(candidate)
                && is_upper_of(upper.as_fd(), top.as_fd()).unwrap_or(true)
            {
                found.push((mount.point.clone(), upper));
            }
        }
    }
    found
}

fn not_there(option: &Path, top: BorrowedFd<'_>) -> io::Error {
    let why = match handle::to_compare(top) {
        Ok(_) => {
            "is not to be found from here (run the coordinator where the overlay was mounted, on the host of the container)"
        }
        Err(_) => "can't be told for certain (Linux 6.6 can)",
    };
    io::Error::other(format!(
        "overlayfs: its upper directory {} {why}",
        option.display()
    ))
}

/// Where it may be: a path that is not absolute began at somebody's working directory, for Docker's a directory
/// above the mount.
fn candidates(option: &Path, mount: &Path) -> Vec<PathBuf> {
    if option.is_absolute() {
        return vec![option.to_owned()];
    }
    mount.ancestors().map(|above| above.join(option)).collect()
}

/// An overlay's handle of its top holds that of its upper directory.
fn is_upper_of(upper: BorrowedFd<'_>, top: BorrowedFd<'_>) -> io::Result<bool> {
    let (upper, top) = (handle::of(upper)?, handle::to_compare(top)?);
    Ok(holds(&top.bytes, upper.kind, &upper.bytes))
}

fn holds(overlay: &[u8], kind: i32, upper: &[u8]) -> bool {
    let byte = |at: usize| overlay.get(at).copied().unwrap_or_default();
    byte(FLAGS_AT) & OF_UPPER != 0
        && i32::from(byte(TYPE_AT)) == kind
        && overlay.get(HEAD_BYTES..) == Some(upper)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_relative_path_began_above_the_mount() {
        let point = Path::new("/srv/docker/one/merged");
        let near = candidates(Path::new("one/diff"), point);
        assert!(near.contains(&"/srv/docker/one/diff".into()));
        let one = candidates(Path::new("/upper"), point);
        assert_eq!(one, [Path::new("/upper")]);
    }

    #[test]
    fn an_overlay_s_handle_holds_its_upper_directory_s() {
        let mut handle = [0; HEAD_BYTES + 8];
        handle[TYPE_AT] = 1;
        handle[HEAD_BYTES..].copy_from_slice(b"12345678");
        assert!(!holds(&handle, 1, b"12345678"), "of a lower one");
        handle[FLAGS_AT] = OF_UPPER;
        assert!(holds(&handle, 1, b"12345678"));
        assert!(!holds(&handle, 2, b"12345678"));
        assert!(!holds(&handle, 1, b"12345679"));
        assert!(!holds(&handle[..5], 1, b""));
    }
}

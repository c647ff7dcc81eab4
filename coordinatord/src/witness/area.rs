//! What is watched: the directory of each root, and of each mount below one.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use everwrite_protocol::local::Inode;
use rustix::fs::{CWD, Mode, OFlags, fstatfs, fstatvfs, openat};
use rustix::mount::{OpenTreeFlags, open_tree};

use crate::look::stat_descriptor;
use crate::mounts::mount_points;
use crate::read::IN_MEMORY;

const MOUNTS: &str = "/proc/self/mountinfo";

/// File systems on which only this kernel changes files, and tells of it: ext2 to 4, xfs, btrfs, f2fs, tmpfs,
/// ramfs. Elsewhere (NFS, FUSE) somebody else may. `s_magic`, statfs(2).
const OF_THIS_KERNEL: [u64; 6] = [
    0xef53,
    0x5846_5342,
    0x9123_683e,
    0xf2f5_2010,
    0x0102_1994,
    0x8584_58f6,
];

/// A directory below which everything is watched.
pub(super) struct Area {
    /// Its path.
    pub(super) path: PathBuf,
    /// Keeps it from being freed, and opens handles on its file system.
    directory: OwnedFd,
    /// Which directory it is.
    pub(super) inode: Inode,
    /// `f_type`, statfs(2).
    pub(super) magic: u64,
    /// `f_fsid`, statfs(2): names the file system in what fanotify tells.
    pub(super) file_system: [u8; 8],
}

impl Area {
    fn open(path: &Path) -> io::Result<Self> {
        let directory = beside_the_mount(openat(CWD, path, FLAGS, Mode::empty())?);
        let magic = fstatfs(&directory)?.f_type;
        Ok(Self {
            path: path.to_owned(),
            inode: stat_descriptor(&directory)?.inode,
            magic: u64::try_from(magic).unwrap_or_default() & 0xffff_ffff,
            file_system: fstatvfs(&directory)?.f_fsid.to_ne_bytes(),
            directory,
        })
    }

    /// Is nothing changed here but by this kernel, which tells of it?
    pub(super) fn tells_of_all(&self) -> bool {
        OF_THIS_KERNEL.contains(&self.magic)
    }

    /// Does the kernel tell of stores into mapped pages here?
    pub(super) fn tells_of_stores(&self) -> bool {
        !IN_MEMORY.contains(&self.magic)
    }
}

impl AsFd for Area {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.directory.as_fd()
    }
}

const FLAGS: OFlags = OFlags::RDONLY
    .union(OFlags::DIRECTORY)
    .union(OFlags::CLOEXEC);

/// The same directory, through a mount that nobody else sees: what is open in the usual one could not be
/// unmounted. Making one takes CAP_SYS_ADMIN, as most of the witness does.
fn beside_the_mount(directory: OwnedFd) -> OwnedFd {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE
        | OpenTreeFlags::OPEN_TREE_CLOEXEC
        | OpenTreeFlags::AT_EMPTY_PATH;
    open_tree(&directory, c"", flags)
        .and_then(|tree| openat(tree, c".", FLAGS, Mode::empty()))
        .unwrap_or(directory)
}

/// What there is to be watched.
#[derive(Default)]
pub(super) struct Found {
    /// The directories.
    pub(super) areas: Vec<Area>,
    /// Those that can't be opened, and why.
    pub(super) missing: Vec<String>,
    /// What it was looked for.
    pub(super) roots: Vec<PathBuf>,
}

impl Found {
    fn missing(&mut self, path: &Path, error: &io::Error) {
        self.missing.push(format!("{}: {error}", path.display()));
    }
}

/// Opens the roots and the mounts below them. May take long, where a file system does not answer.
pub(super) fn areas_of(roots: &[PathBuf]) -> Found {
    let mut found = Found {
        roots: roots.to_vec(),
        ..Found::default()
    };
    for root in roots {
        match root.canonicalize().and_then(|path| Area::open(&path)) {
            Ok(area) => found.areas.push(area),
            Err(error) => found.missing(root, &error),
        }
    }
    let mounts = std::fs::read(MOUNTS).unwrap_or_default();
    let below = |mount: &PathBuf| {
        let is_below = |area: &Area| is_within(mount, &area.path);
        found.areas.iter().any(is_below)
    };
    let mounts: Vec<_> = mount_points(&mounts).filter(below).collect();
    for mount in mounts {
        match Area::open(&mount) {
            Ok(area) if found.areas.iter().all(|known| known.inode != area.inode) => {
                found.areas.push(area);
            }
            Ok(_) => {}
            // A mount on a file.
            Err(error) if error.kind() == io::ErrorKind::NotADirectory => {}
            Err(error) => found.missing(&mount, &error),
        }
    }
    found
}

fn is_within(path: &Path, directory: &Path) -> bool {
    path.strip_prefix(directory)
        .is_ok_and(|rest| !rest.as_os_str().is_empty())
}

/// Are these the same directories?
pub(super) fn are_the_same(one: &[Area], other: &[Area]) -> bool {
    let key = |area: &Area| (area.path.clone(), area.inode);
    one.len() == other.len() && one.iter().map(key).eq(other.iter().map(key))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roots_are_opened_and_what_is_missing_is_told() {
        let home = tempfile::tempdir().unwrap();
        let (there, gone) = (home.path().join("there"), home.path().join("gone"));
        std::fs::create_dir(&there).unwrap();
        let Found { areas, missing, .. } = areas_of(&[there.clone(), gone.clone()]);
        assert_eq!(areas.len(), 1);
        assert_eq!(areas[0].path, there.canonicalize().unwrap());
        assert!(missing[0].starts_with(gone.to_str().unwrap()));
        let again = areas_of(std::slice::from_ref(&there)).areas;
        assert!(are_the_same(&areas, &again));
        std::fs::rename(&there, &gone).unwrap();
        std::fs::create_dir(&there).unwrap();
        assert!(
            !are_the_same(&areas, &areas_of(&[there]).areas),
            "another directory"
        );
    }

    #[test]
    fn only_what_is_below_is_within() {
        let within = |path: &str| is_within(Path::new(path), Path::new("/srv/data"));
        assert!(within("/srv/data/x"));
        assert!(!within("/srv/data") && !within("/srv/data2") && !within("/srv"));
    }
}

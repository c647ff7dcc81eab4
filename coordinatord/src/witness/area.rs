//! What is watched: the directory of each root, and of each mount below one.

use std::ffi::OsString;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use everwrite_protocol::local::Inode;
use everwrite_protocol::wire::Kind;
use rustix::fs::{CWD, Mode, OFlags, fstatfs, fstatvfs, openat, readlink};
use rustix::mount::{OpenTreeFlags, open_tree};

use super::directories::is_below;
use super::handle::{self, BTRFS, BTRFS_FIRST_TREE};
use super::overlay::{OVERLAY, Upper, upper, uppers};
use super::tracer;
use crate::look::{Stat, stat_at, stat_descriptor};
use crate::mounts::mounts;
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
    /// Keeps it from being freed, and opens handles on its file system. In an overlay, that of the upper
    /// directory.
    directory: OwnedFd,
    /// Which directory `directory` is.
    pub(super) inode: Inode,
    /// `f_type` of its file system, statfs(2).
    pub(super) magic: u64,
    /// `f_fsid`, statfs(2): names the file system in what fanotify tells.
    pub(super) file_system: [u8; 8],
    /// What stands for the file system, where that is another directory than this.
    marked: Option<OwnedFd>,
    /// Where its files are seen by those who use them, if that is elsewhere.
    shown: Option<Shown>,
    /// Why it can't be watched, if so.
    pub(super) unheard: Option<String>,
    /// An overlay whose upper directory lies below this one. What it writes there is hidden from fanotify.
    pub(super) upper_of: Option<PathBuf>,
}

/// A directory in an overlay.
struct Shown {
    directory: OwnedFd,
    inode: Inode,
    /// Its path below the top of the overlay.
    below: PathBuf,
}

impl Area {
    fn open(path: &Path, mountinfo: &[u8]) -> io::Result<Self> {
        let directory = beside_the_mount(openat(CWD, path, FLAGS, Mode::empty())?);
        if magic(&directory)? != OVERLAY {
            return Self::of(path, directory);
        }
        match upper(path, mountinfo) {
            Ok(upper) => Self::of_overlay(path, directory, upper),
            Err(error) => Ok(Self {
                unheard: Some(error.to_string()),
                ..Self::of(path, directory)?
            }),
        }
    }

    fn of(path: &Path, directory: OwnedFd) -> io::Result<Self> {
        let magic = magic(&directory)?;
        let marked = if magic == BTRFS {
            first_tree(directory.as_fd())?
        } else {
            None
        };
        let file_system = fstatvfs(marked.as_ref().unwrap_or(&directory))?.f_fsid;
        Ok(Self {
            path: path.to_owned(),
            inode: stat_descriptor(&directory)?.inode,
            magic,
            file_system: file_system.to_ne_bytes(),
            directory,
            marked,
            shown: None,
            unheard: None,
            upper_of: None,
        })
    }

    fn of_overlay(path: &Path, directory: OwnedFd, upper: Upper) -> io::Result<Self> {
        Ok(Self {
            shown: Some(Shown {
                inode: stat_descriptor(&directory)?.inode,
                directory,
                below: upper.below,
            }),
            ..Self::of(path, beside_the_mount(upper.directory.into()))?
        })
    }

    /// What fanotify is to mark to hear of the whole file system.
    pub(super) fn marked(&self) -> BorrowedFd<'_> {
        self.marked.as_ref().unwrap_or(&self.directory).as_fd()
    }

    /// Which directory those who use it see.
    pub(super) fn top(&self) -> Inode {
        self.shown.as_ref().map_or(self.inode, |shown| shown.inode)
    }

    /// Is this the upper directory of an overlay?
    pub(super) fn is_shown_elsewhere(&self) -> bool {
        self.shown.is_some()
    }

    /// A file below the directory (O_PATH is enough) as those see it who use it; `None` where they don't.
    pub(super) fn seen(&self, file: BorrowedFd<'_>) -> io::Result<Option<Stat>> {
        let stat = stat_descriptor(file)?;
        let Some(shown) = &self.shown else {
            return Ok(Some(stat));
        };
        let path = self.path_of(file)?;
        if path == Path::new("") && stat.kind != Kind::Directory {
            // The kernel knows the file by its number alone.
            return Err(io::Error::other(
                "a file of an overlay has no name any more",
            ));
        }
        match path.strip_prefix(&shown.below) {
            Ok(rest) if rest == Path::new("") => stat_descriptor(&shown.directory).map(Some),
            Ok(rest) => stat_at(&shown.directory, rest),
            Err(_) => Ok(None),
        }
    }

    /// The path below the directory, which is the top of its mount.
    fn path_of(&self, file: BorrowedFd<'_>) -> io::Result<PathBuf> {
        let path = readlink(format!("/proc/self/fd/{}", file.as_raw_fd()), Vec::new())?;
        let path = PathBuf::from(OsString::from_vec(path.into_bytes()));
        Ok(path.strip_prefix("/").map(Path::to_owned).unwrap_or(path))
    }

    /// Can files that are known by number be told by where they are seen?
    pub(super) fn can_place_numbers(&self) -> bool {
        !self.is_shown_elsewhere() || handle::are_numbers_enough(self.magic)
    }

    /// Is this directory, which may be seen in another place of the same file system, this one or below it?
    fn holds(&self, directory: BorrowedFd<'_>) -> io::Result<bool> {
        let found = handle::open(self.as_fd(), &handle::of(directory)?)?;
        found.map_or(Ok(false), |found| is_below(found.as_fd(), self))
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

/// `f_type`, statfs(2).
fn magic(directory: &OwnedFd) -> io::Result<u64> {
    let magic = fstatfs(directory)?.f_type;
    Ok(u64::try_from(magic).unwrap_or_default() & 0xffff_ffff)
}

/// The top of a btrfs, wherever in it `directory` is: each subvolume passes for a file system, and the mark of a file
/// system wants the top of the first. It need not be mounted anywhere. `None` without the right to open handles.
fn first_tree(directory: BorrowedFd<'_>) -> io::Result<Option<OwnedFd>> {
    match handle::open_directory(directory, &handle::of_tree(BTRFS_FIRST_TREE)) {
        Err(error) if error.raw_os_error() == Some(libc::EPERM) => Ok(None),
        opened => opened,
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
    let mountinfo = std::fs::read(MOUNTS).unwrap_or_default();
    for root in roots {
        match root
            .canonicalize()
            .and_then(|path| Area::open(&path, &mountinfo))
        {
            Ok(area) => found.areas.push(area),
            Err(error) => found.missing(root, &error),
        }
    }
    let below = |mount: &PathBuf| {
        let is_below = |area: &Area| is_within(mount, &area.path);
        found.areas.iter().any(is_below)
    };
    let mounts: Vec<_> = mounts(&mountinfo)
        .map(|mount| mount.point)
        .filter(below)
        .collect();
    for mount in mounts {
        match Area::open(&mount, &mountinfo) {
            Ok(area) if found.areas.iter().all(|known| known.top() != area.top()) => {
                found.areas.push(area);
            }
            Ok(_) => {}
            // A mount on a file.
            Err(error) if error.kind() == io::ErrorKind::NotADirectory => {}
            Err(error) => found.missing(&mount, &error),
        }
    }
    find_uppers(&mut found.areas, &mountinfo);
    found
}

/// Notes which areas hold the upper directory of an overlay, wherever that is mounted; in doubt, they do. Where the
/// file system tells of writes itself, nothing is hidden.
fn find_uppers(areas: &mut [Area], mountinfo: &[u8]) {
    let plain = |area: &Area| !area.is_shown_elsewhere() && tracer::wants_calls(area.magic);
    if !areas.iter().any(plain) {
        return;
    }
    for (overlay, upper) in uppers(mountinfo) {
        let Ok(upper) = Area::of(&overlay, upper.into()) else {
            continue;
        };
        for area in areas.iter_mut().filter(|area| plain(area)) {
            if area.file_system == upper.file_system && area.holds(upper.as_fd()).unwrap_or(true) {
                area.upper_of = Some(overlay.clone());
            }
        }
    }
}

fn is_within(path: &Path, directory: &Path) -> bool {
    path.strip_prefix(directory)
        .is_ok_and(|rest| !rest.as_os_str().is_empty())
}

/// Are these the same directories?
pub(super) fn are_the_same(one: &[Area], other: &[Area]) -> bool {
    let upper_of = |area: &Area| area.upper_of.clone();
    let key = |area: &Area| (area.path.clone(), area.inode, area.top(), upper_of(area));
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

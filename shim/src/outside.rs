//! What lies outside all roots, though on a watched device: nothing is told of it, for a price that is
//! paid once.
//!
//! "Outside" is said on proof only. The file is on the very mount that the roots of its device are on;
//! this program sees the tree from the same top as the coordinator; it has one name; and the path that
//! the kernel gives for it is below none of them. What can't be proved counts as inside.
//!
//! A verdict holds as long as the page's *generation* is the one it was found under: that changes
//! whenever something outside may have come inside.

use core::ffi::{CStr, c_int};
use core::sync::atomic::{
    AtomicU64,
    Ordering::{Acquire, Relaxed},
    fence,
};

use everwrite_protocol::local::{Inode, POLICY_ROOT_BYTES_MAX, PolicyPage, PolicyRoot};

use crate::environment::copy;
use crate::kernel::{self, AT_EMPTY_PATH, AT_FDCWD, Status};

/// Bytes of a path that are looked at: a root's path, and what must follow it.
const PATH_BYTES: usize = POLICY_ROOT_BYTES_MAX + 8;
/// Directories that are remembered.
const REMEMBERED: usize = 64;
/// In a mark: it is outside.
const OUTSIDE: u64 = 1;
/// Their marks. What is forgotten is asked again.
static DIRECTORIES: [AtomicU64; REMEMBERED] = [const { AtomicU64::new(0) }; REMEMBERED];

/// What verdicts are found and hold under; `None` while it changes.
#[inline(always)]
pub(crate) fn generation(page: &PolicyPage) -> Option<u64> {
    let generation = page.outside.load(Acquire);
    (generation & 1 == 0).then_some(generation)
}

/// Whether the open file lies outside; `named`: a name that it was opened by does not.
#[inline(never)]
pub(crate) fn is_file(page: &PolicyPage, descriptor: c_int, status: &Status, named: bool) -> bool {
    match status.links {
        // What has no name is nowhere, until it is linked: that is an arrival.
        0 => true,
        1 => !named && is_proved(page, status.device, descriptor),
        _ => false,
    }
}

/// Whether the directory lies outside; `open` gives a descriptor of it, to be asked only when that is
/// not remembered.
#[inline(always)]
pub(crate) fn is_directory(
    page: &PolicyPage,
    directory: Inode,
    open: impl FnOnce() -> Option<Opened>,
) -> bool {
    let Some(generation) = generation(page).filter(|_| page.root_count.load(Relaxed) != 0) else {
        return false;
    };
    let mark = mark(directory, generation);
    let Some(place) = DIRECTORIES.get((mark >> 58) as usize) else {
        return false;
    };
    let known = place.load(Relaxed);
    if known & !OUTSIDE == mark {
        return known & OUTSIDE != 0;
    }
    let outside =
        open().is_some_and(|opened| is_proved(page, directory.device, opened.descriptor()));
    if self::generation(page) == Some(generation) {
        let verdict = if outside { OUTSIDE } else { 0 };
        place.store(mark | verdict, Relaxed);
    }
    outside
}

/// A directory that is open.
pub(crate) enum Opened {
    /// By the program. (`AT_FDCWD` is one.)
    Already(c_int),
    Now(kernel::Own),
}

impl Opened {
    fn descriptor(&self) -> c_int {
        match self {
            Self::Already(descriptor) => *descriptor,
            Self::Now(own) => own.0,
        }
    }
}

/// What a directory under a generation is remembered by; neither 0 nor odd. Two that share it are as
/// likely as two equal random numbers of 62 bits. (The finish of SplitMix64.)
fn mark(directory: Inode, generation: u64) -> u64 {
    let mut mixed = directory
        .inode
        .wrapping_mul(0x9e37_79b9_7f4a_7c15)
        .wrapping_add(directory.device.rotate_left(32))
        .wrapping_add(generation.wrapping_mul(0xd6e8_feb8_6659_fd93));
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (mixed ^ (mixed >> 31)) & !OUTSIDE | 2
}

fn is_proved(page: &PolicyPage, device: u64, descriptor: c_int) -> bool {
    let Some(before) = generation(page) else {
        return false;
    };
    let mut room = [0u8; PATH_BYTES];
    let proved = page.root_count.load(Relaxed) != 0
        && sees_the_same_top(page)
        && mount_and_path(descriptor, &mut room).is_some_and(|(mount, path)| {
            roots(page).all(|root| excludes(root, device, mount, path))
        });
    // What was read of the page is worth something only if it did not change meanwhile.
    fence(Acquire);
    proved && page.outside.load(Relaxed) == before
}

fn roots(page: &PolicyPage) -> impl Iterator<Item = &PolicyRoot> {
    let count = page.root_count.load(Relaxed) as usize;
    page.roots.iter().take(count)
}

/// A program in a `chroot`, or in a mount namespace of its own, has other paths for the same files.
fn sees_the_same_top(page: &PolicyPage) -> bool {
    let [mount, inode] = &page.top;
    let known = (mount.load(Relaxed), inode.load(Relaxed));
    kernel::full_status(AT_FDCWD, c"/".as_ptr(), 0)
        .is_ok_and(|seen| seen.mount != 0 && (seen.mount, seen.inode) == known)
}

/// The mount that an open file is on, and its path as the kernel sees it, as far as there is room.
fn mount_and_path(descriptor: c_int, room: &mut [u8; PATH_BYTES]) -> Option<(u64, &[u8])> {
    let mount = kernel::full_status(descriptor, c"".as_ptr(), AT_EMPTY_PATH)
        .ok()?
        .mount;
    let mut link = [0u8; LINK_BYTES];
    let length = kernel::read_link(link_of(descriptor, &mut link)?, room).ok()?;
    // What can't be reached from the top has a path that begins otherwise.
    let path = room
        .get(..length)
        .filter(|path| path.first() == Some(&b'/'))?;
    Some((mount, path))
}

const LINK_BYTES: usize = 40;
const _: () = assert!(LINK_BYTES > b"/proc/thread-self/fd/4294967295".len());

/// The link below `/proc` that stands for a descriptor, or for the working directory.
fn link_of(descriptor: c_int, room: &mut [u8; LINK_BYTES]) -> Option<&CStr> {
    let Ok(number) = u32::try_from(descriptor) else {
        return (descriptor == AT_FDCWD).then_some(c"/proc/thread-self/cwd");
    };
    const PREFIX: &[u8] = b"/proc/thread-self/fd/";
    let (prefix, digits) = room.split_at_mut_checked(PREFIX.len())?;
    copy(PREFIX, prefix);
    put_decimal(number, digits);
    // SAFETY: there is room for ten digits and a NUL.
    Some(unsafe { CStr::from_ptr(room.as_ptr().cast()) })
}

/// Ten digits at most.
fn put_decimal(mut number: u32, digits: &mut [u8]) {
    let count = number.checked_ilog10().unwrap_or(0).saturating_add(1) as usize;
    for digit in digits.iter_mut().take(count).rev() {
        *digit = b'0'.wrapping_add((number % 10) as u8);
        number /= 10;
    }
}

/// Whether what is at `path` on `mount` can't be in this root.
fn excludes(root: &PolicyRoot, device: u64, mount: u64, path: &[u8]) -> bool {
    if root.device.load(Relaxed) != device {
        // The root has no mounts within, or the page would name no roots.
        return true;
    }
    let mut room = [0u8; POLICY_ROOT_BYTES_MAX];
    for (word, bytes) in root.path.iter().zip(room.chunks_exact_mut(8)) {
        copy(&word.load(Relaxed).to_le_bytes(), bytes);
    }
    let length = root.length.load(Relaxed) as usize;
    root.mount.load(Relaxed) == mount
        && room.get(..length).is_some_and(|root| !is_below(path, root))
}

fn is_below(path: &[u8], root: &[u8]) -> bool {
    root == b"/"
        || path
            .strip_prefix(root)
            .is_some_and(|rest| matches!(rest.first(), None | Some(b'/')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn below_is_by_components() {
        let cases: [(&str, &str, bool); 8] = [
            ("/srv/data", "/srv/data", true),
            ("/srv/data/x", "/srv/data", true),
            ("/srv/data/x (deleted)", "/srv/data", true),
            ("/srv/data2", "/srv/data", false),
            ("/srv", "/srv/data", false),
            ("/srv/dat", "/srv/data", false),
            ("/", "/srv/data", false),
            ("/any", "/", true),
        ];
        for (path, root, expected) in cases {
            assert_eq!(
                is_below(path.as_bytes(), root.as_bytes()),
                expected,
                "{path}"
            );
        }
    }

    #[test]
    fn links_are_spelled_right() {
        for number in [0, 7, 10, 1023, 65_536, i32::MAX] {
            let mut room = [0; LINK_BYTES];
            let expected = format!("/proc/thread-self/fd/{number}");
            assert_eq!(link_of(number, &mut room).unwrap().to_str(), Ok(&*expected));
        }
        let mut room = [0; LINK_BYTES];
        assert_eq!(link_of(AT_FDCWD, &mut room), Some(c"/proc/thread-self/cwd"));
        assert_eq!(link_of(-1, &mut room), None);
    }

    #[test]
    fn marks_depend_on_everything() {
        let inode = |device, inode| Inode { device, inode };
        let marks = [
            mark(inode(1, 2), 4),
            mark(inode(2, 1), 4),
            mark(inode(1, 2), 6),
            mark(inode(1, 3), 4),
        ];
        for (at, one) in marks.iter().enumerate() {
            assert!(*one != 0 && !marks[..at].contains(one));
        }
    }
}

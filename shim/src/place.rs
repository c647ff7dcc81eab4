//! From a path as a program gives it to a directory, as the kernel names it, and a last component.
//!
//! The path is the program's memory and may be anything, so the kernel looks at it first: it answers
//! `EFAULT` where reading would end the program.

use core::ffi::{CStr, c_char, c_int};
use core::mem::MaybeUninit;
use core::{ptr, slice};

use everwrite_protocol::local::{Inode, PolicyPage};

use crate::kernel::{
    self, AT_EMPTY_PATH, AT_FDCWD, AT_SYMLINK_NOFOLLOW, Errno, O_NOFOLLOW, O_PATH, Own, Status,
};
use crate::outside::{self, Opened};
use crate::range::File;
use crate::{memory, policy, process};

/// Bytes of a path that are copied to the stack at once. Long paths are walked in such pieces.
const PIECE_BYTES: usize = 288;

/// A path relative to a directory, as the `*at` calls take it.
#[derive(Clone, Copy)]
pub(crate) struct At {
    pub(crate) directory: c_int,
    pub(crate) path: *const c_char,
}

impl At {
    pub(crate) const fn new(directory: c_int, path: *const c_char) -> Self {
        Self { directory, path }
    }

    /// Relative to the working directory.
    pub(crate) const fn here(path: *const c_char) -> Self {
        Self::new(AT_FDCWD, path)
    }
}

/// A name in a directory.
#[derive(Clone, Copy)]
pub(crate) struct Named {
    pub(crate) directory: Inode,
    /// Without slashes. The program's memory: it lives as long as the call.
    pub(crate) name: &'static [u8],
}

/// Where a path leads.
#[derive(Clone, Copy)]
pub(crate) enum Place {
    /// To a name on a watched device, not known to be outside all roots.
    Watched(Named),
    /// To one elsewhere, or outside all roots.
    Unwatched,
    /// To nothing that the call could change: it will fail.
    Nothing,
    /// The shim can't tell.
    Unclear,
}

/// What is at the end of a path already.
pub(crate) enum Existing {
    /// A symbolic link.
    Link,
    /// Something else; `single`: that has no other name.
    Entry { single: bool },
    /// Nothing.
    None,
}

/// The name that a call makes, changes or removes.
#[inline(never)]
pub(crate) fn name(page: &PolicyPage, at: At) -> Place {
    match memory::text(at.path) {
        Some(path) if process::is_free() => split(page, at.directory, path),
        _ => name_and_existing(page, at).0,
    }
}

/// The same, and what it stands for now; links at the end are not followed.
#[inline(never)]
pub(crate) fn name_and_existing(page: &PolicyPage, at: At) -> (Place, Existing) {
    if process::is_filtered() {
        return (Place::Unclear, Existing::None);
    }
    let existing = match kernel::status(at.directory, at.path, AT_SYMLINK_NOFOLLOW) {
        Ok(status) if status.is_link() => Existing::Link,
        Ok(status) => Existing::Entry {
            single: status.links == 1,
        },
        Err(Errno::FAULT | Errno::NAMETOOLONG) => return (Place::Nothing, Existing::None),
        Err(_) => Existing::None,
    };
    memory::learn(at.path);
    // SAFETY: the kernel just read it up to its NUL without a fault; whoever unmaps the path of a
    // call that is under way must expect any end. It is used only until the call returns.
    let path: &'static [u8] = unsafe { CStr::from_ptr(at.path) }.to_bytes();
    (split(page, at.directory, path), existing)
}

fn split(page: &PolicyPage, directory: c_int, path: &'static [u8]) -> Place {
    let (prefix, name) = split_path(path);
    if matches!(name, b"" | b"." | b"..") {
        return Place::Nothing;
    }
    match inode_of(directory, prefix) {
        Ok(parent) if !policy::watches(page, parent.device) => Place::Unwatched,
        // Only what is watched is worth this look, which costs some ten microseconds once.
        Ok(_) if !process::may_make_calls() => Place::Unclear,
        Ok(parent) if is_outside(page, parent, directory, prefix) => Place::Unwatched,
        Ok(directory) => Place::Watched(Named { directory, name }),
        Err(Errno::NOENT | Errno::NOTDIR | Errno::ACCES | Errno::LOOP | Errno::BADF) => {
            Place::Nothing
        }
        Err(_) => Place::Unclear,
    }
}

#[inline(never)]
fn is_outside(page: &PolicyPage, parent: Inode, directory: c_int, prefix: &[u8]) -> bool {
    outside::is_directory(page, parent, || match prefix.len() {
        0 => Some(Opened::Already(directory)),
        1..PIECE_BYTES => open_piece(directory, prefix).ok().map(Opened::Now),
        // Too long to be asked for in one piece, and rare.
        _ => None,
    })
}

/// The directory part, ending with its slash or empty, and the last component, without the slashes
/// that may follow it.
fn split_path(path: &[u8]) -> (&[u8], &[u8]) {
    let is_slash = |byte: &u8| *byte == b'/';
    let end = path
        .iter()
        .rposition(|byte| !is_slash(byte))
        .map_or(0, |at| at.wrapping_add(1));
    let path = path.get(..end).unwrap_or(path);
    let start = path
        .iter()
        .rposition(is_slash)
        .map_or(0, |at| at.wrapping_add(1));
    path.split_at_checked(start).unwrap_or((b"", path))
}

/// The working directory; inode 0 when the kernel does not tell.
pub(crate) fn here() -> Inode {
    let unknown = Inode {
        device: 0,
        inode: 0,
    };
    inode_of(AT_FDCWD, b"").unwrap_or(unknown)
}

/// The directory that `prefix` leads to.
#[inline(never)]
fn inode_of(directory: c_int, prefix: &[u8]) -> Result<Inode, Errno> {
    let status = match prefix.len() {
        0 => kernel::status(directory, c"".as_ptr(), AT_EMPTY_PATH),
        1..PIECE_BYTES => status_of_piece(directory, prefix),
        _ => status_of_long(directory, prefix),
    }?;
    Ok(Inode {
        device: status.device,
        inode: status.inode,
    })
}

fn status_of_piece(directory: c_int, piece: &[u8]) -> Result<Status, Errno> {
    let mut room = ROOM;
    kernel::status(directory, copied(piece, &mut room)?.as_ptr(), 0)
}

/// Room for a piece with a NUL behind it, which must not touch the program's own memory.
type Room = [MaybeUninit<u8>; PIECE_BYTES];
const ROOM: Room = [MaybeUninit::uninit(); PIECE_BYTES];

fn copied<'a>(piece: &[u8], room: &'a mut Room) -> Result<&'a CStr, Errno> {
    let end = room.get_mut(piece.len()).ok_or(Errno::NAMETOOLONG)?;
    end.write(0);
    // SAFETY: `room` is longer than `piece`, which came from a path and so has no NUL within.
    unsafe {
        ptr::copy_nonoverlapping(piece.as_ptr(), room.as_mut_ptr().cast(), piece.len());
        let bytes = slice::from_raw_parts(room.as_ptr().cast(), piece.len().wrapping_add(1));
        Ok(CStr::from_bytes_with_nul_unchecked(bytes))
    }
}

/// Walks a long prefix in pieces that end with a slash. A component is shorter than a piece.
#[cold]
#[inline(never)]
fn status_of_long(directory: c_int, prefix: &[u8]) -> Result<Status, Errno> {
    let mut rest = prefix;
    let mut reached: Option<Own> = None;
    loop {
        let from = reached.as_ref().map_or(directory, |own| own.0);
        let window = rest.get(..PIECE_BYTES.saturating_sub(1)).unwrap_or(rest);
        let slash = window
            .iter()
            .rposition(|byte| *byte == b'/')
            .ok_or(Errno::NAMETOOLONG)?;
        let (piece, behind) = rest
            .split_at_checked(slash.wrapping_add(1))
            .ok_or(Errno::NAMETOOLONG)?;
        if behind.is_empty() {
            return status_of_piece(from, piece);
        }
        reached = Some(open_piece(from, piece)?);
        // A slash at the beginning would lead to the root.
        let name = behind
            .iter()
            .position(|byte| *byte != b'/')
            .unwrap_or(behind.len());
        rest = behind.get(name..).unwrap_or(b"");
        if rest.is_empty() {
            let reached = reached.ok_or(Errno::BADF)?;
            return kernel::descriptor_status(reached.0);
        }
    }
}

fn open_piece(directory: c_int, piece: &[u8]) -> Result<Own, Errno> {
    let mut room = ROOM;
    kernel::open(directory, copied(piece, &mut room)?, O_PATH)
}

/// The file on a watched device that a path leads to; `flags` as for `fstatat`.
#[inline(never)]
pub(crate) fn file(page: &PolicyPage, at: At, flags: c_int) -> Option<File> {
    if process::is_filtered() {
        return None;
    }
    // Before anything else by the one call that every filter allows.
    if !process::is_free() {
        let status = kernel::status(at.directory, at.path, flags).ok()?;
        if !policy::watches(page, status.device) || !process::may_make_calls() {
            return None;
        }
    }
    file_named(page, at, flags, false)
}

/// The same; `inside`: the name is known not to be outside.
#[inline(never)]
pub(crate) fn file_named(page: &PolicyPage, at: At, flags: c_int, inside: bool) -> Option<File> {
    let status = kernel::full_status(at.directory, at.path, flags).ok()?;
    let outside = !policy::watches(page, status.device)
        || !inside && is_file_outside(page, at, flags, &status);
    (!outside).then(|| File::of(&status))
}

#[inline(never)]
fn is_file_outside(page: &PolicyPage, at: At, flags: c_int, status: &Status) -> bool {
    // An empty path need not even be memory.
    if flags & AT_EMPTY_PATH != 0 || status.links != 1 {
        return false;
    }
    let links = if flags & AT_SYMLINK_NOFOLLOW != 0 {
        O_NOFOLLOW
    } else {
        0
    };
    // SAFETY: as in `name_and_existing`: the kernel just read it.
    let path = unsafe { CStr::from_ptr(at.path) };
    kernel::open(at.directory, path, O_PATH | links)
        .is_ok_and(|own| outside::is_file(page, own.0, status, false))
}

#[cfg(test)]
mod tests {
    use std::ffi::CString;
    use std::os::unix::fs::MetadataExt;

    use super::*;

    #[test]
    fn a_path_splits_at_its_last_component() {
        let cases: [(&str, &str, &str); 9] = [
            ("name", "", "name"),
            ("/name", "/", "name"),
            ("a/b", "a/", "b"),
            ("a//b//", "a//", "b"),
            ("/", "", ""),
            ("///", "", ""),
            ("", "", ""),
            ("a/..", "a/", ".."),
            ("./x/", "./", "x"),
        ];
        for (path, prefix, name) in cases {
            let expected = (prefix.as_bytes(), name.as_bytes());
            assert_eq!(split_path(path.as_bytes()), expected, "{path}");
        }
    }

    #[test]
    fn a_long_prefix_is_walked_in_pieces() {
        let top = std::env::temp_dir().join(format!("everwrite-place-{}", std::process::id()));
        let mut deep = top.clone();
        for byte in b'a'..=b'j' {
            deep.push(String::from_utf8(vec![byte; 200]).unwrap());
        }
        std::fs::create_dir_all(&deep).unwrap();
        let expected = std::fs::metadata(&deep).unwrap();
        for slashes in ["/", "//", "////"] {
            let text = deep.to_str().unwrap().replace('/', slashes) + slashes;
            let prefix = CString::new(text).unwrap();
            let found = inode_of(AT_FDCWD, prefix.as_bytes()).unwrap();
            assert_eq!(
                found,
                Inode {
                    device: expected.dev(),
                    inode: expected.ino()
                }
            );
        }
        std::fs::remove_dir_all(&top).unwrap();
    }
}

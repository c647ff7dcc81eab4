//! Handles of files: what `name_to_handle_at(2)` gives and `open_by_handle_at(2)` takes.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::time::Duration;

use super::event::Number;
use super::record::Handle;

/// `MAX_HANDLE_SZ`, fcntl.h.
const HANDLE_BYTES_MAX: usize = 128;
/// `AT_HANDLE_FID`, fcntl.h: a handle that need not be one that can be opened (Linux 6.5).
const AT_HANDLE_FID: i32 = 0x200;
/// `FILEID_INO32_GEN`, linux/exportfs.h: number and generation, 32 bits each.
const INO32_GEN: i32 = 1;
/// `XFS_FILEID_TYPE_64FLAG | FILEID_INO32_GEN`: the number has 64 bits.
const XFS_INO64_GEN: i32 = 0x81;
/// `FILEID_BTRFS_WITHOUT_PARENT`: number, subvolume, generation.
const BTRFS_WITHOUT_PARENT: i32 = 0x4d;

/// `s_magic`, statfs(2).
pub(super) const EXT4: u64 = 0xef53;
/// `s_magic`, statfs(2).
pub(super) const XFS: u64 = 0x5846_5342;
/// `s_magic`, statfs(2).
pub(super) const BTRFS: u64 = 0x9123_683e;
/// `BTRFS_FIRST_FREE_OBJECTID`: the number of a subvolume's top directory.
const BTRFS_TOP: u64 = 256;
/// `BTRFS_FS_TREE_OBJECTID`: the subvolume that all others lie in.
pub(super) const BTRFS_FIRST_TREE: u64 = 5;

/// The handle of an open file, to be opened again.
pub(super) fn of(file: BorrowedFd<'_>) -> io::Result<Handle> {
    told(file, 0)
}

/// The handle of an open file as fanotify would tell it, on file systems that open none, too.
pub(super) fn to_compare(file: BorrowedFd<'_>) -> io::Result<Handle> {
    told(file, AT_HANDLE_FID)
}

fn told(file: BorrowedFd<'_>, flags: i32) -> io::Result<Handle> {
    let mut words = [0u64; 1 + HANDLE_BYTES_MAX / 8];
    words[0] = u64::from_ne_bytes(head(HANDLE_BYTES_MAX as u32, 0));
    let mut mount = 0;
    // SAFETY: `words` is laid out as `struct file_handle` with as much room as its first member says, and
    // aligned more strictly; the path is an empty string.
    let told = unsafe {
        libc::name_to_handle_at(
            file.as_raw_fd(),
            c"".as_ptr(),
            words.as_mut_ptr().cast(),
            &raw mut mount,
            libc::AT_EMPTY_PATH | flags,
        )
    };
    if told < 0 {
        return Err(io::Error::last_os_error());
    }
    let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_ne_bytes()).collect();
    let number = |at: usize| {
        bytes[at..]
            .first_chunk()
            .map_or(0, |four| u32::from_ne_bytes(*four))
    };
    let length = (number(0) as usize).min(HANDLE_BYTES_MAX);
    Ok(Handle {
        file_system: [0; 8],
        kind: number(4).cast_signed(),
        bytes: bytes[8..8 + length].to_vec(),
    })
}

/// The handle of a file that is known by number, on a file system of this kind; `None` where that is not known
/// to be enough.
pub(super) fn of_number(magic: u64, file: Number) -> Option<Handle> {
    let (inode, generation) = (file.inode.to_ne_bytes(), file.generation.to_ne_bytes());
    let (kind, bytes) = match magic {
        EXT4 => {
            let inode = u32::try_from(file.inode).ok()?.to_ne_bytes();
            (INO32_GEN, [inode, generation].concat())
        }
        XFS => (XFS_INO64_GEN, [&inode[..], &generation].concat()),
        BTRFS => (
            BTRFS_WITHOUT_PARENT,
            [&inode[..], &file.tree.to_ne_bytes(), &generation].concat(),
        ),
        _ => return None,
    };
    Some(Handle {
        file_system: [0; 8],
        kind,
        bytes,
    })
}

/// Can all files of such a file system be opened by number?
pub(super) fn are_numbers_enough(magic: u64) -> bool {
    [EXT4, XFS, BTRFS].contains(&magic)
}

/// The top directory of a btrfs subvolume.
pub(super) fn of_tree(tree: u64) -> Handle {
    let top = Number {
        inode: BTRFS_TOP,
        // Not compared.
        generation: 0,
        tree,
    };
    of_number(BTRFS, top).expect("btrfs is known")
}

/// The first two members of `struct file_handle`.
fn head(length: u32, kind: i32) -> [u8; 8] {
    let mut bytes = [0; 8];
    bytes[..4].copy_from_slice(&length.to_ne_bytes());
    bytes[4..].copy_from_slice(&kind.to_ne_bytes());
    bytes
}

/// Times that a handle is tried while its inode's number is being given to another file, and how long apart.
const TRIES: u32 = 100;
const BETWEEN_TRIES: Duration = Duration::from_micros(200);

/// `open_by_handle_at(2)`, which needs CAP_DAC_READ_SEARCH, without any right to the file. `None`: it is gone.
///
/// While another file that gets the same inode number is being created, the kernel says ENOMEM (`iget_locked`
/// has no other word for an inode with I_CREATING), for as long as the journal has it wait; ESTALE comes right
/// after. That is common where one file is made and deleted all the time, as a database's journal is.
pub(super) fn open(mount: BorrowedFd<'_>, handle: &Handle) -> io::Result<Option<OwnedFd>> {
    open_for(mount, handle, libc::O_PATH)
}

/// The same for a directory that is to be read or marked.
pub(super) fn open_directory(
    mount: BorrowedFd<'_>,
    handle: &Handle,
) -> io::Result<Option<OwnedFd>> {
    open_for(mount, handle, libc::O_RDONLY | libc::O_DIRECTORY)
}

fn open_for(mount: BorrowedFd<'_>, handle: &Handle, flags: i32) -> io::Result<Option<OwnedFd>> {
    for _ in 1..TRIES {
        match open_once(mount, handle, flags) {
            Err(error) if error.raw_os_error() == Some(libc::ENOMEM) => {
                std::thread::sleep(BETWEEN_TRIES);
            }
            answer => return answer,
        }
    }
    open_once(mount, handle, flags)
}

fn open_once(mount: BorrowedFd<'_>, handle: &Handle, flags: i32) -> io::Result<Option<OwnedFd>> {
    let length = u32::try_from(handle.bytes.len()).map_err(io::Error::other)?;
    let mut words = vec![0u64; 1 + handle.bytes.len().div_ceil(8)];
    words[0] = u64::from_ne_bytes(head(length, handle.kind));
    for (word, bytes) in words[1..].iter_mut().zip(handle.bytes.chunks(8)) {
        let mut padded = [0; 8];
        padded[..bytes.len()].copy_from_slice(bytes);
        *word = u64::from_ne_bytes(padded);
    }
    // SAFETY: `words` is laid out as `struct file_handle`, as long as its first member says, and
    // aligned more strictly.
    let opened = unsafe {
        libc::open_by_handle_at(
            mount.as_raw_fd(),
            words.as_mut_ptr().cast(),
            flags | libc::O_CLOEXEC,
        )
    };
    if opened >= 0 {
        // SAFETY: it was just opened, and nobody else knows it.
        return Ok(Some(unsafe { OwnedFd::from_raw_fd(opened) }));
    }
    match io::Error::last_os_error() {
        error if error.raw_os_error() == Some(libc::ESTALE) => Ok(None),
        error => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn handles_are_laid_out_as_the_file_systems_do() {
        let file = Number {
            inode: 0x102,
            generation: 3,
            tree: 256,
        };
        let bytes = |magic| of_number(magic, file).map(|handle| (handle.kind, handle.bytes));
        let little_endian = cfg!(target_endian = "little");
        assert!(little_endian, "written for such machines");
        assert_eq!(bytes(EXT4), Some((1, vec![2, 1, 0, 0, 3, 0, 0, 0])));
        let xfs = vec![2, 1, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0];
        assert_eq!(bytes(XFS), Some((0x81, xfs)));
        let btrfs = [2, 1, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0];
        assert_eq!(bytes(BTRFS), Some((0x4d, btrfs.to_vec())));
        assert_eq!(bytes(0x6969), None, "NFS");
        for magic in [EXT4, XFS, BTRFS, 0x6969] {
            assert_eq!(are_numbers_enough(magic), bytes(magic).is_some());
        }
        let wide = Number {
            inode: 1 << 32,
            ..file
        };
        assert_eq!(of_number(EXT4, wide), None);
    }
}

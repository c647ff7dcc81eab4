//! The messages of the local language: bincode (standard configuration), into and out of fixed
//! buffers, without allocation.

use bincode::config::{self, Configuration, Limit};
use bincode::{BorrowDecode, Encode};

/// Longest name of a directory entry on Linux, in bytes (`NAME_MAX`).
pub const NAME_BYTES_MAX: usize = 255;
/// Longest encoded [`FileModification`]; fits a message slot.
pub const MESSAGE_BYTES_MAX: usize = super::segment::MESSAGE_SLOT_BODY_BYTES;
/// Longest encoded [`Hello`].
pub const HELLO_BYTES_MAX: usize = 64;
/// Longest encoded [`Welcome`].
pub const WELCOME_BYTES_MAX: usize = 32;

/// A file as the kernel names it: what `stat(2)` says in `st_dev` and `st_ino`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord, Encode, BorrowDecode)]
pub struct Inode {
    /// `st_dev`.
    pub device: u64,
    /// `st_ino`.
    pub inode: u64,
}

/// What happened to a name. A hint: the coordinator looks for itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, BorrowDecode)]
pub enum NameChange {
    /// The name may have come to be (`open` with `O_CREAT`, `mkdir`, `mknod`, `symlink`, `link`).
    Created,
    /// The name may be gone (`unlink`, `rmdir`).
    Removed,
    /// The name may have come to stand for something that was elsewhere before, outside all roots for
    /// all that the shim knows (`rename` from there, `link`).
    Arrived,
}

/// The file modification message: what one call may have changed. Sent through a message slot of
/// the segment; byte ranges have slots of their own and need no message.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, BorrowDecode)]
pub enum FileModification<'a> {
    /// One name in one directory.
    Name {
        /// The directory that holds the name.
        directory: Inode,
        /// The last component of the path, without slashes. Empty: some name of the directory, the
        /// shim can't tell which.
        name: &'a [u8],
        /// What the call does.
        change: NameChange,
    },
    /// A name moved, or two names were exchanged.
    Rename {
        /// Directory of the old name.
        old_directory: Inode,
        /// Old name.
        old_name: &'a [u8],
        /// Directory of the new name.
        new_directory: Inode,
        /// New name.
        new_name: &'a [u8],
        /// `RENAME_EXCHANGE`: both names still exist.
        exchange: bool,
    },
    /// Something changed, the shim can't tell where: look everywhere.
    Anywhere,
}

/// First and only message of a shim on the local socket. Peer credentials come from the kernel.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, BorrowDecode)]
pub struct Hello {
    /// [`LOCAL_VERSION`](super::LOCAL_VERSION) of the shim.
    pub version: u32,
    /// Policy epoch that the shim saw.
    pub epoch: u64,
    /// Process that will own the segment (differs from the peer in a `vfork` child).
    pub pid: u32,
}

/// Answer to [`Hello`]. With [`Welcome::Attached`] come two descriptors by `SCM_RIGHTS`: the segment,
/// then the doorbell.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, BorrowDecode)]
pub enum Welcome {
    /// Map the segment (`segment_bytes`) and the doorbell, then close both descriptors.
    Attached {
        /// Size of the segment in bytes; a shim that expects another size leaves.
        segment_bytes: u64,
    },
    /// No segment; do not ask again before the epoch changes.
    Refused(Refusal),
}

/// Why a shim was refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, BorrowDecode)]
pub enum Refusal {
    /// The coordinator does not speak the shim's version.
    Version,
    /// Another epoch has begun; read the policy page again.
    Epoch,
    /// Too many processes are attached; what this one does is left to the scan.
    Busy,
    /// `Hello` could not be read.
    Malformed,
}

fn limited() -> Configuration<config::LittleEndian, config::Varint, Limit<MESSAGE_BYTES_MAX>> {
    config::standard().with_limit::<MESSAGE_BYTES_MAX>()
}

/// Encodes into `buffer`; gives the bytes used, or `None` when it does not fit.
pub fn encode<M: Encode>(message: &M, buffer: &mut [u8]) -> Option<usize> {
    bincode::encode_into_slice(message, buffer, config::standard()).ok()
}

/// Decodes all of `bytes`; `None` when it is not exactly one message.
pub fn decode<'a, M: BorrowDecode<'a, ()>>(bytes: &'a [u8]) -> Option<M> {
    let (message, used) = bincode::borrow_decode_from_slice(bytes, limited()).ok()?;
    (used == bytes.len()).then_some(message)
}

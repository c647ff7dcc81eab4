//! Backup commands, and the batches that carry them.

use bincode::{Decode, Encode};

use super::origin::Origin;
use crate::ids::{FileId, Name, SequenceNumber, Timestamp};

/// Longest payload of one frame in bytes, compressed or not.
pub const PAYLOAD_BYTES_MAX: usize = 1 << 20;
/// Most commands in one part.
pub const PART_COMMANDS_MAX: usize = 4096;

/// What kind of file.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Encode, Decode)]
pub enum Kind {
    /// Regular file.
    Regular,
    /// Directory.
    Directory,
    /// Symbolic link.
    Symlink,
    /// Named pipe.
    Fifo,
    /// Socket; only its node.
    Socket,
    /// Character device.
    CharacterDevice,
    /// Block device.
    BlockDevice,
}

/// One extended attribute, ACLs and capabilities among them.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct Xattr {
    /// Full name, such as `user.note` or `system.posix_acl_access`.
    pub name: Vec<u8>,
    /// Raw value.
    pub value: Vec<u8>,
}

/// All of a file but its content and names.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct Attributes {
    /// Kind of file.
    pub kind: Kind,
    /// Permission bits with setuid, setgid and sticky: `st_mode & 0o7777`.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Owner's name at the source, where it has one.
    pub user: Option<String>,
    /// Group's name at the source, where it has one.
    pub group: Option<String>,
    /// Time of last change of content.
    pub modified: Timestamp,
    /// Size in bytes, for a regular file.
    pub size: u64,
    /// Device number (`st_rdev`), for a device node.
    pub device_number: u64,
    /// Target of a symbolic link.
    pub target: Vec<u8>,
    /// Extended attributes, sorted by name.
    pub xattrs: Vec<Xattr>,
}

/// One step from the receiver's state to the source's. Steps of a batch are in order.
///
/// A file without a name is *staged* until it is attached, and *dead* once its last name has been
/// detached and the batch is over: it then lives in the history alone. A dead directory takes with
/// it all below it that is not attached elsewhere by the end of the batch. So a rename is a detach
/// and an attach of the same file in one batch, in any order, and swaps need no third name.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub enum BackupCommand {
    /// A new file, without a name yet. Content of regular files follows by `Write`; it begins as
    /// `attributes.size` bytes of zeros.
    Create {
        /// Its id, never used before.
        file: FileId,
        /// Everything but content and names.
        attributes: Attributes,
        /// Who made it.
        origin: u16,
    },
    /// Gives the file a name.
    Attach {
        /// Directory.
        parent: FileId,
        /// Name in it, free by the time the batch's detaches are done.
        name: Name,
        /// The file.
        file: FileId,
        /// Who did it.
        origin: u16,
    },
    /// Takes a name away. Names that were there before the batch go first, whatever comes before them
    /// in it; one that the batch itself gave goes in its turn.
    Detach {
        /// Directory.
        parent: FileId,
        /// Name in it.
        name: Name,
        /// Who did it.
        origin: u16,
    },
    /// Content: `length` bytes of the part's payload from `payload_offset` belong at `offset`.
    Write {
        /// Regular file.
        file: FileId,
        /// First byte in the file.
        offset: u64,
        /// Bytes, at most [`PAYLOAD_BYTES_MAX`].
        length: u32,
        /// First byte in the decompressed payload of the part.
        payload_offset: u32,
        /// Who wrote.
        origin: u16,
    },
    /// Content: taken from another file as it was *before this batch*. Only into a file created in
    /// this batch.
    Copy {
        /// File created in this batch.
        file: FileId,
        /// First byte in it.
        offset: u64,
        /// Bytes.
        length: u64,
        /// Where the bytes are.
        from: FileId,
        /// First byte there.
        from_offset: u64,
        /// Who wrote.
        origin: u16,
    },
    /// Content: a hole, reads as zeros.
    Punch {
        /// Regular file.
        file: FileId,
        /// First byte.
        offset: u64,
        /// Bytes.
        length: u64,
        /// Who did it.
        origin: u16,
    },
    /// Content: cut or extended (with a hole) to `length`.
    Truncate {
        /// Regular file.
        file: FileId,
        /// New size in bytes.
        length: u64,
        /// Who did it.
        origin: u16,
    },
    /// Everything but content and names. `attributes.size` tells the size after this batch.
    SetAttributes {
        /// Any file.
        file: FileId,
        /// All of them; they replace the old ones.
        attributes: Attributes,
        /// Who did it.
        origin: u16,
    },
    /// Forgets a staged file that never got a name.
    Drop {
        /// The staged file.
        file: FileId,
    },
    /// Declares a protected root. Its directory is then created and attached to
    /// [`FileId::TOP`] under the root's name by the usual commands.
    Root {
        /// Id of the root's directory.
        file: FileId,
        /// Absolute path at the source.
        path: Vec<u8>,
    },
}

/// A piece of a batch, as much as fits a frame.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct Part {
    /// The batch.
    pub sequence: SequenceNumber,
    /// 0, 1, 2 … within the batch.
    pub part: u32,
    /// Who is meant by the origin numbers of this part's commands. Never empty.
    pub origins: Vec<Origin>,
    /// At most [`PART_COMMANDS_MAX`].
    pub commands: Vec<BackupCommand>,
}

/// What a recovery point is worth.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Encode, Decode)]
pub enum CutKind {
    /// A state that the disk really had, across all files of every root.
    CrashConsistent,
    /// Crash-consistent, and right after a program asked for durability.
    FsyncPoint,
    /// Files were changing while they were read.
    Fuzzy,
    /// Part of an initial copy or a reconcile: the mirror is on its way to a state of the source.
    Partial,
    /// [`Self::Fuzzy`], and why, for people.
    FuzzyBecause(String),
}

impl CutKind {
    /// Is it a state that the disk really had?
    pub fn is_consistent(&self) -> bool {
        matches!(self, Self::CrashConsistent | Self::FsyncPoint)
    }

    /// Why it is not, where that is known.
    pub fn why(&self) -> Option<&str> {
        match self {
            Self::FuzzyBecause(why) => Some(why),
            _ => None,
        }
    }

    /// As the contract names it.
    pub fn name(&self) -> &'static str {
        match self {
            Self::CrashConsistent => "crash-consistent",
            Self::FsyncPoint => "fsync-point",
            Self::Fuzzy | Self::FuzzyBecause(_) => "fuzzy",
            Self::Partial => "partial",
        }
    }
}

/// The end of a batch: it is now complete, and a recovery point.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct Cut {
    /// The batch.
    pub sequence: SequenceNumber,
    /// How many parts it has.
    pub parts: u32,
    /// Source's wall clock at the cut.
    pub time: Timestamp,
    /// What it is worth.
    pub kind: CutKind,
    /// Name of a checkpoint.
    pub checkpoint: Option<String>,
    /// Oldest change in it, source's wall clock; equals `time` when unknown.
    pub oldest_change: Timestamp,
}

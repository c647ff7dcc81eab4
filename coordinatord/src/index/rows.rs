//! Rows of the index.

use everwrite_protocol::ids::{FileId, Timestamp};
use everwrite_protocol::local::Inode;
use everwrite_protocol::wire::Kind;
use rusqlite::Row;

use crate::look::Stat;

/// [`FileRow::changed`] of a file that must be compared with the receiver whatever its times say.
pub const SUSPECT: Timestamp = Timestamp(i64::MIN);

/// [`FileRow::changed`] of a file of which a part was told, and what was told is sent, while not every writer was
/// heard: the next scan compares it with the receiver, for its times would not show who else wrote to it.
pub const UNPROVEN: Timestamp = Timestamp(i64::MIN + 1);

/// What is known of a file: who it is, and how it looked when it was last sent.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FileRow {
    /// Its id.
    pub id: FileId,
    /// Device and inode number at the source.
    pub inode: Inode,
    /// Birth time in nanoseconds; 0 where the file system has none.
    pub birth: u64,
    /// Kind of file.
    pub kind: Kind,
    /// Size in bytes as last sent.
    pub size: u64,
    /// Time of last change of content as last sent.
    pub modified: Timestamp,
    /// Time of last change of the inode (`ctime`) as last seen; [`SUSPECT`] when not to be trusted, or [`UNPROVEN`].
    pub changed: Timestamp,
    /// First 16 bytes of the BLAKE3 of the attributes as last sent.
    pub digest: [u8; 16],
    /// Content is on its way; no name is attached before it is complete.
    pub staged: bool,
}

/// The device of files that were not found on the disk yet; the kernel gives it to none.
pub(super) const UNBOUND: u64 = 0;

impl FileRow {
    /// Is it known which file on the disk this is? Where the index was rebuilt from the receiver, the
    /// inode number is the file's id, so that each row can be told from the others.
    pub fn is_bound(&self) -> bool {
        self.inode.device != UNBOUND
    }

    /// The row of a file that looks like `stat` and has just been sent.
    pub fn of(id: FileId, stat: &Stat, digest: [u8; 16], staged: bool) -> Self {
        Self {
            id,
            inode: stat.inode,
            birth: stat.birth,
            kind: stat.kind,
            size: if stat.kind == Kind::Regular {
                stat.size
            } else {
                0
            },
            modified: stat.modified,
            changed: stat.changed,
            digest,
            staged,
        }
    }

    pub(super) fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            id: FileId(row.get::<_, i64>(0)?.cast_unsigned()),
            inode: Inode {
                device: row.get::<_, i64>(1)?.cast_unsigned(),
                inode: row.get::<_, i64>(2)?.cast_unsigned(),
            },
            birth: row.get::<_, i64>(3)?.cast_unsigned(),
            kind: kind_from_number(row.get(4)?),
            size: row.get::<_, i64>(5)?.cast_unsigned(),
            modified: Timestamp(row.get(6)?),
            changed: Timestamp(row.get(7)?),
            digest: row.get(8)?,
            staged: row.get(9)?,
        })
    }

    /// Can the stat data be trusted to tell that nothing changed?
    pub fn is_suspect(&self) -> bool {
        self.changed == SUSPECT
    }

    /// May others have written to it than those that told of it?
    pub fn is_unproven(&self) -> bool {
        self.changed == UNPROVEN
    }
}

const KINDS: [Kind; 7] = [
    Kind::Regular,
    Kind::Directory,
    Kind::Symlink,
    Kind::Fifo,
    Kind::Socket,
    Kind::CharacterDevice,
    Kind::BlockDevice,
];

fn kind_from_number(number: u8) -> Kind {
    KINDS
        .get(usize::from(number))
        .copied()
        .unwrap_or(Kind::Regular)
}

pub(super) fn kind_number(kind: Kind) -> u8 {
    KINDS.iter().position(|known| *known == kind).unwrap_or(0) as u8
}

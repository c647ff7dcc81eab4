//! Questions to a receiver, and their answers: what it holds, and held.

use bincode::{Decode, Encode};

use super::command::{Attributes, CutKind};
use super::origin::Origin;
use crate::ids::{FileId, Name, SequenceNumber, Timestamp};

/// Bytes of a block digest: the first 16 of BLAKE3.
pub const DIGEST_BYTES: usize = 16;
/// Most entries in one answer; ask again with the cursor.
pub const PAGE_ENTRIES_MAX: usize = 2048;

/// A moment in the past.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub enum At {
    /// The newest stored recovery point.
    Newest,
    /// The newest recovery point not after this (source's clock).
    Time(Timestamp),
    /// This recovery point.
    Sequence(SequenceNumber),
    /// A named checkpoint.
    Checkpoint(String),
    /// The newest crash-consistent recovery point not after this (source's clock); where there is none within
    /// the minute before the newest of any kind, that.
    Consistent(Timestamp),
}

/// A question. `path` is bytes, names joined by slashes; the first is the root's name; empty: all roots.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub enum Query {
    /// Digests of a current file's blocks, once batch `after` is in the mirror. Blocks start at
    /// `offset`, `offset + block`, …; the last may be short.
    Digests {
        /// Which file.
        file: FileId,
        /// First byte.
        offset: u64,
        /// Bytes.
        length: u64,
        /// Block size in bytes.
        block: u32,
        /// Wait until this batch is in the mirror.
        after: SequenceNumber,
    },
    /// fast_rsync signature of a range of a current file, once batch `after` is in the mirror.
    Signature {
        /// Which file.
        file: FileId,
        /// First byte.
        offset: u64,
        /// Bytes, at most 32 MiB.
        length: u64,
        /// Block size in bytes.
        block: u32,
        /// Wait until this batch is in the mirror.
        after: SequenceNumber,
    },
    /// BLAKE3 of a current file's whole content, once batch `after` is in the mirror.
    WholeDigest {
        /// Which file.
        file: FileId,
        /// Wait until this batch is in the mirror.
        after: SequenceNumber,
    },
    /// Every current file and name, to rebuild an index. Ordered; go on after `cursor`.
    Tree {
        /// From the last answer; `None` at first.
        cursor: Option<Vec<u8>>,
    },
    /// Which recovery point is meant?
    Resolve {
        /// The moment.
        at: At,
    },
    /// Recovery points, newest first, before `before`.
    Points {
        /// Upper bound, exclusive; `None`: from the newest.
        before: Option<SequenceNumber>,
        /// At most so many.
        limit: u32,
    },
    /// One entry.
    Stat {
        /// Path.
        path: Vec<u8>,
        /// When.
        at: SequenceNumber,
    },
    /// Entries of a directory (of a file: itself), in byte order of names.
    List {
        /// Path.
        path: Vec<u8>,
        /// When.
        at: SequenceNumber,
        /// Only names after this one.
        after: Option<Name>,
    },
    /// Content of a file as of a moment, from `offset`, at most one payload.
    Read {
        /// Which file (from `Stat` or `List`).
        file: FileId,
        /// When.
        at: SequenceNumber,
        /// First byte.
        offset: u64,
    },
    /// Versions of a path, newest first.
    Log {
        /// Path; of a directory: of all below it.
        path: Vec<u8>,
        /// Only before this batch; `None`: from the newest.
        before: Option<SequenceNumber>,
        /// At most so many.
        limit: u32,
    },
    /// Files deleted below a directory that are not there now, newest first.
    Deleted {
        /// Path.
        path: Vec<u8>,
        /// At most so many.
        limit: u32,
    },
}

/// An entry of a tree at some moment.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct TreeEntry {
    /// The file.
    pub file: FileId,
    /// Its directory.
    pub parent: FileId,
    /// Its name there.
    pub name: Name,
    /// Everything but content.
    pub attributes: Attributes,
    /// Batch in which it last changed.
    pub changed: SequenceNumber,
}

/// Content that is not a hole, as answered to [`Query::Read`].
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode)]
pub struct ContentExtent {
    /// First byte in the file.
    pub offset: u64,
    /// Bytes, in the payload in the order of the extents.
    pub length: u32,
}

/// A recovery point.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct Point {
    /// The batch.
    pub sequence: SequenceNumber,
    /// Source's clock at the cut.
    pub time: Timestamp,
    /// Receiver's clock when it was stored.
    pub stored: Timestamp,
    /// What it is worth.
    pub kind: CutKind,
    /// Name of a checkpoint.
    pub checkpoint: Option<String>,
}

/// What happened to a path in a version.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub enum VersionChange {
    /// Came to be.
    Created,
    /// Content changed; so many bytes were stored.
    Modified {
        /// Bytes stored.
        bytes: u64,
    },
    /// Mode, owner, times or extended attributes changed.
    Attributes,
    /// Came here from another name.
    RenamedFrom {
        /// Full old path.
        path: Vec<u8>,
    },
    /// Left for another name.
    RenamedTo {
        /// Full new path.
        path: Vec<u8>,
    },
    /// Another file took the name.
    Replaced,
    /// Deleted.
    Deleted,
}

/// One version of one path.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct LogEntry {
    /// Full path, root's name first.
    pub path: Vec<u8>,
    /// The batch.
    pub sequence: SequenceNumber,
    /// Source's clock at the cut.
    pub time: Timestamp,
    /// What happened.
    pub change: VersionChange,
    /// Size after it, in bytes.
    pub size: u64,
    /// Who did it.
    pub origin: Origin,
}

/// A file that was deleted.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct DeletedEntry {
    /// Full path.
    pub path: Vec<u8>,
    /// Batch in which it went; it is there at the batch before.
    pub sequence: SequenceNumber,
    /// Source's clock at that cut.
    pub time: Timestamp,
    /// Size when it went.
    pub size: u64,
    /// Who did it.
    pub origin: Origin,
}

/// An answer. Payloads are beside it in the frame.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub enum Answer {
    /// To [`Query::Digests`]: payload holds [`DIGEST_BYTES`] each. At most one payload full: ask on.
    Digests {
        /// Size of the file at the receiver.
        size: u64,
        /// How many digests.
        blocks: u32,
    },
    /// To [`Query::Signature`]: payload holds it.
    Signature,
    /// To [`Query::WholeDigest`].
    WholeDigest {
        /// BLAKE3.
        digest: [u8; 32],
        /// Size of the file at the receiver.
        size: u64,
    },
    /// To [`Query::Tree`].
    Tree {
        /// A page.
        entries: Vec<TreeEntry>,
        /// Ask on with this; `None`: that was all.
        cursor: Option<Vec<u8>>,
        /// Ids above this were never used.
        highest_file: FileId,
    },
    /// To [`Query::Resolve`].
    Resolved(Point),
    /// To [`Query::Points`].
    Points(Vec<Point>),
    /// To [`Query::Stat`].
    Stat(TreeEntry),
    /// To [`Query::List`].
    List {
        /// A page.
        entries: Vec<TreeEntry>,
        /// There are more after the last.
        more: bool,
    },
    /// To [`Query::Read`]: data extents below `end`; what they leave out reads as zeros (a hole).
    Read {
        /// Extents in the payload.
        extents: Vec<ContentExtent>,
        /// Answered up to here; equals `size` at the end.
        end: u64,
        /// Size of the file then.
        size: u64,
    },
    /// To [`Query::Log`].
    Log(Vec<LogEntry>),
    /// To [`Query::Deleted`].
    Deleted(Vec<DeletedEntry>),
    /// The question can't be answered.
    Failed(QueryError),
}

/// Why a question can't be answered.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode, thiserror::Error)]
pub enum QueryError {
    /// Nothing there at that moment.
    #[error("nothing is stored there at that time")]
    NotFound,
    /// No recovery point as old as that.
    #[error("no recovery point is as old as that")]
    TooEarly,
    /// No checkpoint of that name.
    #[error("there is no checkpoint of that name")]
    UnknownCheckpoint,
    /// The question makes no sense for this kind of file, or breaks a limit.
    #[error("the question can't be answered: {0}")]
    Invalid(String),
    /// The receiver's disk failed.
    #[error("the receiver could not read its store: {0}")]
    Store(String),
}

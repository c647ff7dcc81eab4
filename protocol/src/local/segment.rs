//! The segment: the shared-memory lane of one process.
//!
//! ```text
//! 0        header        4 KiB   identity, counters, loss flags
//! 4 KiB    shards        4 x { head, overflow, 1024 range slots of 64 B }
//!          messages      head + 256 message slots of 640 B (names)
//!          hulls         512 x 64 B: where a full shard widens to
//! ```
//!
//! # A slot's life
//! `FREE --claim--> INTENT --system call returned--> DONE --reader--> TAKEN --reader--> FREE, next lap`
//!
//! The control word is `lap << 2 | state`, so that a segment of zeros is ready for use and a late
//! writer can never confuse two laps. A producer claims position `p` by compare-and-swap of `head`
//! from `p` to `p + 1`, and only when slot `p % slots` is `FREE` in lap `p / slots`; it never waits.
//! It then writes the fields, then INTENT with release order, then makes the system call, then
//! DONE with release order. To coalesce, a thread takes its own last slot back from DONE to INTENT by
//! compare-and-swap, extends the range, and goes on. The reader takes DONE to TAKEN by
//! compare-and-swap, copies the fields, and stores FREE of the next lap. INTENT whose thread or
//! process is gone means *dirty*: the system call may or may not have happened.
//!
//! # When there is no room
//! A full shard widens into a hull (`dev`, `ino`, lowest and highest byte), full hulls raise
//! [`SegmentHeader::all_dirty`]. Full message slots widen into a hull of the directory with
//! [`HULL_NAMES`], then `all_dirty`. Widening is never loss: hulls and `all_dirty` have no two phases,
//! so a shim raises them before its system call and once more after it, and a process that died may
//! not have come to the second: when it is gone, every hull in use counts as raised once more, and so
//! does an `all_dirty` that was ever raised.

use core::mem::size_of;
use core::sync::atomic::{AtomicU32, AtomicU64};

/// First word of a segment: `EWsegmnt`, little endian.
pub const SEGMENT_MAGIC: u64 = u64::from_le_bytes(*b"EWsegmnt");
/// Shards of range slots; threads are spread over them.
pub const SHARDS: usize = 4;
/// Range slots in a shard.
pub const RANGE_SLOTS: usize = 1024;
/// Message slots in a segment.
pub const MESSAGE_SLOTS: usize = 256;
/// Hulls in a segment.
pub const HULLS: usize = 512;
/// Room for one encoded message in a message slot.
pub const MESSAGE_SLOT_BODY_BYTES: usize = 640 - 24;

/// States of a slot, the low two bits of its control word.
pub const FREE: u64 = 0;
/// The call was announced, and has not returned as far as is known.
pub const INTENT: u64 = 1;
/// The call has returned.
pub const DONE: u64 = 2;
/// The reader is copying the fields.
pub const TAKEN: u64 = 3;

/// The control word for a slot of a ring of `slots` at claim position `position`.
#[inline(always)]
pub const fn control(position: u64, slots: u64, state: u64) -> u64 {
    ((position / slots) << 2) | state
}

/// What a range slot says ([`RangeSlot::operation`]).
pub mod operation {
    /// Bytes `offset .. offset + length` may have changed. Length `u64::MAX`: to the end of the file.
    pub const WRITE: u32 = 1;
    /// Bytes were appended at the end of the file; where that was is not known to the shim.
    pub const APPEND: u32 = 2;
    /// The size was set to `offset`, 0 where that is not known: nothing from there on is as it was,
    /// even if the file has grown again since.
    pub const TRUNCATE: u32 = 3;
    /// Content changed, the shim can't tell where.
    pub const WHOLE: u32 = 4;
    /// Mode, owner, times or extended attributes changed.
    pub const ATTRIBUTES: u32 = 5;
    /// `offset .. offset + length` is mapped shared and writable: stores will not be announced.
    pub const MAP: u32 = 6;
    /// The program asked for durability (`fsync` family): a good place for a cut.
    pub const SYNC: u32 = 7;
    /// A run of plain writes: `offset .. offset + length`, if nobody else moved the file offset.
    /// INTENT while one of its calls is under way, DONE between them. The reader may take it when
    /// DONE, as a [`WRITE`] that is still owed its proof, see [`RangeSlot::chain`](super::RangeSlot).
    pub const RUN: u32 = 8;
    /// A shared writable mapping of the file ended (`munmap`) or was flushed (`msync`).
    pub const UNMAP: u32 = 9;
}

/// [`Hull::flags`]: bytes `low .. high` of the file may have changed.
pub const HULL_RANGE: u32 = 1;
/// [`Hull::flags`]: attributes of the file changed.
pub const HULL_ATTRIBUTES: u32 = 2;
/// [`Hull::flags`]: the inode is a directory in which names changed.
pub const HULL_NAMES: u32 = 4;
/// [`Hull::flags`]: content changed, no telling where.
pub const HULL_WHOLE: u32 = 8;

/// Identity and counters of a segment. The coordinator fills the first five fields before it hands
/// the segment out; the rest belongs to the shim.
#[repr(C, align(4096))]
pub struct SegmentHeader {
    /// [`SEGMENT_MAGIC`].
    pub magic: AtomicU64,
    /// [`LOCAL_VERSION`](super::LOCAL_VERSION).
    pub version: AtomicU32,
    /// Process that the segment was made for.
    pub pid: AtomicU32,
    /// Policy epoch under which it was made.
    pub epoch: AtomicU64,
    /// Size of the segment in bytes.
    pub bytes: AtomicU64,
    /// Not 0: something was lost that no hull could hold; look everywhere.
    pub all_dirty: AtomicU32,
    /// Next shard to be given to a thread.
    pub shard_next: AtomicU32,
    /// Slots announced, roughly: calls that were coalesced count once, threads may overwrite each
    /// other's count.
    pub hints: AtomicU64,
    /// Calls that had to be widened, as roughly.
    pub widened: AtomicU64,
    /// Inner contradictions that the shim noticed; after three it turns itself off.
    pub faults: AtomicU32,
    /// Not 0: stdio could not be hooked in this process.
    pub stdio_unseen: AtomicU32,
    /// Not 0: the program set up an `io_uring`; what goes through that is not announced.
    pub ring_unseen: AtomicU32,
    /// Calls for durability that wait, or have waited, for the receiver.
    pub durable_asked: AtomicU32,
    /// How many of them have been answered, in the order of their numbers: the receiver has stored all that
    /// was announced before. The coordinator's; a futex.
    pub durable_granted: AtomicU32,
    /// Calls for durability that did not wait until they were answered, since the coordinator last took
    /// the count.
    pub durable_late: AtomicU32,
}

/// One announced change of a file's bytes or attributes.
#[repr(C, align(64))]
pub struct RangeSlot {
    /// `lap << 2 | state`, see [`control`].
    pub control: AtomicU64,
    /// `st_dev` of the file.
    pub device: AtomicU64,
    /// `st_ino` of the file.
    pub inode: AtomicU64,
    /// First byte.
    pub offset: AtomicU64,
    /// Length in bytes.
    pub length: AtomicU64,
    /// One of [`operation`].
    pub operation: AtomicU32,
    /// Thread that made the call.
    pub thread: AtomicU32,
    /// Tells a reused inode apart: birth time in nanoseconds, truncated; 0 when not known.
    pub birth: AtomicU64,
    /// Names the chain of runs that the slot belongs to; 0: none.
    ///
    /// A chain is what one descriptor of one process writes by plain `write`. A taken
    /// [`operation::RUN`] leaves its chain owing a proof of where the bytes went; a later slot of the
    /// chain with another operation settles that ([`operation::WRITE`], which may be of length 0 when
    /// all taken runs were right, or wider, or [`operation::WHOLE`]). A chain that still owes its
    /// proof when the process is gone means [`operation::WHOLE`], and so does a RUN that the process
    /// left behind as INTENT.
    pub chain: AtomicU64,
}

/// A ring of range slots.
#[repr(C, align(64))]
pub struct Shard {
    /// Next position to claim.
    pub head: AtomicU64,
    /// Keeps `head` on a cache line of its own.
    pub reserved: [AtomicU64; 7],
    /// The ring.
    pub slots: [RangeSlot; RANGE_SLOTS],
}

/// One announced change of a name, an encoded [`FileModification`](super::FileModification).
#[repr(C, align(64))]
pub struct MessageSlot {
    /// `lap << 2 | state`.
    pub control: AtomicU64,
    /// Bytes of `body` in use; 0: the call failed and changed nothing.
    pub length: AtomicU32,
    /// Thread that made the call.
    pub thread: AtomicU32,
    /// Zero.
    pub reserved: AtomicU64,
    /// The message. Words, so that both sides only ever do atomic stores and loads on shared memory
    /// that another process may scribble on; little endian within a word.
    pub body: [AtomicU64; MESSAGE_SLOT_BODY_BYTES / 8],
}

/// The ring of message slots.
#[repr(C, align(64))]
pub struct Messages {
    /// Next position to claim.
    pub head: AtomicU64,
    /// Keeps `head` on a cache line of its own.
    pub reserved: [AtomicU64; 7],
    /// The ring.
    pub slots: [MessageSlot; MESSAGE_SLOTS],
}

/// Where slots widen to: everything about one inode, as one hull.
///
/// `state` 0 = free, 1 = being claimed, 2 = in use. A producer claims 0 → 1, writes `device` and
/// `inode`, stores 2; afterwards any producer widens `low` and `high` by atomic minimum and maximum,
/// *then* ors `flags`. The reader swaps `flags` with 0 first and reads `low`/`high` after; it never
/// frees a hull while the process lives, so a hull keeps its inode.
#[repr(C, align(64))]
pub struct Hull {
    /// 0, 1 or 2, see above.
    pub state: AtomicU32,
    /// Or of the `HULL_` flags; 0: nothing since last taken.
    pub flags: AtomicU32,
    /// `st_dev`.
    pub device: AtomicU64,
    /// `st_ino`.
    pub inode: AtomicU64,
    /// Lowest changed byte, stored inverted (`!low`) so that zeroed memory means *none* and an
    /// atomic maximum widens it.
    pub low_inverted: AtomicU64,
    /// One past the highest changed byte.
    pub high: AtomicU64,
    /// Zero.
    pub reserved: [AtomicU64; 3],
}

/// The whole segment. All-zero memory is a valid empty one.
#[repr(C, align(4096))]
pub struct Segment {
    /// Identity, counters, loss flags.
    pub header: SegmentHeader,
    /// Rings of byte ranges.
    pub shards: [Shard; SHARDS],
    /// Ring of name changes.
    pub messages: Messages,
    /// Where the rings widen to.
    pub hulls: [Hull; HULLS],
}

/// The doorbell: one page shared by the coordinator and all shims, handed out with each segment.
///
/// The coordinator stores [`ASLEEP`] or [`DOZING`] in `reader` before it waits on that word with `futex(2)`. A
/// shim that has published DONE and reads [`ASLEEP`] swaps in [`AWAKE`] and, if it was the one to do so, wakes
/// one waiter. Who dozes will look by itself within milliseconds, and is woken only where that is too long: when
/// a quarter of a ring has been used, and for what is waited for. The coordinator never trusts it: it also wakes
/// by itself.
#[repr(C, align(4096))]
pub struct Doorbell {
    /// What the reader does.
    pub reader: AtomicU32,
}

/// The reader is on its rounds.
pub const AWAKE: u32 = 0;
/// It waits for whatever comes.
pub const ASLEEP: u32 = 1;
/// It waits a moment, so that more comes together.
pub const DOZING: u32 = 2;

/// Size of a segment in bytes, a whole number of pages.
pub const SEGMENT_BYTES: usize = size_of::<Segment>();
/// Size of the doorbell in bytes.
pub const DOORBELL_BYTES: usize = size_of::<Doorbell>();

const _: () = assert!(size_of::<SegmentHeader>() == 4096);
const _: () = assert!(size_of::<RangeSlot>() == 64);
const _: () = assert!(size_of::<MessageSlot>() == 640);
const _: () = assert!(size_of::<Hull>() == 64);
const _: () = assert!(SEGMENT_BYTES.is_multiple_of(4096));

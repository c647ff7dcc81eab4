//! The append-only log of one source: write-ahead log, redo and history at once.
//!
//! A batch is a run of DATA frames and a CUT; it counts from the moment its CUT is on the disk. The
//! apply path adds frames of its own: PREIMAGE (bytes about to be overwritten in the mirror),
//! WINDOW (all pre-images of a window of batches are on the disk, the mirror may now be touched) and
//! PHASE (how far the mirror has come with it).
//!
//! ```text
//! log/00000001.seg   SEGMENT DATA DATA CUT DATA CUT PREIMAGE WINDOW DATA PHASE CUT …
//! log/00000002.seg   SEGMENT …                    each frame chained to the one before it
//! ```
//!
//! A frame is in one segment only. There is one writer ([`writer`]), which syncs once for every cut
//! that came meanwhile. [`recover`] tells a torn end (cut off) from damage (an alarm, never cut off).

pub mod appender;
pub mod content;
pub mod frame;
mod recover;
mod scan;
pub mod segment;
mod writer;

pub use frame::{FrameKind, FramePosition, NewFrame};
pub use recover::{PendingWindow, Phase, Recovered, recover};
pub use scan::{Frame, LogPosition, Scan, Step, read_frame};
pub use segment::Segments;
pub use writer::{Faults, LogEvent, LogWriter};

use bincode::{Decode, Encode};
use everwrite_protocol::ids::Timestamp;
use everwrite_protocol::wire::Cut;

/// What a CUT frame holds.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct StoredCut {
    /// The cut as the source sent it.
    pub cut: Cut,
    /// Receiver's wall clock when it was written.
    pub stored: Timestamp,
    /// The log was on the disk up to here when this frame was written. A bad frame before this
    /// position is damage; a bad frame after it may be a torn end.
    pub durable: FramePosition,
}

/// What a WINDOW frame holds; its sequence is the window's last batch.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct WindowMark {
    /// How many PREIMAGE frames of this window come before it.
    pub preimages: u32,
}

/// What a PREIMAGE frame holds; its sequence is the window's last batch, its part counts from 0.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct Preimages {
    /// Which bytes, in the order of the payload.
    pub entries: Vec<PreimageEntry>,
}

/// Bytes of a file as they were before a window. What an asked-for range leaves out is zeros.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode)]
pub struct PreimageEntry {
    /// Which of the plan's needs, counted from 0.
    pub need: u32,
    /// First byte, from the beginning of the need.
    pub offset: u64,
    /// Bytes.
    pub length: u32,
}

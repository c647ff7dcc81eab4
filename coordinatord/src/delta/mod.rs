//! What changed in a file, when all that is known is that it did.
//!
//! [`ladder`] compares the content on the disk with what the receiver holds, one rung after the
//! other, each finer and dearer than the one before, and gives a [`Plan`]: the new content in
//! pieces, of which only [`Piece::Data`] has to travel.

mod base;
mod blocks;
mod content;
mod librsync;
mod matches;
mod pieces;
mod read_at;
mod roll;
mod rungs;
mod signature;
#[cfg(test)]
mod tests;

pub use read_at::ReadAt;

use crate::network_backup::AskError;
use crate::ranges::RangeSet;
pub use rungs::ladder;

/// A piece of the *new* content.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Piece {
    /// As in the base, at the same place.
    Same {
        /// First byte.
        offset: u64,
        /// Bytes.
        length: u64,
    },
    /// In the base too, at another place.
    Copy {
        /// First byte.
        offset: u64,
        /// Bytes.
        length: u64,
        /// First byte in the base.
        from_offset: u64,
    },
    /// Has to be sent.
    Data {
        /// First byte.
        offset: u64,
        /// Bytes.
        length: u64,
    },
    /// Nothing there; reads as zeros.
    Hole {
        /// First byte.
        offset: u64,
        /// Bytes.
        length: u64,
    },
}

/// What may be done with the pieces.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mode {
    /// The base itself is changed: no [`Piece::Copy`].
    InPlace,
    /// A new file is built beside the base, which may be copied from at any place.
    Rebuild,
}

/// How the new content comes from the base.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Plan {
    /// Ascending, without gaps, from 0 to the length of the new content.
    pub pieces: Vec<Piece>,
    /// No [`Piece::Copy`] among them.
    pub in_place: bool,
    /// What of the new content is not at the same place in the base: a hole is where the base has zeros.
    pub differing: RangeSet,
    /// BLAKE3 of the new content as it was read.
    pub digest: [u8; 32],
}

/// Why there is no plan. The content can always be sent whole instead.
#[derive(Debug, thiserror::Error)]
pub enum LadderError {
    /// The new content can't be read.
    #[error("read: {0}")]
    Read(#[from] std::io::Error),
    /// The new content became shorter while it was read.
    #[error("the file became shorter while it was read")]
    Shrunk,
    /// The receiver's file is not as long as the index says.
    #[error("the receiver's file has {found} bytes, the index says {expected}")]
    Base {
        /// By the index.
        expected: u64,
        /// At the receiver.
        found: u64,
    },
    /// The receiver did not answer.
    #[error(transparent)]
    Ask(#[from] AskError),
    /// It answered nonsense.
    #[error("the receiver's {0} can't be meant")]
    Nonsense(&'static str),
}

//! The network backup unit of the source: batches go out, *stored* comes back.
//!
//! [`Uplink`] keeps every batch until the receiver has it on its disk, over as many connections as
//! that takes. [`QueryClient`] asks what the receiver holds, over a connection of its own, so that
//! no question waits behind a batch. [`pair()`] makes two machines trust each other.
//!
//! The embedded receiver (`dir:PATH`) is the same session code at the other end of a pipe inside
//! this process; only TLS is left out.

mod backoff;
mod connect;
mod link;
mod live;
mod pair;
mod query_client;
mod question_line;
mod uplink;
mod window;

use std::path::PathBuf;

use everwrite_protocol::ids::SequenceNumber;
use everwrite_protocol::wire::{Cut, Fingerprint, Part};

pub use connect::{ConnectError, Dial, Stream};
pub use everwrite_receiver::identity::Identity;
pub use pair::{PairError, PairedReceiver, pair};
pub use query_client::{Ask, AskError, QueryClient};
pub use uplink::Uplink;

/// Where a receiver is.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Target {
    /// Another machine.
    Tcp {
        /// `HOST:PORT`.
        address: String,
        /// The certificate that it must show.
        fingerprint: Fingerprint,
    },
    /// The embedded receiver: a store in this directory.
    Directory(PathBuf),
}

impl std::fmt::Display for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Tcp { address, .. } => f.write_str(address),
            Self::Directory(path) => write!(f, "dir:{}", path.display()),
        }
    }
}

/// A batch on its way: commands in parts, then the cut.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Batch {
    /// Each with its payload as read, at most `PAYLOAD_BYTES_MAX`. All carry the cut's sequence
    /// number and are numbered from 0.
    pub parts: Vec<(Part, Vec<u8>)>,
    /// The end; `cut.parts` is the number of parts.
    pub cut: Cut,
}

impl Batch {
    /// What counts against the window, in bytes: payload, and something for the commands.
    pub fn bytes(&self) -> u64 {
        let part_bytes = |(part, payload): &(Part, Vec<u8>)| {
            payload.len() + COMMAND_BYTES_ABOUT * part.commands.len() + PART_BYTES_ABOUT
        };
        self.parts.iter().map(part_bytes).sum::<usize>() as u64
    }
}

/// A sentence from the other machine, as it can be logged and printed: no more than a sentence, and
/// nothing in it that a terminal would obey.
fn plain(sentence: &str) -> String {
    let shown = sentence.chars().filter(|character| !character.is_control());
    shown.take(SENTENCE_CHARACTERS_MAX).collect()
}

const SENTENCE_CHARACTERS_MAX: usize = 500;

/// Usual size of an encoded command. The window is a brake, not an account.
const COMMAND_BYTES_ABOUT: usize = 64;
/// Usual size of what a part has besides commands and payload.
const PART_BYTES_ABOUT: usize = 128;

/// What an [`Uplink`] tells the coordinator.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum UplinkEvent {
    /// There is a connection. Batches up to `stored` are done; those after it that the uplink
    /// still keeps are sent again.
    Connected {
        /// Last batch on the receiver's disk.
        stored: SequenceNumber,
        /// Last batch in its mirror.
        applied: SequenceNumber,
        /// Bytes of batches that may be under way unstored.
        window_bytes: u64,
    },
    /// There is none, and why; told at the first failure and whenever the cause changes. The
    /// uplink goes on trying.
    Disconnected {
        /// For people.
        error: String,
    },
    /// All batches up to this one are on the receiver's disk.
    Stored(SequenceNumber),
    /// All batches up to this one are in the mirror.
    Applied(SequenceNumber),
    /// The receiver can't store for now; nothing is lost. Right after [`Self::Disconnected`]: that is
    /// why it lets nobody in.
    Stalled {
        /// For people.
        reason: String,
    },
    /// The stall is over.
    Resumed,
    /// The receiver refused a batch. The uplink sends nothing more until
    /// [`Uplink::forget_unsent`].
    Rejected {
        /// The batch.
        sequence: SequenceNumber,
        /// For people.
        reason: String,
    },
}

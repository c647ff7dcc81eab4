//! How a connection begins, and what comes back on a live one.

use bincode::{Decode, Encode};

use crate::ids::{SequenceNumber, SourceId};

/// Bytes of a certificate fingerprint (SHA-256 of the DER form).
pub const FINGERPRINT_BYTES: usize = 32;
/// Bytes of a pairing secret.
pub const SECRET_BYTES: usize = 16;

/// SHA-256 of a certificate: whom to trust.
pub type Fingerprint = [u8; FINGERPRINT_BYTES];

/// Versions of the wire language. The doc comments are its changelog.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Encode, Decode)]
pub enum Version {
    /// First version.
    V1,
}

impl Version {
    /// The newest that this build speaks.
    pub const CURRENT: Self = Self::V1;
}

/// What a connection is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode)]
pub enum Role {
    /// Batches up, replies down. One per source at a time: a newer one ends the older.
    Live,
    /// Queries and answers. Any number.
    Query,
}

/// First message of a coordinator.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct Hello {
    /// Newest version that the coordinator speaks.
    pub version: Version,
    /// Which source; must belong to the certificate.
    pub source: SourceId,
    /// What the connection is for.
    pub role: Role,
}

/// Answer to [`Hello`].
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub enum Welcome {
    /// Go on.
    Accepted {
        /// Version to speak on this connection.
        version: Version,
        /// Last batch that is stored. The next to send is the one after it.
        stored: SequenceNumber,
        /// Last batch that is in the mirror.
        applied: SequenceNumber,
        /// Bytes of batches that may be under way unstored.
        window_bytes: u64,
    },
    /// The connection will be closed.
    Refused(Refusal),
}

/// Why a coordinator was refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode, thiserror::Error)]
pub enum Refusal {
    /// No version in common.
    #[error("the receiver speaks another version; update the older of the two")]
    Version,
    /// The certificate belongs to no paired source.
    #[error(
        "the receiver does not know this source; pair again: `everwrite-receiver pair` there, `everwrite pair CODE` here"
    )]
    Unknown,
    /// The certificate belongs to another source.
    #[error("the receiver knows this certificate under another source id; pair again")]
    Identity,
    /// A pairing secret that is wrong, used up or too old.
    #[error("pairing code wrong, used or expired; get a new one with `everwrite-receiver pair`")]
    Secret,
    /// The store can't take anything (see the receiver's log).
    #[error("the receiver's store has failed; see its log")]
    Store,
    /// The store can't take anything for now, and has not written all that it took before.
    #[error(
        "the receiver can't store anything now (disk full?); it goes on by itself when there is room"
    )]
    Stalled,
}

/// Asks to be paired: the first message when all that is known is a code.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct Enrol {
    /// Version that the coordinator speaks.
    pub version: Version,
    /// Which source.
    pub source: SourceId,
    /// The code's secret.
    pub secret: [u8; SECRET_BYTES],
    /// Host name of the source, for people.
    pub host: String,
}

/// Answer to [`Enrol`].
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub enum Enrolled {
    /// The source's certificate is pinned now.
    Accepted,
    /// It is not.
    Refused(Refusal),
}

/// Receiver → coordinator on a live connection.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub enum Reply {
    /// All batches up to this one are on the receiver's disk (fsynced).
    Stored(SequenceNumber),
    /// All batches up to this one are in the mirror.
    Applied(SequenceNumber),
    /// Nothing can be stored for now (disk full, quota); batches are kept waiting, not lost.
    Stalled {
        /// For people.
        reason: String,
    },
    /// The stall is over.
    Resumed,
    /// A batch was refused; it breaks the rules. The connection will be closed.
    Rejected {
        /// The batch.
        sequence: SequenceNumber,
        /// For people.
        reason: String,
    },
}

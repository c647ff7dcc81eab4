//! Coordinator ↔ receiver.
//!
//! Two connections, told apart by the role in [`Hello`]:
//!
//! - **live**: numbered batches up ([`Part`] …, [`Cut`]), [`Stored`](Reply::Stored) and
//!   [`Applied`](Reply::Applied) down;
//! - **query**: [`Query`] up, [`Answer`] down, one at a time: digests, signatures, history.
//!
//! Every message is one [`frame`]: a fixed header, a bincode part of limited length, raw payload
//! bytes beside it.
//!
//! # Changing this
//! A new message is a new [`FrameType`](frame::FrameType). Enums grow at the end only. A changed structure is a new
//! structure under a new [`Version`]; old ones stay decodable. Golden bytes in `tests/` hold this.

mod command;
pub mod frame;
mod origin;
mod query;
mod session;

pub use command::{
    Attributes, BackupCommand, Cut, CutKind, Kind, PART_COMMANDS_MAX, PAYLOAD_BYTES_MAX, Part,
    Xattr,
};
pub use origin::Origin;
pub use query::{
    Answer, At, ContentExtent, DIGEST_BYTES, DeletedEntry, LogEntry, PAGE_ENTRIES_MAX, Point,
    Query, QueryError, TreeEntry, VersionChange,
};
pub use session::{
    Enrol, Enrolled, FINGERPRINT_BYTES, Fingerprint, Hello, Refusal, Reply, Role, SECRET_BYTES,
    Version, Welcome,
};

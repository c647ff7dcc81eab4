//! The network backup unit of the destination: speaks with coordinators, puts their batches into
//! stores, answers their questions.
//!
//! A connection comes in by the [`listener`] (TCP and TLS) or from the [`Embedded`] receiver (a
//! pipe inside the coordinator's process); both hand it to the same [`session`]. A session is let
//! in by its certificate, then lives as `live` or `query` connection of one source in
//! [`Sources`], the place where a source's connections meet its one store.

mod destination;
mod embedded;
mod ingest;
pub mod listener;
mod live;
mod query;
mod replies;
pub mod session;
mod source;
mod strangers;

pub use destination::{Destination, DestinationError, Destinations, StoreDirectory};
pub(crate) use embedded::claim;
pub use embedded::{Embedded, EmbeddedError};
pub use source::Sources;

use std::time::Duration;

/// Bytes of batches that a coordinator may have under way unstored.
pub const WINDOW_BYTES: u64 = 64 << 20;
/// An idle side of a live connection shows that it is alive this often.
pub const PING_EVERY: Duration = Duration::from_secs(5);
/// After so much silence the other side of a live connection is taken for dead.
pub const SILENCE_MAX: Duration = Duration::from_secs(20);
/// After an `accept` that failed (no descriptors left, say), a breath.
const BREATH: Duration = Duration::from_millis(100);

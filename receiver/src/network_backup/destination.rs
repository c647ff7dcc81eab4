//! The narrow door between sessions and stores.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use everwrite_protocol::ids::{SequenceNumber, SourceId};
use everwrite_protocol::wire::{Answer, Cut, Query};

use crate::store::{SourceStore, StoreError, StoreEvent};
use crate::transport::Frame;

/// Hears what a store tells of itself; called from the store's threads, must not block.
pub(super) type OnEvent = Box<dyn Fn(StoreEvent) + Send + Sync>;

/// Where the batches of one source go. All calls may block.
pub trait Destination: Send + Sync {
    /// Last batch on the disk.
    fn stored(&self) -> SequenceNumber;
    /// Last batch in the mirror.
    fn applied(&self) -> SequenceNumber;
    /// Takes a part as it came; of a batch that it has already, without effect.
    fn append_part(&self, part: Frame<'static>) -> Result<(), DestinationError>;
    /// Ends the batch; [`StoreEvent::Stored`] follows.
    fn commit(&self, cut: Cut) -> Result<(), DestinationError>;
    /// Waits until every batch whose cut was taken is on the disk. `false`: it took longer than `wait`.
    fn settle(&self, wait: Duration) -> bool;
    /// It is about to be dropped: calls that wait end.
    fn close(&self);
    /// Answers.
    fn answer(&self, query: &Query) -> (Answer, Vec<u8>);
}

/// All destinations of a receiver.
pub trait Destinations: Send + Sync + 'static {
    /// Opens that of one source; at most one is open at a time.
    fn open(
        &self,
        source: SourceId,
        events: OnEvent,
    ) -> Result<Arc<dyn Destination>, DestinationError>;
}

/// Why a destination did not take something.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum DestinationError {
    /// The coordinator broke a rule.
    #[error("{reason}")]
    Rejected {
        /// The batch.
        sequence: SequenceNumber,
        /// For people.
        reason: String,
    },
    /// The store failed; open it anew.
    #[error("{0}")]
    Failed(String),
}

/// The stores in a receiver's directory.
#[derive(Clone, Debug)]
pub struct StoreDirectory(pub PathBuf);

impl Destinations for StoreDirectory {
    fn open(
        &self,
        source: SourceId,
        events: OnEvent,
    ) -> Result<Arc<dyn Destination>, DestinationError> {
        Ok(SourceStore::open(&self.0, source, events)?)
    }
}

impl Destination for SourceStore {
    fn stored(&self) -> SequenceNumber {
        Self::stored(self)
    }

    fn applied(&self) -> SequenceNumber {
        Self::applied(self)
    }

    fn append_part(&self, part: Frame<'static>) -> Result<(), DestinationError> {
        let payload = part.payload.into_owned();
        Ok(Self::append_part(
            self,
            part.encoded,
            payload,
            part.raw_bytes,
            part.compressed,
        )?)
    }

    fn commit(&self, cut: Cut) -> Result<(), DestinationError> {
        Ok(Self::commit(self, cut)?)
    }

    fn settle(&self, wait: Duration) -> bool {
        Self::settle(self, wait)
    }

    fn close(&self) {
        Self::close(self);
    }

    fn answer(&self, query: &Query) -> (Answer, Vec<u8>) {
        Self::answer(self, query)
    }
}

impl From<StoreError> for DestinationError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Rejected { sequence, reason } => Self::Rejected {
                sequence,
                reason: reason.to_string(),
            },
            other => Self::Failed(other.to_string()),
        }
    }
}

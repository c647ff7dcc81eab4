//! The store of one source: what a session puts batches into and asks questions of.

mod error;

use std::path::Path;
use std::sync::Arc;

use everwrite_protocol::ids::{SequenceNumber, SourceId};
use everwrite_protocol::wire::{Answer, Cut, Query};

pub use error::{Rejection, StoreError};

/// What a store tells of itself, from its own threads.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum StoreEvent {
    /// Every batch up to this one is on the disk (fsynced).
    Stored(SequenceNumber),
    /// Every batch up to this one is in the mirror.
    Applied(SequenceNumber),
    /// Nothing can be stored for now, for this reason. What was queued waits; nothing is lost.
    Stalled(String),
    /// The stall is over.
    Resumed,
}

/// The store of one source. One at a time per source and machine; shared by all its sessions.
#[derive(Debug)]
pub struct SourceStore {
    _private: (),
}

impl SourceStore {
    /// Opens (or makes) the store of `source` below `store_dir`, recovers it and starts its threads.
    /// `events` is called from those threads and must not block.
    pub fn open(
        store_dir: &Path,
        source: SourceId,
        events: impl Fn(StoreEvent) + Send + Sync + 'static,
    ) -> Result<Arc<Self>, StoreError> {
        let _ = (store_dir, source, events);
        unimplemented!("lands next")
    }

    /// Last batch on the disk.
    pub fn stored(&self) -> SequenceNumber {
        unimplemented!("lands next")
    }

    /// Last batch in the mirror.
    pub fn applied(&self) -> SequenceNumber {
        unimplemented!("lands next")
    }

    /// Takes a part of a batch: `encoded_part` as it came (a [`Part`](everwrite_protocol::wire::Part)),
    /// `payload` as it came, `raw_bytes` long when decompressed. Parts of stored batches are accepted
    /// and ignored; part 0 of the next batch begins it anew. Blocks while too much is waiting to be
    /// written: call it from a blocking thread.
    pub fn append_part(
        &self,
        encoded_part: Vec<u8>,
        payload: Vec<u8>,
        raw_bytes: usize,
        compressed: bool,
    ) -> Result<(), StoreError> {
        let _ = (encoded_part, payload, raw_bytes, compressed);
        unimplemented!("lands next")
    }

    /// Ends the batch. [`StoreEvent::Stored`] follows when it is on the disk.
    pub fn commit(&self, cut: Cut) -> Result<(), StoreError> {
        let _ = cut;
        unimplemented!("lands next")
    }

    /// Answers a question with an answer and its payload. Blocks: call it from a blocking thread.
    pub fn answer(&self, query: &Query) -> (Answer, Vec<u8>) {
        let _ = query;
        unimplemented!("lands next")
    }
}

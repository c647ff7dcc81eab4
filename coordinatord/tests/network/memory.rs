//! A store in memory, as strict as the real one, that can stall, refuse and fail.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use everwrite_coordinatord::network_backup::Batch;
use everwrite_protocol::codec;
use everwrite_protocol::ids::{SequenceNumber, SourceId};
use everwrite_protocol::wire::{Answer, Cut, Part, Query, QueryError};
use everwrite_receiver::network_backup::{Destination, DestinationError, Destinations};
use everwrite_receiver::store::{Stage, StoreEvent};
use everwrite_receiver::transport::Frame;

type OnEvent = Box<dyn Fn(StoreEvent) + Send + Sync>;

/// The stores of all sources. Batches outlive failures, as on a disk.
#[derive(Clone, Default)]
pub(crate) struct Memory {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    batches: Mutex<HashMap<SourceId, Vec<Batch>>>,
    /// Refuse the batch of this number, once.
    refuse: Mutex<Option<u64>>,
    /// Fail at the next part, once.
    fail: AtomicBool,
    /// Fail after the next cut was taken, once.
    fail_sync: AtomicBool,
    /// No cut gets through.
    stalled: Mutex<bool>,
    resumed: Condvar,
    /// No answer gets out.
    mute: Mutex<bool>,
    unmuted: Condvar,
}

impl Memory {
    /// What is stored.
    pub(crate) fn batches(&self, source: SourceId) -> Vec<Batch> {
        let batches = self.shared.batches.lock().unwrap();
        batches.get(&source).cloned().unwrap_or_default()
    }

    pub(crate) fn refuse(&self, number: u64) {
        *self.shared.refuse.lock().unwrap() = Some(number);
    }

    pub(crate) fn fail(&self) {
        self.shared.fail.store(true, Ordering::SeqCst);
    }

    pub(crate) fn fail_sync(&self) {
        self.shared.fail_sync.store(true, Ordering::SeqCst);
    }

    pub(crate) fn stall(&self, stalled: bool) {
        *self.shared.stalled.lock().unwrap() = stalled;
        self.shared.resumed.notify_all();
    }

    pub(crate) fn mute(&self, mute: bool) {
        *self.shared.mute.lock().unwrap() = mute;
        self.shared.unmuted.notify_all();
    }
}

impl Destinations for Memory {
    fn open(
        &self,
        source: SourceId,
        events: OnEvent,
    ) -> Result<Arc<dyn Destination>, DestinationError> {
        let shared = Arc::clone(&self.shared);
        Ok(Arc::new(MemoryStore {
            source,
            events,
            shared,
            open: Mutex::default(),
            closed: AtomicBool::new(false),
        }))
    }
}

struct MemoryStore {
    source: SourceId,
    events: OnEvent,
    shared: Arc<Shared>,
    /// Parts of the batch that has no cut yet.
    open: Mutex<Vec<(Part, Vec<u8>)>>,
    closed: AtomicBool,
}

fn rejected(sequence: SequenceNumber, reason: &str) -> DestinationError {
    DestinationError::Rejected {
        sequence,
        reason: reason.to_owned(),
    }
}

impl Destination for MemoryStore {
    fn stored(&self) -> SequenceNumber {
        let batches = self.shared.batches.lock().unwrap();
        SequenceNumber(batches.get(&self.source).map_or(0, Vec::len) as u64)
    }

    fn applied(&self) -> SequenceNumber {
        self.stored()
    }

    fn append_part(&self, frame: Frame<'static>) -> Result<(), DestinationError> {
        if self.shared.fail.swap(false, Ordering::SeqCst) {
            return Err(DestinationError::Failed("the disk broke".to_owned()));
        }
        let part: Part = codec::decode(&frame.encoded)
            .map_err(|error| rejected(SequenceNumber(0), &error.to_string()))?;
        if part.sequence <= self.stored() {
            return Ok(());
        }
        let mut open = self.open.lock().unwrap();
        if part.part == 0 {
            open.clear();
        }
        if part.sequence != self.stored().next() || part.part as usize != open.len() {
            return Err(rejected(part.sequence, "out of order"));
        }
        let payload = frame
            .into_payload()
            .map_err(|error| rejected(part.sequence, &error.to_string()))?;
        open.push((part, payload));
        Ok(())
    }

    fn commit(&self, cut: Cut) -> Result<(), DestinationError> {
        let mut stalled = self.shared.stalled.lock().unwrap();
        if *stalled {
            (self.events)(StoreEvent::Stalled(Stage::Log, "disk full".to_owned()));
            while *stalled && !self.closed.load(Ordering::SeqCst) {
                stalled = self.shared.resumed.wait(stalled).unwrap();
            }
            if *stalled {
                return Err(DestinationError::Failed("closed".to_owned()));
            }
            (self.events)(StoreEvent::Resumed(Stage::Log));
        }
        drop(stalled);
        let sequence = cut.sequence;
        if sequence <= self.stored() {
            return Ok(());
        }
        if self
            .shared
            .refuse
            .lock()
            .unwrap()
            .take_if(|number| *number == sequence.0)
            .is_some()
        {
            return Err(rejected(sequence, "against the rules"));
        }
        let parts = std::mem::take(&mut *self.open.lock().unwrap());
        if sequence != self.stored().next() || parts.len() != cut.parts as usize {
            return Err(rejected(sequence, "a cut out of order"));
        }
        if self.shared.fail_sync.swap(false, Ordering::SeqCst) {
            (self.events)(StoreEvent::Failed("the disk broke".to_owned()));
            return Ok(());
        }
        let mut batches = self.shared.batches.lock().unwrap();
        batches
            .entry(self.source)
            .or_default()
            .push(Batch { parts, cut });
        drop(batches);
        (self.events)(StoreEvent::Stored(sequence));
        (self.events)(StoreEvent::Applied(sequence));
        Ok(())
    }

    /// To `Points`: as many as asked for, as a failure that names the number. To `WholeDigest`: a
    /// payload of a mebibyte. All else is not found.
    /// A cut that was taken is stored.
    fn settle(&self, _wait: Duration) -> bool {
        true
    }

    fn close(&self) {
        let _between_look_and_wait = self.shared.stalled.lock().unwrap();
        self.closed.store(true, Ordering::SeqCst);
        self.shared.resumed.notify_all();
    }

    fn answer(&self, query: &Query) -> (Answer, Vec<u8>) {
        let mute = self.shared.mute.lock().unwrap();
        drop(self.shared.unmuted.wait_while(mute, |mute| *mute).unwrap());
        match query {
            Query::Points { limit, .. } => (
                Answer::Failed(QueryError::Invalid(limit.to_string())),
                Vec::new(),
            ),
            Query::WholeDigest { file, .. } => {
                let answer = Answer::WholeDigest {
                    digest: [file.0 as u8; 32],
                    size: file.0,
                };
                (answer, vec![file.0 as u8; 1 << 20])
            }
            _ => (Answer::Failed(QueryError::NotFound), Vec::new()),
        }
    }
}

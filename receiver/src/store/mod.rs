//! The store of one source: what a session puts batches into and asks questions of.
//!
//! Two threads of its own: the log's writer, which makes batches durable, and apply, which brings
//! them into the mirror. Questions are answered on the caller's thread.

mod apply_thread;
mod error;
mod lock;
mod order;
mod validate;

use std::fs::File;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use everwrite_protocol::ids::{SequenceNumber, SourceId};
use everwrite_protocol::wire::{Answer, Cut, Query, QueryError};

pub use error::{Rejection, StoreError};
pub use lock::{ApplyLock, writer_lock};

use apply_thread::{ApplyThread, Progress};
use order::{Order, Verdict, Weight};
use validate::RawPart;

use crate::apply::Applier;
use crate::catalog::Catalog;
use crate::history::Reader;
use crate::log::appender::Appender;
use crate::log::segment::SEGMENT_BYTES;
use crate::log::{Faults, FrameKind, LogEvent, LogWriter, NewFrame, Segments, recover};
use crate::mirror::Layout;

/// How long a question waits for batches to be applied.
const ANSWER_WAIT: Duration = Duration::from_secs(60);

/// What a store tells of itself, from its own threads.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum StoreEvent {
    /// Every batch up to this one is on the disk (fsynced).
    Stored(SequenceNumber),
    /// Every batch up to this one is in the mirror.
    Applied(SequenceNumber),
    /// Nothing gets further there for now, for this reason. What was queued waits; nothing is lost.
    Stalled(Stage, String),
    /// The stall there is over.
    Resumed(Stage),
    /// A sync failed, for this reason: nothing is taken until the store is opened anew.
    Failed(String),
}

/// Where batches can be held up.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stage {
    /// On their way to the disk.
    Log,
    /// Stored, on their way to the mirror.
    Mirror,
}

/// Who does the work of a store, or of those who use it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Hands {
    /// Threads of its own.
    Threads,
    /// Whoever calls: nothing is written or applied but in [`SourceStore::drive_log`] and
    /// [`SourceStore::drive_mirror`], or where somebody asks for what needs it. Dropped, the store is as if its
    /// process had been killed. For simulations, in which everything happens on one thread.
    Callers,
}

/// How a store is kept.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Who does the work.
    pub hands: Hands,
    /// Where a segment of the log is closed, in bytes.
    pub segment_bytes: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            hands: Hands::Threads,
            segment_bytes: SEGMENT_BYTES,
        }
    }
}

/// The store of one source. One at a time per source and machine; shared by all its sessions.
#[derive(Debug)]
pub struct SourceStore {
    hands: Hands,
    // In the order in which they have to end: apply needs the log's writer.
    apply: ApplyThread,
    writer: Arc<LogWriter>,
    progress: Arc<Progress>,
    order: Mutex<Order>,
    reader: Reader,
    /// The mirror was between two recovery points before this batch when the store was opened.
    interrupted: SequenceNumber,
    _writer_lock: File,
}

impl SourceStore {
    /// Opens (or makes) the store of `source` below `store_dir`, recovers it and starts its threads.
    /// `events` is called from those threads and must not block.
    pub fn open(
        store_dir: &Path,
        source: SourceId,
        events: impl Fn(StoreEvent) + Send + Sync + 'static,
    ) -> Result<Arc<Self>, StoreError> {
        Self::open_with(Settings::default(), store_dir, source, events)
    }

    /// The same, kept in another way.
    pub fn open_with(
        settings: Settings,
        store_dir: &Path,
        source: SourceId,
        events: impl Fn(StoreEvent) + Send + Sync + 'static,
    ) -> Result<Arc<Self>, StoreError> {
        let layout = Layout::new(store_dir, source);
        layout.create()?;
        let Some(writer_lock) = writer_lock(&layout.writer_lock())? else {
            return Err(StoreError::InUse(layout.root));
        };
        let catalog = Catalog::open(&layout.catalog())?;
        let segments = Segments::new(layout.log()).closed_at(settings.segment_bytes);
        let hands = settings.hands;
        let state = catalog.state()?;
        let recovered = recover(&segments, state.position, state.applied, true)?;
        let progress = Arc::new(Progress::new(
            recovered.stored,
            state.applied,
            Box::new(events),
        ));
        let io = |source| StoreError::Io {
            action: "open the log",
            path: layout.log(),
            source,
        };
        let appender = Appender::open(segments.clone(), source, recovered.end).map_err(io)?;
        let told = Arc::clone(&progress);
        let tell = move |event| tell(&told, event);
        let writer = Arc::new(match hands {
            Hands::Threads => LogWriter::start(appender, tell).map_err(io)?,
            Hands::Callers => LogWriter::without_thread(appender, tell),
        });
        let interrupted = recovered.window.as_ref().map(|window| window.last);
        let applier = Applier::open(&layout, catalog, segments, recovered.window)?;
        let (log, how_far) = (Arc::clone(&writer), Arc::clone(&progress));
        let apply = match hands {
            Hands::Threads => ApplyThread::start(applier, log, how_far).map_err(io)?,
            Hands::Callers => ApplyThread::without_thread(applier, log, how_far),
        };
        Ok(Arc::new(Self {
            hands,
            apply,
            writer,
            order: Mutex::new(Order::after(recovered.stored)),
            progress,
            reader: Reader::open(&layout)?,
            interrupted: interrupted.unwrap_or_default(),
            _writer_lock: writer_lock,
        }))
    }

    /// Last batch on the disk.
    pub fn stored(&self) -> SequenceNumber {
        self.progress.stored()
    }

    /// Last batch in the mirror.
    pub fn applied(&self) -> SequenceNumber {
        self.progress.applied()
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
        let raw = RawPart {
            encoded: &encoded_part,
            payload: &payload,
            raw_bytes,
            compressed,
        };
        let part = validate::check(&raw)?;
        let weight = Weight::of(&part, encoded_part.len());
        let mut order = self.order.lock().unwrap_or_else(PoisonError::into_inner);
        if order.part(part.sequence, part.part, weight)? == Verdict::Known {
            return Ok(());
        }
        self.writer.push_part(NewFrame {
            kind: FrameKind::Data,
            sequence: part.sequence.0,
            part: part.part,
            encoded: encoded_part,
            payload,
            raw_bytes,
            compressed,
        })
    }

    /// Ends the batch. [`StoreEvent::Stored`] follows when it is on the disk (at once, if it was).
    pub fn commit(&self, cut: Cut) -> Result<(), StoreError> {
        validate::check_cut(&cut)?;
        let mut order = self.order.lock().unwrap_or_else(PoisonError::into_inner);
        match order.cut(&cut)? {
            Verdict::Take => self.writer.push_cut(cut),
            Verdict::Known => {
                self.progress.repeat_stored(cut.sequence);
                Ok(())
            }
        }
    }

    /// Answers a question with an answer and its payload. Blocks: call it from a blocking thread.
    pub fn answer(&self, query: &Query) -> (Answer, Vec<u8>) {
        let needed = needed(query).max(self.interrupted).min(self.stored());
        if !self.wait_applied(needed, ANSWER_WAIT) {
            let why = "the batches asked for are not in the mirror yet; ask again".to_owned();
            return (Answer::Failed(QueryError::Store(why)), Vec::new());
        }
        self.reader.answer(query)
    }

    /// Waits until every batch whose cut was taken is on the disk. `false`: it took longer than `wait`.
    pub fn settle(&self, wait: Duration) -> bool {
        let taken = self
            .order
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .taken();
        self.wait_stored(taken, wait)
    }

    /// Waits until a batch is on the disk. `false`: it took longer than `wait`.
    pub fn wait_stored(&self, sequence: SequenceNumber, wait: Duration) -> bool {
        if self.hands == Hands::Callers {
            self.drive_log();
            return self.stored() >= sequence;
        }
        self.progress.wait_stored(sequence, wait)
    }

    fn wait_applied(&self, sequence: SequenceNumber, wait: Duration) -> bool {
        if self.hands == Hands::Callers {
            while self.applied() < sequence && self.drive_mirror() {}
            return self.applied() >= sequence;
        }
        self.progress.wait_applied(sequence, wait)
    }

    /// Without threads: writes what is queued, makes it durable and tells.
    pub fn drive_log(&self) {
        self.writer.turn();
    }

    /// Without threads: applies the next window. Is there more?
    pub fn drive_mirror(&self) -> bool {
        self.apply.turn()
    }

    /// Without threads: what goes wrong from now on.
    pub fn set_faults(&self, faults: Faults) {
        self.writer.set_faults(faults);
    }

    /// Waits until everything stored is in the mirror. `false`: it took longer than `wait`.
    pub fn catch_up(&self, wait: Duration) -> bool {
        self.wait_applied(self.stored(), wait)
    }

    /// The store is about to be closed: nobody waits in it any more, for a full disk or for the mirror.
    /// What was taken is still written where there is room; a window under way is finished.
    pub fn close(&self) {
        self.writer.hurry();
        self.progress.stop();
    }
}

impl Drop for SourceStore {
    fn drop(&mut self) {
        self.writer.hurry();
        self.apply.stop();
        self.writer.close();
    }
}

/// Up to which batch the mirror must be for this question.
fn needed(query: &Query) -> SequenceNumber {
    match query {
        Query::Digests { after, .. }
        | Query::Signature { after, .. }
        | Query::WholeDigest { after, .. } => *after,
        Query::Stat { at, .. } | Query::List { at, .. } | Query::Read { at, .. } => *at,
        // About the newest there is.
        Query::Tree { .. }
        | Query::Resolve { .. }
        | Query::Points { .. }
        | Query::Log { .. }
        | Query::Deleted { .. } => SequenceNumber(u64::MAX),
    }
}

fn tell(progress: &Progress, event: LogEvent) {
    match event {
        LogEvent::Stored(sequence) => progress.set_stored(sequence),
        LogEvent::Stalled(reason) => progress.tell(StoreEvent::Stalled(Stage::Log, reason)),
        LogEvent::Resumed => progress.tell(StoreEvent::Resumed(Stage::Log)),
        LogEvent::Failed(reason) => progress.tell(StoreEvent::Failed(reason)),
    }
}

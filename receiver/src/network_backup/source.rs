//! One source at the receiver: its store, and the connections that share it.
//!
//! A source's store is opened by its first connection and stays open. When it fails, every
//! connection of the source ends and the next one opens it anew.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use everwrite_protocol::ids::SourceId;
use tokio::sync::{OnceCell, Semaphore, watch};
use tokio::task::{JoinError, spawn_blocking};

use super::destination::{Destination, DestinationError, Destinations};
use super::ingest::Ingest;
use super::replies::Standing;
use crate::store::Hands;

/// Query connections that one source may have.
const QUERY_CONNECTIONS_MAX: usize = 16;
/// Questions of one source that are being answered at once: each takes a thread. Not over all sources,
/// for the answer about an enormous file takes hours, and others would wait for it.
const ANSWERS_MAX: usize = 4;

/// All sources of a receiver that have connected since it started.
pub struct Sources {
    destinations: Box<dyn Destinations>,
    hands: Hands,
    slots: Mutex<HashMap<SourceId, Arc<OnceCell<Arc<Source>>>>>,
    /// True once the receiver ends.
    closing: watch::Sender<bool>,
}

/// A source with its store open.
pub(super) struct Source {
    pub(super) id: SourceId,
    pub(super) hands: Hands,
    pub(super) destination: Arc<dyn Destination>,
    pub(super) standing: Arc<watch::Sender<Standing>>,
    pub(super) ingest: Ingest,
    /// Number of the newest live connection: the one that may write.
    pub(super) newest: watch::Sender<u64>,
    /// Room for query connections.
    pub(super) query_connections: Arc<Semaphore>,
    /// Room for answers.
    pub(super) answers: Arc<Semaphore>,
    /// True once the store has failed or the receiver ends: all connections end.
    pub(super) closing: watch::Sender<bool>,
}

impl Sources {
    /// None connected yet.
    pub fn new(destinations: impl Destinations) -> Self {
        Self::served_by(Hands::Threads, destinations)
    }

    /// The same; without threads, what blocks is done by the tasks themselves.
    pub fn served_by(hands: Hands, destinations: impl Destinations) -> Self {
        Self {
            destinations: Box::new(destinations),
            hands,
            slots: Mutex::default(),
            closing: watch::Sender::new(false),
        }
    }

    /// Ends all sessions and closes all stores.
    pub fn close(&self) {
        self.closing.send_replace(true);
        for (_, slot) in self.slots().drain() {
            if let Some(source) = slot.get() {
                source.close();
            }
        }
    }

    /// Becomes true when the receiver ends.
    pub(super) fn closing(&self) -> watch::Receiver<bool> {
        self.closing.subscribe()
    }

    /// The source, its store opened when it is the first call.
    pub(super) async fn open(
        self: &Arc<Self>,
        id: SourceId,
    ) -> Result<Arc<Source>, DestinationError> {
        let slot = Arc::clone(self.slots().entry(id).or_default());
        let sources = Arc::clone(self);
        let source = slot
            .get_or_try_init(|| async move {
                let opened = by(sources.hands, move || Source::open(&sources, id)).await;
                opened.unwrap_or_else(|error| Err(DestinationError::Failed(error.to_string())))
            })
            .await?;
        Ok(Arc::clone(source))
    }

    /// The source's store has failed: its connections end, the next one opens it anew.
    pub(super) fn fail(&self, source: &Arc<Source>) {
        source.close();
        let mut slots = self.slots();
        let known = slots.get(&source.id).and_then(|slot| slot.get());
        if known.is_some_and(|known| Arc::ptr_eq(known, source)) {
            slots.remove(&source.id);
        }
    }

    fn slots(&self) -> std::sync::MutexGuard<'_, HashMap<SourceId, Arc<OnceCell<Arc<Source>>>>> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Does what blocks.
pub(super) async fn by<T: Send + 'static>(
    hands: Hands,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, JoinError> {
    match hands {
        Hands::Threads => spawn_blocking(work).await,
        Hands::Callers => Ok(work()),
    }
}

impl Source {
    /// Ends its connections, and whatever the store makes wait.
    fn close(&self) {
        self.closing.send_replace(true);
        self.destination.close();
    }

    fn open(sources: &Sources, id: SourceId) -> Result<Arc<Self>, DestinationError> {
        let standing = Arc::new(watch::Sender::new(Standing::default()));
        let told = Arc::clone(&standing);
        let on_event = Box::new(move |event| told.send_modify(|standing| standing.event(event)));
        let destination = sources.destinations.open(id, on_event)?;
        standing.send_modify(|standing| {
            standing.stored = standing.stored.max(destination.stored());
            standing.applied = standing.applied.max(destination.applied());
        });
        let newest = watch::Sender::new(0);
        Ok(Arc::new(Self {
            id,
            hands: sources.hands,
            ingest: Ingest::start(sources.hands, &destination, &standing, newest.subscribe()),
            destination,
            standing,
            newest,
            query_connections: Arc::new(Semaphore::new(QUERY_CONNECTIONS_MAX)),
            answers: Arc::new(Semaphore::new(ANSWERS_MAX)),
            closing: watch::Sender::new(false),
        }))
    }
}

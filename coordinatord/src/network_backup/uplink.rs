//! The line for batches: what the coordinator holds of it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use everwrite_protocol::ids::SourceId;
use everwrite_receiver::identity::Identity;
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinHandle;

use super::connect::{Connector, Dial};
use super::link::LinkState;
use super::window::Window;
use super::{Batch, QueryClient, Target, UplinkEvent, live};

/// Sends batches to one receiver, over as many connections as it takes, until dropped.
///
/// Connects at once, and again for ever with waits of 50 ms to 5 s. A batch is kept until the
/// receiver has stored it; after each connection the unstored ones are sent again, which is
/// harmless: the receiver drops what it has.
pub struct Uplink {
    shared: Arc<Shared>,
    queries: QueryClient,
    task: JoinHandle<()>,
}

/// Between the coordinator's calls and the connection's task.
#[derive(Default)]
pub(super) struct Shared {
    window: Mutex<Window>,
    /// Something to send, or to end the connection for.
    pub(super) wake: Notify,
    /// Does it stand?
    pub(super) link: LinkState,
    /// On the line, before TLS.
    pub(super) bytes_sent: AtomicU64,
}

impl Shared {
    pub(super) fn window(&self) -> MutexGuard<'_, Window> {
        self.window.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Uplink {
    /// Starts; needs a tokio runtime. `events` hears [`UplinkEvent::Connected`] or
    /// [`UplinkEvent::Disconnected`] first.
    pub fn start(
        target: Target,
        identity: Arc<Identity>,
        source: SourceId,
        events: mpsc::Sender<UplinkEvent>,
    ) -> Self {
        Self::over(Connector::new(target, identity, source), events)
    }

    /// The same to a receiver that is reached by `dial`; `target` only names it.
    pub fn start_by(
        dial: Box<dyn Dial>,
        target: Target,
        source: SourceId,
        events: mpsc::Sender<UplinkEvent>,
    ) -> Self {
        Self::over(Connector::by(dial, target, source), events)
    }

    fn over(connector: Connector, events: mpsc::Sender<UplinkEvent>) -> Self {
        let connector = Arc::new(connector);
        let shared = Arc::new(Shared::default());
        let queries = QueryClient::over(Arc::clone(&connector), shared.link.link());
        let task = tokio::spawn(live::run(connector, Arc::clone(&shared), events));
        Self {
            shared,
            queries,
            task,
        }
    }

    /// Takes a batch. Never blocks: the coordinator bounds what is under way by the window that
    /// [`UplinkEvent::Connected`] grants. Batches are numbered without gaps; those that do not
    /// follow what the receiver has stored wait for [`Self::forget_unsent`].
    pub fn send(&self, batch: Batch) {
        self.shared.window().push(batch);
        self.shared.wake.notify_one();
    }

    /// Forgets every batch that is not known to be stored: the index was rolled back, or a batch
    /// was rejected. When some of them are under way the connection ends, and the next
    /// [`UplinkEvent::Connected`] tells what became of them: derive nothing before it.
    pub fn forget_unsent(&self) {
        self.shared.window().forget();
        self.shared.wake.notify_one();
    }

    /// Bytes of batches sent since the start, as on the line (before TLS).
    pub fn bytes_sent(&self) -> u64 {
        self.shared.bytes_sent.load(Ordering::Relaxed)
    }

    /// Asks the same receiver, over a connection of its own, while this one stands.
    pub fn queries(&self) -> QueryClient {
        self.queries.clone()
    }
}

impl Drop for Uplink {
    fn drop(&mut self) {
        self.task.abort();
    }
}

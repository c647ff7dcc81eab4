//! The thread that puts a source's batches into its store.
//!
//! One per source, for as long as the store is open, whatever becomes of connections: a store that
//! blocks (disk full) holds up this thread and nothing else, and what a dead connection had left in
//! the queue can't mix with what its successor sends. Frames carry the number of their connection;
//! those of any but the newest are dropped. That loses nothing: an unfinished batch begins anew
//! with its part 0.
//!
//! A new connection is welcomed only behind a fence: once everything that its predecessors had
//! finished is on the disk. A coordinator that was killed and started again numbers on from what
//! the welcome says is stored; a batch stored later would take the number of one of its own, and
//! that one would be taken for a repetition.

use std::sync::Arc;
use std::time::Duration;

use everwrite_protocol::wire::Cut;
use everwrite_protocol::wire::frame::FrameType;
use tokio::sync::{mpsc, oneshot, watch};

use super::destination::{Destination, DestinationError};
use super::replies::Standing;
use crate::store::Hands;
use crate::transport::{Frame, TransportError};

/// Frames waiting for the thread; each at most 2 MiB.
const QUEUE_FRAMES: usize = 16;

/// How often a fence that has to wait (disk full) sees whether anybody still waits for it.
const FENCE_LOOK: Duration = Duration::from_millis(200);

/// What goes through the queue.
enum Item {
    Arrived(Arrived),
    /// Answered when all before it is on the disk.
    Fence(oneshot::Sender<()>),
}

/// A part or a cut on its way into the store.
pub(super) struct Arrived {
    /// Number of the connection.
    pub(super) connection: u64,
    /// What came.
    pub(super) frame: Frame<'static>,
    /// From the thread to the connection: why it has to end.
    pub(super) failed: mpsc::UnboundedSender<IngestError>,
}

/// Why a connection has to end.
#[derive(Debug, thiserror::Error)]
pub(super) enum IngestError {
    /// The store did not take it.
    #[error(transparent)]
    Destination(#[from] DestinationError),
    /// It is not what it says.
    #[error(transparent)]
    Transport(#[from] TransportError),
}

/// The way to the thread. It ends when this is dropped.
pub(super) struct Ingest {
    items: mpsc::Sender<Item>,
}

impl Ingest {
    pub(super) fn start(
        hands: Hands,
        destination: &Arc<dyn Destination>,
        standing: &Arc<watch::Sender<Standing>>,
        newest: watch::Receiver<u64>,
    ) -> Self {
        let (items, queue) = mpsc::channel(QUEUE_FRAMES);
        let intake = Intake {
            destination: Arc::clone(destination),
            standing: Arc::clone(standing),
            newest,
            queue,
            ended: 0,
        };
        match hands {
            Hands::Threads => drop(tokio::task::spawn_blocking(move || intake.run())),
            Hands::Callers => drop(tokio::spawn(intake.run_as_task())),
        }
        Self { items }
    }

    /// Hands a frame over; waits while the store can't keep up.
    pub(super) async fn put(&self, arrived: Arrived) {
        // The thread lives as long as `self`, but for a panic in the store, which has told of itself.
        let _ = self.items.send(Item::Arrived(arrived)).await;
    }

    /// Waits until everything that was handed over before, and finished, is on the disk.
    pub(super) async fn fence(&self) {
        let (passed, wait) = oneshot::channel();
        let _ = self.items.send(Item::Fence(passed)).await;
        let _ = wait.await;
    }
}

struct Intake {
    destination: Arc<dyn Destination>,
    standing: Arc<watch::Sender<Standing>>,
    newest: watch::Receiver<u64>,
    queue: mpsc::Receiver<Item>,
    /// The connection that broke a rule last.
    ended: u64,
}

impl Intake {
    fn run(mut self) {
        while let Some(item) = self.queue.blocking_recv() {
            let mut left = self.turn(item);
            while let Some(item) = left {
                left = self.turn(item);
            }
        }
    }

    async fn run_as_task(mut self) {
        while let Some(item) = self.queue.recv().await {
            let mut left = self.turn(item);
            while let Some(item) = left {
                tokio::time::sleep(FENCE_LOOK).await;
                left = self.turn(item);
            }
        }
    }

    /// Gives back a fence that has not passed.
    fn turn(&mut self, item: Item) -> Option<Item> {
        match item {
            Item::Arrived(arrived) => {
                self.take(arrived);
                None
            }
            Item::Fence(passed) => self.pass(passed).map(Item::Fence),
        }
    }

    /// What follows a broken rule on the same connection was sent before its end was heard of: a cut
    /// would then end a batch without the part that was refused.
    fn take(&mut self, arrived: Arrived) {
        let failed = arrived.failed.clone();
        let counts =
            arrived.connection == *self.newest.borrow() && arrived.connection != self.ended;
        if counts && let Err(error) = self.store(arrived.frame) {
            self.ended = arrived.connection;
            // The connection may be gone; then nobody is left to be told.
            let _ = failed.send(error);
        }
    }

    /// Waits for a while; gives back a fence that still has to wait.
    fn pass(&self, passed: oneshot::Sender<()>) -> Option<oneshot::Sender<()>> {
        if self.destination.settle(FENCE_LOOK) {
            let _ = passed.send(());
            return None;
        }
        Some(passed).filter(|passed| !passed.is_closed())
    }

    fn store(&self, frame: Frame<'static>) -> Result<(), IngestError> {
        match frame.frame_type {
            FrameType::Part => Ok(self.destination.append_part(frame)?),
            _ => self.commit(frame.decode(FrameType::Cut)?),
        }
    }

    fn commit(&self, cut: Cut) -> Result<(), IngestError> {
        let repeated = cut.sequence <= self.destination.stored();
        self.destination.commit(cut)?;
        if repeated {
            self.standing.send_modify(|standing| standing.repeated += 1);
        }
        Ok(())
    }
}

//! The front: the daemon's one loop. It owns the settings and the switch, hands hints and requests
//! on to the pipelines (one per receiver) in order, and never waits for any of them.

mod announce;
mod behind;
mod coverage;
mod devices;
mod explain;
mod outbox;
mod pipelines;
mod places;
mod requests;
mod status;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use everwrite_protocol::control::Switch;
use everwrite_protocol::ids::SourceId;
use tokio::sync::mpsc;

pub use behind::{BehindHints, WhenQuiet};
pub use devices::Devices;
pub use places::places_of;

use crate::config::{Config, Paths, SwitchState};
use crate::control::ControlRequest;
use crate::intake::{DurableAsk, Hint, Intake};
use crate::network_backup::Identity;
use crate::pipeline::{Event, Request};
use crate::witness::Witness;
use outbox::Outbox;
use pipelines::PipelineHandle;
use places::PlaceTeller;

/// What the front is made of.
pub struct Front {
    paths: Paths,
    config: Arc<Config>,
    source: SourceId,
    identity: Arc<Identity>,
    switch: SwitchState,
    intake: Arc<Intake>,
    witness: Arc<Witness>,
    devices: Arc<Devices>,
    places: Arc<PlaceTeller>,
    pipelines: Vec<PipelineHandle>,
    outbox: Outbox,
    /// barrier tasks --requests that must come after all hints--> front.
    flushes: mpsc::UnboundedSender<Flush>,
}

/// A request that is to follow every hint of a call that returned before it was asked for.
pub struct Flush {
    pipeline: usize,
    request: Request,
}

/// How often what was sent is confirmed to hold everything announced until then.
const SETTLE_EVERY: Duration = Duration::from_secs(1);

/// Everything the loop listens to.
pub struct Inputs {
    /// intake --hints--> front.
    pub hints: mpsc::Receiver<Vec<Hint>>,
    /// API --requests--> front.
    pub requests: mpsc::Receiver<ControlRequest>,
    /// intake --programs that wait for the receiver, behind the hints of what they wait for--> front.
    pub durable_asks: mpsc::UnboundedReceiver<DurableAsk>,
}

impl Front {
    /// A front with a pipeline for each receiver in the settings.
    pub fn new(
        paths: Paths,
        config: Config,
        source: SourceId,
        identity: Arc<Identity>,
        switch: SwitchState,
        intake: Arc<Intake>,
        witness: Arc<Witness>,
    ) -> Result<(Self, mpsc::UnboundedReceiver<Flush>)> {
        let (flushes, flushed) = mpsc::unbounded_channel();
        let mut front = Self {
            devices: Arc::new(Devices::new(Arc::clone(&intake))),
            places: Arc::new(PlaceTeller::new(Arc::clone(&intake))),
            paths,
            config: Arc::new(config),
            source,
            identity,
            switch,
            intake,
            witness,
            pipelines: Vec::new(),
            outbox: Outbox::default(),
            flushes,
        };
        front.places.look(front.root_paths());
        front.watch_roots();
        front.intake.set_durable(front.config.durable_fsync());
        front.intake.set_switch(front.is_on());
        for receiver in front.config.receivers.clone() {
            front.start_pipeline(&receiver)?;
        }
        for root in front.config.roots.clone() {
            front.protect_in_pipeline(&root);
        }
        Ok((front, flushed))
    }

    fn root_paths(&self) -> Vec<PathBuf> {
        let roots = self.config.roots.iter();
        roots.map(|root| root.path.clone()).collect()
    }

    /// Has the witness watch what is protected now.
    fn watch_roots(&self) {
        let roots = if self.is_on() {
            self.root_paths()
        } else {
            Vec::new()
        };
        self.witness.watch(roots);
    }

    /// Is the switch on?
    fn is_on(&self) -> bool {
        self.switch.switch == Switch::On
    }
}

/// Runs the loop until `stop` is ready, then ends the pipelines.
pub async fn run(
    mut front: Front,
    mut inputs: Inputs,
    mut flushed: mpsc::UnboundedReceiver<Flush>,
    stop: impl Future<Output = ()>,
) {
    let mut settle = tokio::time::interval(SETTLE_EVERY);
    settle.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    tokio::pin!(stop);
    loop {
        let idle = front.outbox.is_empty();
        tokio::select! {
            () = &mut stop => break,
            () = front.outbox.deliver_next(&front.pipelines), if !idle => {}
            Some(hints) = inputs.hints.recv(), if idle => front.pass_hints(hints),
            Some(flush) = flushed.recv() => {
                // The hints that the request is to follow were sent before it.
                while let Ok(hints) = inputs.hints.try_recv() {
                    front.pass_hints(hints);
                }
                front.outbox.push(flush.pipeline, Event::Request(flush.request));
            }
            Some(ask) = inputs.durable_asks.recv() => {
                while let Ok(hints) = inputs.hints.try_recv() {
                    front.pass_hints(hints);
                }
                front.pass_durable(ask);
            }
            Some(request) = inputs.requests.recv() => front.handle(request),
            _ = settle.tick() => front.once_a_second(),
        }
    }
    front.stop().await;
}

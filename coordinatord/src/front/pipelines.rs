//! Starting and ending pipelines.

use std::sync::Arc;
use std::thread::JoinHandle;

use anyhow::{Context, Result};
use tokio::sync::{mpsc, oneshot};

use super::Front;
use super::behind::BehindHints;
use crate::config::{Place, Receiver, Root};
use crate::index::Index;
use crate::intake::{DurableAsk, Hint};
use crate::network_backup::{Target, Uplink, UplinkEvent};
use crate::pipeline::{Event, Pipeline, PipelineParts, Request};
use crate::round::{State, Tools, Waits};

/// Events that may wait for a pipeline.
const EVENTS_WAITING_MAX: usize = 256;

/// A running pipeline, as the front knows it.
pub(super) struct PipelineHandle {
    /// Name of its receiver.
    pub(super) receiver: String,
    /// front --events--> pipeline.
    pub(super) events: mpsc::Sender<Event>,
    thread: Option<JoinHandle<()>>,
}

impl Front {
    /// Starts the pipeline of a receiver, unless it runs.
    pub(super) fn start_pipeline(&mut self, receiver: &Receiver) -> Result<()> {
        if self.pipeline_of(&receiver.name).is_some() {
            return Ok(());
        }
        let (events, inbox) = mpsc::channel(EVENTS_WAITING_MAX);
        let uplink = self.start_uplink(receiver, events.clone());
        let state = State::new(Index::open(&self.paths.index(&receiver.name))?)?;
        let tools = Tools {
            intake: Arc::clone(&self.intake),
            devices: Arc::clone(&self.devices),
            witness: Arc::clone(&self.witness),
            queries: uplink.queries(),
            waits: Waits::Beside(tokio::runtime::Handle::current()),
        };
        let pipeline = Pipeline::new(PipelineParts {
            receiver: receiver.clone(),
            paths: self.paths.clone(),
            config: Arc::clone(&self.config),
            state,
            tools,
            uplink,
            behind_hints: Box::new(self.behind_hints(self.pipelines.len())),
            switch_on: self.is_on(),
        });
        let thread = std::thread::Builder::new()
            .name(format!("to {}", receiver.name))
            .spawn(move || pipeline.run(inbox))
            .context("start the pipeline's thread")?;
        self.pipelines.push(PipelineHandle {
            receiver: receiver.name.clone(),
            events,
            thread: Some(thread),
        });
        Ok(())
    }

    fn start_uplink(&self, receiver: &Receiver, events: mpsc::Sender<Event>) -> Uplink {
        let (sender, mut uplink_events) = mpsc::channel::<UplinkEvent>(EVENTS_WAITING_MAX);
        tokio::spawn(async move {
            while let Some(event) = uplink_events.recv().await {
                if events.send(Event::Uplink(event)).await.is_err() {
                    return;
                }
            }
        });
        Uplink::start(
            target(receiver),
            Arc::clone(&self.identity),
            self.source,
            sender,
        )
    }

    pub(super) fn pipeline_of(&self, receiver: &str) -> Option<usize> {
        self.pipelines
            .iter()
            .position(|pipeline| pipeline.receiver == receiver)
    }

    pub(super) fn protect_in_pipeline(&mut self, root: &Root) {
        if let Some(pipeline) = self.pipeline_of(&root.to) {
            self.outbox
                .push(pipeline, Event::Request(Request::Protect(root.clone())));
        }
    }

    pub(super) fn pass_hints(&mut self, hints: Vec<Hint>) {
        let hints = Arc::new(hints);
        for pipeline in 0..self.pipelines.len() {
            self.outbox.push(pipeline, Event::Hints(Arc::clone(&hints)));
        }
    }

    /// Answers programs that wait for the receiver when all receivers that it concerns have stored.
    pub(super) fn pass_durable(&mut self, ask: DurableAsk) {
        let files = Arc::new(ask.files.clone());
        let mut answers = Vec::new();
        for pipeline in 0..self.pipelines.len() {
            let (reply, answer) = oneshot::channel();
            let files = Arc::clone(&files);
            let request = Request::Durable { files, reply };
            self.outbox.push(pipeline, Event::Request(request));
            answers.push(answer);
        }
        tokio::spawn(async move {
            for answer in answers {
                // One that has ended does not answer, and the programs have a time limit.
                if answer.await.is_err() {
                    return;
                }
            }
            ask.grant();
        });
    }

    /// Sends a request to a pipeline behind every hint of calls that returned before now.
    pub(super) fn request_behind_hints(&self, pipeline: usize, request: Request) {
        self.behind_hints(pipeline).request(request);
    }

    /// Asks a pipeline what comes behind hints.
    pub(super) fn behind_hints(&self, pipeline: usize) -> BehindHints {
        BehindHints {
            pipeline,
            intake: Arc::clone(&self.intake),
            witness: Arc::clone(&self.witness),
            flushes: self.flushes.clone(),
            runtime: tokio::runtime::Handle::current(),
        }
    }

    /// Ends all pipelines. Batches that are not stored are taken back at the next start.
    pub(super) async fn stop(self) {
        for mut pipeline in self.pipelines {
            let (reply, stopped) = oneshot::channel();
            let _ = pipeline
                .events
                .send(Event::Request(Request::Stop(reply)))
                .await;
            let _ = stopped.await;
            if let Some(thread) = pipeline.thread.take() {
                let _ = tokio::task::spawn_blocking(move || thread.join()).await;
            }
        }
    }
}

/// Where a receiver is, for the network.
pub(crate) fn target(receiver: &Receiver) -> Target {
    match &receiver.place {
        Place::Network {
            address,
            fingerprint,
        } => Target::Tcp {
            address: address.clone(),
            fingerprint: *fingerprint,
        },
        Place::Directory(path) => Target::Directory(path.clone()),
    }
}

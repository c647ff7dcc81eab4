//! Requests that come behind hints: all that was announced before is known to the pipeline first.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use tokio::time::MissedTickBehavior;

use super::Flush;
use crate::intake::Intake;
use crate::pipeline::Request;
use crate::witness::Witness;

/// How often what was sent is confirmed while somebody waits for a scan, which ends with that.
const SETTLE_OFTEN: Duration = Duration::from_millis(100);

/// Waits for the answers, and has those pipelines confirm what was sent so often that nobody waits for that for long.
pub(super) async fn settling_often<T>(
    pipelines: Vec<BehindHints>,
    answers: impl Future<Output = T>,
) -> T {
    tokio::pin!(answers);
    let mut often = tokio::time::interval(SETTLE_OFTEN);
    often.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            answer = &mut answers => return answer,
            _ = often.tick() => {
                let asked = Instant::now();
                let settle = |pipeline: &BehindHints| pipeline.clone().request(Request::Settle { asked });
                pipelines.iter().for_each(settle);
            }
        }
    }
}

/// Asks the pipeline something once all that was announced before is known to it.
pub trait WhenQuiet: Send {
    /// Behind the hints of every call that returned before now, when calls under way have ended, as far as they
    /// do so within `patience`.
    fn when_quiet(&self, patience: Duration, request: Request);
}

/// Sends requests to one pipeline behind every hint of a call that returned before.
#[derive(Clone)]
pub struct BehindHints {
    pub(super) pipeline: usize,
    pub(super) intake: Arc<Intake>,
    pub(super) witness: Arc<Witness>,
    /// barrier tasks --requests that must come after all hints--> front.
    pub(super) flushes: mpsc::UnboundedSender<Flush>,
    pub(super) runtime: tokio::runtime::Handle,
}

impl BehindHints {
    /// Behind the hints of every call that returned before now, also of programs that are only about to
    /// attach, and of those that are known not to be heard.
    pub(super) fn request(self, request: Request) {
        let runtime = self.runtime.clone();
        runtime.spawn(async move {
            // What both tell of is read on the shim's word, and once.
            self.intake.barrier().await;
            self.witness.barrier().await;
            self.send(request);
        });
    }

    fn send(&self, request: Request) {
        let pipeline = self.pipeline;
        // Without a front there is no pipeline either.
        let _ = self.flushes.send(Flush { pipeline, request });
    }
}

impl WhenQuiet for BehindHints {
    /// Of programs that are not heard by their shim only the witness tells.
    fn when_quiet(&self, patience: Duration, request: Request) {
        let this = self.clone();
        self.runtime.spawn(async move {
            this.intake.quiesce(patience).await;
            this.witness.barrier().await;
            this.send(request);
        });
    }
}

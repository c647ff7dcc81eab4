//! The coordinator daemon: everything is started here, and ended.

use std::sync::Arc;

use anyhow::{Context, Result};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, oneshot};

use crate::clock::wall_clock;
use crate::config::{Config, HomeLock, Paths, SwitchState, source_id};
use crate::control::{ControlRequest, ControlServer};
use crate::front::{self, Front, Inputs};
use crate::intake::Intake;
use crate::network_backup::Identity;
use crate::witness::Witness;

/// Batches of hints that may wait for the front; beyond, the intake merges.
const HINTS_WAITING_MAX: usize = 64;
/// Requests of the API that may wait.
const REQUESTS_WAITING_MAX: usize = 64;

/// Runs the coordinator until SIGTERM or SIGINT.
pub async fn run(paths: Paths, config: Config) -> Result<()> {
    paths.create().with_context(|| {
        format!(
            "make the directories of this source below {}",
            paths.state().display()
        )
    })?;
    let _lock = HomeLock::take(&paths)?;
    let source = source_id(&paths).context("read the id of this source")?;
    let identity = Arc::new(Identity::load_or_create(&paths.identity_dir())?);
    let switch = SwitchState::load(&paths.switch_file(), wall_clock())
        .with_context(|| format!("read {}", paths.switch_file().display()))?;
    let (hint_sender, hints) = mpsc::channel(HINTS_WAITING_MAX);
    let intake = Arc::new(Intake::start(paths.run(), hint_sender.clone())?);
    let durable_asks = intake
        .durable_asks()
        .context("the intake is somebody else's")?;
    let witness = Witness::start(config.witness, Arc::clone(&intake), hint_sender);
    let witness = Arc::new(witness.context("start the witness's thread")?);
    let (request_sender, requests) = mpsc::channel(REQUESTS_WAITING_MAX);
    let server = ControlServer::bind(&paths.api_socket())?;
    let (front, flushed) = Front::new(paths, config, source, identity, switch, intake, witness)?;
    let (stop_api, api_stopped) = oneshot::channel::<()>();
    let api = tokio::spawn(serve(server, request_sender, api_stopped));
    let stop = stop_signal()?;
    tracing::info!(%source, "ready");
    let _ = sd_notify::notify(&[sd_notify::NotifyState::Ready]);
    let inputs = Inputs {
        hints,
        requests,
        durable_asks,
    };
    front::run(front, inputs, flushed, stop).await;
    drop(stop_api);
    let _ = api.await;
    Ok(())
}

async fn serve(
    server: ControlServer,
    requests: mpsc::Sender<ControlRequest>,
    stopped: oneshot::Receiver<()>,
) {
    let stop = async {
        let _ = stopped.await;
    };
    if let Err(error) = server.serve(requests, stop).await {
        tracing::error!(%error, "the API has ended");
    }
}

fn stop_signal() -> Result<impl Future<Output = ()>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}

//! `everwrite-receiver serve`: the destination daemon, from start to signal.

use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

use crate::identity::Identity;
use crate::network_backup::listener::Listener;
use crate::network_backup::{Sources, StoreDirectory, claim};
use crate::pairing::{ListenAddress, Registrar};

/// Threads that are still busy get so long at the end; the log needs no farewell.
const END_MAX: Duration = Duration::from_secs(10);

/// What `serve` was told.
#[derive(Clone, Debug, clap::Args)]
pub struct Serve {
    /// The store's directory; made when missing
    #[arg(long, value_name = "DIR")]
    pub store: PathBuf,
    /// Where to listen; port 0 asks for a free one
    #[arg(long, value_name = "HOST:PORT")]
    pub listen: String,
}

/// Serves until SIGTERM or SIGINT. The first line on standard output is `listening on HOST:PORT`.
pub fn serve(options: &Serve) -> anyhow::Result<()> {
    log_to_stderr();
    crate::open_files::allow_most();
    let lock = claim(&options.store)?;
    let runtime = tokio::runtime::Runtime::new().context("start threads")?;
    let end = runtime.block_on(run(options));
    runtime.shutdown_timeout(END_MAX);
    drop(lock);
    end
}

async fn run(options: &Serve) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate()).context("listen for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("listen for SIGINT")?;
    let sources = Arc::new(Sources::new(StoreDirectory(options.store.clone())));
    let listener = listen(options, Arc::clone(&sources)).await?;
    announce(&options.store, &listener)?;
    tokio::select! {
        () = listener.run() => {}
        _ = terminate.recv() => tracing::info!("ending on SIGTERM"),
        _ = interrupt.recv() => tracing::info!("ending on SIGINT"),
    }
    let _ = sd_notify::notify(&[sd_notify::NotifyState::Stopping]);
    sources.close();
    Ok(())
}

async fn listen(options: &Serve, sources: Arc<Sources>) -> anyhow::Result<Listener> {
    let identity = Identity::load_or_create(&options.store)?;
    let tcp = TcpListener::bind(&options.listen).await.with_context(|| {
        format!(
            "listen on {} (HOST:PORT; is another serve running there?)",
            options.listen
        )
    })?;
    let registrar = Registrar::new(&options.store);
    Listener::new(tcp, &identity, registrar, sources).context("use the store's identity")
}

/// Tells `pair`, the caller and the service manager that sources may come.
fn announce(store: &Path, listener: &Listener) -> anyhow::Result<()> {
    let address = listener.address().context("find out where we listen")?;
    ListenAddress::record(store, address)?;
    let mut output = std::io::stdout();
    writeln!(output, "listening on {address}")
        .and_then(|()| output.flush())
        .context("tell the address on standard output")?;
    if let Err(error) = sd_notify::notify(&[sd_notify::NotifyState::Ready]) {
        tracing::warn!("tell the service manager that we are ready: {error}");
    }
    tracing::info!(%address, store = %store.display(), "serving");
    Ok(())
}

/// As `RUST_LOG` says; without it, what an administrator wants to know.
fn log_to_stderr() {
    let filter = tracing_subscriber::EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info"));
    // A test that serves twice in one process has one subscriber.
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .try_init();
}

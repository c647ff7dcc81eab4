//! The daemon of the source.

use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Parser;
use everwrite_coordinatord::config::{Config, HOME_VARIABLE, Paths};
use tracing_subscriber::EnvFilter;

/// Captures what changes under the protected directories, and sends it to the receivers.
#[derive(Parser, Debug)]
#[command(name = "everwrite-coordinatord", version)]
struct Arguments {
    /// Directory with configuration, state and sockets; otherwise /etc, /var/lib and
    /// /run/everwrite.
    #[arg(long, env = HOME_VARIABLE, value_name = "DIR")]
    home: Option<PathBuf>,
    /// Configuration file in place of the home's.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    everwrite_receiver::without_shim::begin_again();
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr)
        .init();
    match start(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("everwrite-coordinatord: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn start(arguments: Arguments) -> Result<()> {
    everwrite_receiver::open_files::allow_most();
    let paths = Paths::resolve(arguments.home.as_deref()).context("find the home directory")?;
    let paths = match arguments.config {
        Some(file) => paths.with_config_file(file),
        None => paths,
    };
    let config = Config::load(paths.config_file())?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(WORKERS)
        .enable_all()
        .build()
        .context("start the runtime")?;
    runtime.block_on(everwrite_coordinatord::run::run(paths, config))
}

/// The loop, the lines to the receivers and the API; what blocks has threads of its own.
const WORKERS: usize = 2;

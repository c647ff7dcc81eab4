//! The command line, `everwrite`.
//!
//! Commands about the present ask the daemon; commands about the past ask the receiver, so that
//! they work when the coordinator is dead. Exit codes and what `--json` prints are contracts.

mod accounted;
mod archive;
mod blind_spot;
mod bursts;
mod checkup;
mod commands;
mod content;
mod context;
mod failures;
mod history_diff;
mod initial_copy;
mod missed;
mod place;
mod preloading;
mod remote_history;
mod shim_library;
mod verification;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use everwrite_receiver::answers::{exit, moment, output, records, shown};

use crate::config::{HOME_VARIABLE, Paths};
use commands::*;
use context::Context;
use exit::{Exit, Failure};

/// Continuous file-level backup: every change stored on another machine within a blink.
#[derive(Parser, Debug)]
#[command(name = "everwrite", version, disable_help_subcommand = true)]
#[command(
    after_help = "Exit codes: 0 done, 1 a negative answer, 2 usage, 3 cannot reach a daemon, \
                        4 refused for safety."
)]
struct Arguments {
    /// Directory with configuration, state and sockets; otherwise /etc, /var/lib and
    /// /run/everwrite.
    #[arg(long, global = true, env = HOME_VARIABLE, value_name = "DIR")]
    home: Option<PathBuf>,
    /// Answer as JSON.
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    Pair(pair::Pair),
    Protect(protect::Protect),
    Unprotect(unprotect::Unprotect),
    Run(run::Run),
    On(on::On),
    Off(off::Off),
    Status(status::StatusCommand),
    Sync(sync::Sync),
    Checkpoint(checkpoint::Checkpoint),
    Reconcile(reconcile::Reconcile),
    Log(log::Log),
    Deleted(deleted::Deleted),
    Points(points::Points),
    Ls(ls::Ls),
    Cat(cat::Cat),
    Diff(diff::Diff),
    Restore(restore::Restore),
    Verify(verify::Verify),
    Preload(preload::Preload),
    Coverage(coverage::Coverage),
    Acknowledge(acknowledge::Acknowledge),
    Explain(explain::Explain),
    Doctor(doctor::Doctor),
}

/// Parses `arguments` (the first is the program's name), runs the command, and says how it ended.
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    match Arguments::try_parse_from(arguments) {
        Ok(arguments) => run(arguments).into(),
        Err(error) => {
            // Standard output or error may be closed.
            let _ = error.print();
            Exit::parsing(&error).into()
        }
    }
}

fn run(arguments: Arguments) -> Exit {
    let output = output::Output {
        json: arguments.json,
    };
    output.end("everwrite", in_runtime(arguments))
}

fn in_runtime(arguments: Arguments) -> Result<Exit, Failure> {
    let paths = Paths::resolve(arguments.home.as_deref())
        .map_err(|error| Failure::usage(format!("home directory: {error}"), ""))?;
    let context = Context {
        paths,
        json: arguments.json,
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let runtime = runtime.map_err(|error| Failure::negative(format!("start: {error}"), ""))?;
    let ended = runtime.block_on(arguments.command.run(&context));
    // What still runs in the background belongs to an answer that nobody waits for.
    runtime.shutdown_background();
    ended
}

impl Command {
    async fn run(self, context: &Context) -> Result<Exit, Failure> {
        match self {
            Self::Pair(command) => command.run(context).await,
            Self::Protect(command) => command.run(context).await,
            Self::Unprotect(command) => command.run(context).await,
            Self::Run(command) => command.run(context).await,
            Self::On(command) => command.run(context).await,
            Self::Off(command) => command.run(context).await,
            Self::Status(command) => command.run(context).await,
            Self::Sync(command) => command.run(context).await,
            Self::Checkpoint(command) => command.run(context).await,
            Self::Reconcile(command) => command.run(context).await,
            Self::Log(command) => command.run(context).await,
            Self::Deleted(command) => command.run(context).await,
            Self::Points(command) => command.run(context).await,
            Self::Ls(command) => command.run(context).await,
            Self::Cat(command) => command.run(context).await,
            Self::Diff(command) => command.run(context).await,
            Self::Restore(command) => command.run(context).await,
            Self::Verify(command) => command.run(context).await,
            Self::Preload(command) => command.run(context).await,
            Self::Coverage(command) => command.run(context).await,
            Self::Acknowledge(command) => command.run(context).await,
            Self::Explain(command) => command.run(context).await,
            Self::Doctor(command) => command.run(context).await,
        }
    }
}

#[cfg(test)]
mod tests;

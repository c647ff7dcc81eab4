//! The command line, `everwrite-receiver`.
//!
//! `serve` and `pair` need sources; all others read a store with every source dead, with or without
//! a `serve` at work on it. Exit codes and what `--json` prints are contracts.

mod archive;
mod cat;
mod log;
mod ls;
mod mirror;
mod place;
mod restore;
mod sources;
mod stats;
mod store;
mod verify;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::answers::exit::{Exit, Failure};
use crate::answers::output::Output;
use crate::{pairing, serve, without_shim};

/// Everwrite's destination: stores, mirrors, keeps history and restores
#[derive(Parser, Debug)]
#[command(name = "everwrite-receiver", version, arg_required_else_help = true)]
#[command(
    after_help = "Exit codes: 0 done, 1 a negative answer, 2 usage, 3 cannot reach a daemon, \
                        4 refused for safety."
)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Take what sources send, until a signal comes
    Serve(serve::Serve),
    /// Print a one-time code for `everwrite pair`
    Pair(pairing::Pair),
    Sources(sources::Sources),
    Log(log::Log),
    Ls(ls::Ls),
    Cat(cat::Cat),
    Restore(restore::Restore),
    Verify(verify::Verify),
    Mirror(mirror::Mirror),
    Stats(stats::Stats),
}

/// Parses `arguments` (the first is the program's name), runs the command, and says how it ended.
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    match Arguments::try_parse_from(arguments) {
        Ok(arguments) => {
            let output = Output {
                json: arguments.command.json(),
            };
            output
                .end("everwrite-receiver", arguments.command.run())
                .into()
        }
        Err(error) => {
            // Standard output or error may be closed.
            let _ = error.print();
            Exit::parsing(&error).into()
        }
    }
}

impl Command {
    fn json(&self) -> bool {
        match self {
            Self::Serve(_) => false,
            Self::Pair(command) => command.json,
            Self::Sources(command) => command.store.json,
            Self::Log(command) => command.source.json(),
            Self::Ls(command) => command.source.json(),
            Self::Cat(command) => command.source.json(),
            Self::Restore(command) => command.source.json(),
            Self::Verify(command) => command.source.json(),
            Self::Mirror(command) => command.source.json(),
            Self::Stats(command) => command.source.json(),
        }
    }

    fn run(self) -> Result<Exit, Failure> {
        match self {
            Self::Serve(options) => {
                without_shim::begin_again();
                plain(serve::serve(&options))
            }
            Self::Pair(options) => plain(pairing::pair(&options)),
            Self::Sources(command) => command.run(),
            Self::Log(command) => command.run(),
            Self::Ls(command) => command.run(),
            Self::Cat(command) => command.run(),
            Self::Restore(command) => command.run(),
            Self::Verify(command) => command.run(),
            Self::Mirror(command) => command.run(),
            Self::Stats(command) => command.run(),
        }
    }
}

/// Errors that say in themselves what to do next.
fn plain(done: anyhow::Result<()>) -> Result<Exit, Failure> {
    match done {
        Ok(()) => Ok(Exit::Done),
        Err(error) => Err(Failure::negative(format!("{error:#}"), "")),
    }
}

#[cfg(test)]
mod tests;

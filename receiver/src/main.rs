//! `everwrite-receiver`: the destination's program.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use everwrite_receiver::{pairing, serve};

/// Everwrite's destination: stores, mirrors, keeps history and restores
#[derive(Parser)]
#[command(version, arg_required_else_help = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Take what sources send, until a signal comes
    Serve(serve::Serve),
    /// Print a one-time code for `everwrite pair`
    Pair(pairing::Pair),
}

fn main() -> ExitCode {
    let done = match Arguments::parse().command {
        Command::Serve(options) => serve::serve(&options),
        Command::Pair(options) => pairing::pair(&options),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("everwrite-receiver: {error:#}");
            ExitCode::from(1)
        }
    }
}

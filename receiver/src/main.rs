//! `everwrite-receiver`: the destination's program.

use std::process::ExitCode;

fn main() -> ExitCode {
    everwrite_receiver::cli::main(std::env::args_os())
}

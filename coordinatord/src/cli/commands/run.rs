//! `everwrite run [--] CMD…`.

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::process::Command;

use clap::Args;
use everwrite_protocol::local::RUN_DIRECTORY_VARIABLE;

use crate::cli::context::Context;
use crate::cli::exit::{Exit, Failure};
use crate::cli::{blind_spot, shim_library, shown};
use crate::config::HOME_VARIABLE;
use crate::intake::coordinator_is_alive;

/// Run a program with the shim, so that its changes are seen at once and by byte range.
#[derive(Args, Debug)]
pub(crate) struct Run {
    /// The program and its arguments.
    #[arg(
        required = true,
        trailing_var_arg = true,
        allow_hyphen_values = true,
        value_name = "CMD"
    )]
    command: Vec<OsString>,
}

/// Exit codes of shells for a command that can't be run, and for one that does not exist.
const EXIT_NOT_RUNNABLE: i32 = 126;
const EXIT_NOT_FOUND: i32 = 127;
/// Read by the dynamic linker, see ld.so(8).
pub(in crate::cli) const PRELOAD_VARIABLE: &str = "LD_PRELOAD";

impl Run {
    /// Becomes the program. Without a daemon it runs all the same: protection never stops work.
    pub(crate) async fn run(self, context: &Context) -> Result<Exit, Failure> {
        let library = shim_library::find()?;
        if !coordinator_is_alive(context.paths.run()) {
            context.note(format_args!(
                "everwrite: no coordinator is running ({}): what {} changes is not stored until one \
                 runs",
                context.paths.run().display(),
                shown::path(self.command[0].as_bytes())
            ));
        }
        if let Some(reason) = blind_spot::of(&self.command[0]) {
            context.note(format_args!(
                "everwrite: {} is not seen by the shim, as {reason}: what it changes is heard by the witness, if there is one, or found by scans",
                shown::path(self.command[0].as_bytes())
            ));
        }
        let mut command = Command::new(&self.command[0]);
        command.args(&self.command[1..]);
        command.env(
            PRELOAD_VARIABLE,
            preload(library.into(), std::env::var_os(PRELOAD_VARIABLE)),
        );
        if let Some(home) = context.paths.home() {
            command.env(HOME_VARIABLE, home);
            command.env(RUN_DIRECTORY_VARIABLE, context.paths.run());
        }
        Err(not_run(&self.command[0], &command.exec()))
    }
}

/// Ours first; the user's own libraries stay.
pub(in crate::cli) fn preload(library: OsString, others: Option<OsString>) -> OsString {
    let mut list = library;
    if let Some(others) = others.filter(|others| !others.is_empty()) {
        list.push(":");
        list.push(others);
    }
    list
}

/// What a shell would say and do.
fn not_run(program: &std::ffi::OsStr, error: &std::io::Error) -> Failure {
    let code = match error.kind() {
        std::io::ErrorKind::NotFound => EXIT_NOT_FOUND,
        _ => EXIT_NOT_RUNNABLE,
    };
    eprintln!(
        "everwrite run: {}: {error}",
        shown::path(program.as_bytes())
    );
    std::process::exit(code)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_user_s_own_libraries_stay() {
        assert_eq!(preload("/s.so".into(), None), "/s.so");
        assert_eq!(preload("/s.so".into(), Some("".into())), "/s.so");
        assert_eq!(preload("/s.so".into(), Some("/a.so".into())), "/s.so:/a.so");
    }
}

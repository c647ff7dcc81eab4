//! What every command has at hand: where things are, how to answer, whom to ask.

use std::fmt::Display;
use std::io::{IsTerminal, Write};
use std::path::Path;

use serde::Serialize;

use super::exit::{Exit, Failure};
use crate::config::{Config, Paths};
use crate::control::ControlClient;

/// Handed to each command.
#[derive(Clone, Debug)]
pub(super) struct Context {
    /// Files of this source.
    pub(super) paths: Paths,
    /// Answer as JSON.
    pub(super) json: bool,
}

impl Context {
    /// The daemon, reached when first asked.
    pub(super) fn daemon(&self) -> ControlClient {
        ControlClient::new(&self.paths.api_socket())
    }

    /// The configuration as it is on disk.
    pub(super) fn config(&self) -> Result<Config, Failure> {
        Ok(Config::load(self.paths.config_file())?)
    }

    /// One line for people; nothing with `--json`.
    pub(super) fn say(&self, line: impl Display) -> Result<(), Failure> {
        if self.json {
            Ok(())
        } else {
            print(format_args!("{line}\n"))
        }
    }

    /// The answer as JSON, on one line; nothing without `--json`.
    pub(super) fn answer(&self, answer: &impl Serialize) -> Result<(), Failure> {
        if !self.json {
            return Ok(());
        }
        let text = serde_json::to_string(answer)
            .map_err(|error| Failure::negative(format!("write JSON: {error}"), ""))?;
        print(format_args!("{text}\n"))
    }

    /// A note beside the answer.
    pub(super) fn note(&self, line: impl Display) {
        if !self.json {
            // Standard error may be closed; the answer does not depend on it.
            let _ = writeln!(std::io::stderr(), "{line}");
        }
    }

    /// Whether somebody watches, so that progress is worth showing.
    pub(super) fn is_watched(&self) -> bool {
        !self.json && std::io::stderr().is_terminal() && std::io::stdout().is_terminal()
    }
}

/// Writes to standard output.
pub(super) fn print(text: impl Display) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    write!(out, "{text}")
        .and_then(|()| out.flush())
        .map_err(|error| output_failed(&error))
}

/// Standard output failed: a full disk behind it, most likely.
pub(super) fn output_failed(error: &std::io::Error) -> Failure {
    Failure::new(
        Exit::Negative,
        format!("write to standard output: {error}"),
        "",
    )
}

/// `path: cause`, for a local file.
pub(super) fn local_failed(what: &str, path: &Path, error: &std::io::Error) -> Failure {
    let path = super::shown::path(std::os::unix::ffi::OsStrExt::as_bytes(path.as_os_str()));
    Failure::negative(format!("{what} {path}: {error}"), "")
}

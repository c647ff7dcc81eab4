//! Where answers go: lines for people, or JSON, on standard output; notes on standard error.

use std::fmt::Display;
use std::io::{IsTerminal, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use serde::Serialize;

use super::exit::{Exit, Failure};
use super::shown;

/// How a command answers.
#[derive(Clone, Copy, Debug)]
pub struct Output {
    /// As JSON.
    pub json: bool,
}

impl Output {
    /// One line for people; nothing with `--json`.
    pub fn say(&self, line: impl Display) -> Result<(), Failure> {
        if self.json {
            Ok(())
        } else {
            print(format_args!("{line}\n"))
        }
    }

    /// The answer as JSON, on one line; nothing without `--json`.
    pub fn answer(&self, answer: &impl Serialize) -> Result<(), Failure> {
        if !self.json {
            return Ok(());
        }
        let text = serde_json::to_string(answer)
            .map_err(|error| Failure::negative(format!("write JSON: {error}"), ""))?;
        print(format_args!("{text}\n"))
    }

    /// A note beside the answer.
    pub fn note(&self, line: impl Display) {
        if !self.json {
            // Standard error may be closed; the answer does not depend on it.
            let _ = writeln!(std::io::stderr(), "{line}");
        }
    }

    /// Whether somebody watches, so that progress is worth showing.
    pub fn is_watched(&self) -> bool {
        !self.json && std::io::stderr().is_terminal() && std::io::stdout().is_terminal()
    }

    /// Tells how the command ended.
    pub fn end(self, program: &str, ended: Result<Exit, Failure>) -> Exit {
        ended.unwrap_or_else(|failure| {
            let text = match self.json {
                true => serde_json::to_string(&failure.to_api()).unwrap_or_default(),
                false => format!("{program}: {failure}"),
            };
            // Standard error may be closed; the exit code says enough.
            let _ = writeln!(std::io::stderr(), "{text}");
            failure.exit
        })
    }
}

/// Writes to standard output.
pub fn print(text: impl Display) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    write!(out, "{text}")
        .and_then(|()| out.flush())
        .map_err(|error| output_failed(&error))
}

/// Standard output failed: a full disk behind it, most likely.
pub fn output_failed(error: &std::io::Error) -> Failure {
    Failure::new(
        Exit::Negative,
        format!("write to standard output: {error}"),
        "",
    )
}

/// `path: cause`, for a local file.
pub fn local_failed(what: &str, path: &Path, error: &std::io::Error) -> Failure {
    let path = shown::path(path.as_os_str().as_bytes());
    Failure::negative(format!("{what} {path}: {error}"), "")
}

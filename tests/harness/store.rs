//! A receiver's store, asked by its own command line: works without any daemon, and any source.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::artifacts::artifacts;
use crate::{Outcome, run, text};

/// A store's directory.
#[derive(Clone, Debug)]
pub struct Store(PathBuf);

impl Store {
    /// The store at `path`.
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self(path.into())
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// `everwrite-receiver SUBCOMMAND --store … ARGUMENTS`.
    pub fn command(&self, subcommand: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new(&artifacts().receiver);
        command
            .arg(subcommand)
            .arg("--store")
            .arg(&self.0)
            .args(arguments);
        command
    }

    /// Runs it to its end.
    #[track_caller]
    pub fn ask(&self, subcommand: &str, arguments: &[&str]) -> Outcome {
        run(&mut self.command(subcommand, arguments))
    }

    /// Ids of the sources that it holds.
    #[track_caller]
    pub fn sources(&self) -> Vec<String> {
        let sources: Vec<serde_json::Value> = self.ask("sources", &["--json"]).success().json();
        let id = |source: &serde_json::Value| source["source"].as_str().map(str::to_owned);
        sources.iter().filter_map(id).collect()
    }

    /// Where the plain files of a root lie.
    #[track_caller]
    pub fn mirror(&self, source: &str, root: &str) -> PathBuf {
        let answer = self
            .ask("mirror", &["--source", source, "--root", root])
            .success();
        PathBuf::from(text(answer.stdout.trim_ascii_end()))
    }

    /// Panics unless log, catalog and mirror agree.
    #[track_caller]
    pub fn verify(&self, source: &str) {
        self.ask("verify", &["--source", source]).success();
    }

    /// Restores `path` as of `at` below `to`, from the store alone.
    #[track_caller]
    pub fn restore(&self, source: &str, path: &str, at: &str, to: &Path) -> Outcome {
        let mut command = self.command("restore", &["--source", source, path, "--at", at, "--to"]);
        run(command.arg(to))
    }
}

//! What every command has at hand: where things are, how to answer, whom to ask.

use std::fmt::Display;

use everwrite_receiver::answers::exit::Failure;
use everwrite_receiver::answers::output::Output;
use serde::Serialize;

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

    /// Where the answer goes.
    pub(super) fn output(&self) -> Output {
        Output { json: self.json }
    }

    /// One line for people; nothing with `--json`.
    pub(super) fn say(&self, line: impl Display) -> Result<(), Failure> {
        self.output().say(line)
    }

    /// The answer as JSON, on one line; nothing without `--json`.
    pub(super) fn answer(&self, answer: &impl Serialize) -> Result<(), Failure> {
        self.output().answer(answer)
    }

    /// A note beside the answer.
    pub(super) fn note(&self, line: impl Display) {
        self.output().note(line);
    }

    /// Whether somebody watches, so that progress is worth showing.
    pub(super) fn is_watched(&self) -> bool {
        self.output().is_watched()
    }
}

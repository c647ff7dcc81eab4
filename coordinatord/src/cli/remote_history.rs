//! A receiver's history, as a restore asks for it: one question after the other, waiting for each.

use everwrite_protocol::wire::{Answer, Query};
use everwrite_receiver::answers::restored::{self, Hints};
use everwrite_receiver::restore::{History, HistoryError, RestoreError};
use tokio::runtime::Handle;

use super::archive::Archive;
use super::exit::Failure;
use crate::network_backup::AskError;

/// To be used on a thread that may block.
#[derive(Debug)]
pub(super) struct RemoteHistory {
    archive: Archive,
    runtime: Handle,
}

impl RemoteHistory {
    /// Within the runtime that the archive's connection lives in.
    pub(super) fn new(archive: Archive) -> Self {
        Self {
            archive,
            runtime: Handle::current(),
        }
    }
}

impl History for RemoteHistory {
    fn ask(&self, query: Query) -> Result<(Answer, Vec<u8>), HistoryError> {
        let _in_runtime = self.runtime.enter();
        let answer = self.archive.ask_later(query);
        self.runtime
            .block_on(answer)
            .map_err(|error| self.failed(error))
    }

    fn ask_all(&self, queries: Vec<Query>) -> Vec<Result<(Answer, Vec<u8>), HistoryError>> {
        let _in_runtime = self.runtime.enter();
        let asked: Vec<_> = queries
            .into_iter()
            .map(|query| self.archive.ask_later(query))
            .collect();
        let answers = asked
            .into_iter()
            .map(|answer| self.runtime.block_on(answer));
        answers
            .map(|answer| answer.map_err(|error| self.failed(error)))
            .collect()
    }
}

impl RemoteHistory {
    fn failed(&self, error: AskError) -> HistoryError {
        match error {
            AskError::Failed(error) => error.into(),
            other => HistoryError::Unreachable(format!("{}: {other}", self.archive.receiver)),
        }
    }
}

/// Why a restore was not done, for people.
pub(super) fn failed(error: &RestoreError) -> Failure {
    let hints = Hints {
        points: "`everwrite points` lists the recovery points",
        versions: "`everwrite log PATH` shows when it was there",
        in_the_way: "nothing was overwritten: restore --to another directory, or --in-place (with \
                     --delete where a directory is in the way)",
    };
    restored::failed(error, &hints)
}

//! A receiver's history, as a restore asks for it: one question after the other, waiting for each.

use everwrite_protocol::wire::{Answer, Query};
use everwrite_receiver::restore::{History, HistoryError, RestoreError};
use tokio::runtime::Handle;

use super::archive::Archive;
use super::exit::{Exit, Failure};
use super::shown;
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
    let (exit, hint) = match error {
        RestoreError::History(HistoryError::Unreachable(_)) => (
            Exit::Unreachable,
            "repeat the command when the receiver answers: it goes on from there",
        ),
        RestoreError::History(_) => (
            Exit::Negative,
            "`everwrite points` lists the recovery points",
        ),
        RestoreError::NotStored { .. } => (
            Exit::Negative,
            "`everwrite log PATH` shows when it was there",
        ),
        RestoreError::InTheWay { .. } => (
            Exit::Refused,
            "nothing was overwritten: restore --to another directory, or --in-place (with --delete \
             where a directory is in the way)",
        ),
        RestoreError::Unfinished { .. } => (
            Exit::Refused,
            "finish that one by the same command, or remove what it left",
        ),
        RestoreError::Local { .. } => {
            (Exit::Negative, "mend it and repeat the command: it goes on")
        }
        RestoreError::ReadBack { .. } => (Exit::Negative, "look at the disk, then repeat"),
    };
    let mut message = format!("restore: {error}");
    if let RestoreError::InTheWay { in_the_way } = error
        && in_the_way.len() > 1
    {
        message += &format!(", and {} more", shown::count(in_the_way.len() as u64 - 1));
    }
    Failure::new(exit, message, hint)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_in_the_way_is_a_refusal() {
        let error = RestoreError::InTheWay {
            in_the_way: vec!["/a".into(), "/b".into()],
        };
        let failure = failed(&error);
        assert_eq!(failure.exit, Exit::Refused);
        assert!(
            failure.message.contains("/a is in the way, and 1 more"),
            "{}",
            failure.message
        );
        let gone = HistoryError::Unreachable("attic: gone".to_owned()).into();
        assert_eq!(failed(&gone).exit, Exit::Unreachable);
    }
}

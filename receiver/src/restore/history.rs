//! The door to the past that a restore needs: a store on this machine, or a receiver on another.

use std::collections::HashMap;

use everwrite_protocol::ids::{FileId, SequenceNumber};
use everwrite_protocol::wire::{Answer, At, Point, Query, QueryError, TreeEntry};

use super::piece::Piece;

/// Whoever holds the history of one source.
pub trait History {
    /// Answers one question. [`Answer::Failed`] comes as [`HistoryError::Failed`].
    fn ask(&self, query: Query) -> Result<(Answer, Vec<u8>), HistoryError>;

    /// Answers several, in their order. One that is far away is quicker if it is asked all at once.
    fn ask_all(&self, queries: Vec<Query>) -> Vec<Result<(Answer, Vec<u8>), HistoryError>> {
        queries.into_iter().map(|query| self.ask(query)).collect()
    }
}

/// Why the past can't be told.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum HistoryError {
    /// It says why not.
    #[error(transparent)]
    Failed(#[from] QueryError),
    /// It can't be asked (any more).
    #[error("{0}")]
    Unreachable(String),
    /// Its answer makes no sense.
    #[error("the history's answer makes no sense; its versions and this program's may differ")]
    Nonsense,
}

/// Questions to a history, each with the answer that belongs to it.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'h, H>(pub &'h H);

impl<H: History> Asked<'_, H> {
    /// The recovery point that `at` means.
    pub fn resolve(&self, at: At) -> Result<Point, HistoryError> {
        match self.0.ask(Query::Resolve { at })? {
            (Answer::Resolved(point), _) => Ok(point),
            _ => Err(HistoryError::Nonsense),
        }
    }

    /// The entry at `path`; `None`: there was none.
    pub fn stat(&self, path: &[u8], at: SequenceNumber) -> Result<Option<TreeEntry>, HistoryError> {
        match self.0.ask(Query::Stat {
            path: path.to_owned(),
            at,
        }) {
            Ok((Answer::Stat(entry), _)) => Ok(Some(entry)),
            Ok(_) => Err(HistoryError::Nonsense),
            Err(HistoryError::Failed(QueryError::NotFound)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// All entries of a directory, in byte order; of a file: itself.
    pub fn list(&self, path: &[u8], at: SequenceNumber) -> Result<Vec<TreeEntry>, HistoryError> {
        let mut all: Vec<TreeEntry> = Vec::new();
        loop {
            let after = all.last().map(|entry| entry.name.clone());
            let query = Query::List {
                path: path.to_owned(),
                at,
                after,
            };
            let (Answer::List { entries, more }, _) = self.0.ask(query)? else {
                return Err(HistoryError::Nonsense);
            };
            let done = !more || entries.is_empty();
            all.extend(entries);
            if done {
                return Ok(all);
            }
        }
    }

    /// The first pieces of several files; those that have none are left out.
    pub(super) fn read_first(
        &self,
        files: &[FileId],
        at: SequenceNumber,
    ) -> HashMap<FileId, Piece> {
        let query = |&file: &FileId| Query::Read {
            file,
            at,
            offset: 0,
        };
        let answers = self.0.ask_all(files.iter().map(query).collect());
        let pieces = files.iter().zip(answers).filter_map(|(file, answer)| {
            let (answer, payload) = answer.ok()?;
            Some((*file, Piece::new(0, answer, payload)?))
        });
        pieces.collect()
    }

    /// Content of a file from `offset` on, as much as one answer holds.
    pub fn read(
        &self,
        file: FileId,
        at: SequenceNumber,
        offset: u64,
    ) -> Result<Piece, HistoryError> {
        let (answer, payload) = self.0.ask(Query::Read { file, at, offset })?;
        Piece::new(offset, answer, payload).ok_or(HistoryError::Nonsense)
    }
}

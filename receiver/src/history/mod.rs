//! Answers questions about what a source has, and had.
//!
//! Everything is read within a shared hold of the apply lock and one transaction of the catalog, so
//! that catalog and mirror speak of the same recovery point. Long answers are put together of pieces,
//! each with a hold of its own.

mod content;
mod deleted;
mod digests;
mod log;
mod overlay;
mod path;
mod points;
mod tree;

use std::panic::AssertUnwindSafe;
use std::sync::{Mutex, PoisonError};

use everwrite_protocol::wire::{Answer, Query, QueryError};

use content::ContentReader;
pub(crate) use content::open_inode;
pub(crate) use path::joined;

use crate::catalog::Catalog;
use crate::log::Segments;
use crate::mirror::{Layout, SourceDirectory};
use crate::store::{ApplyLock, StoreError};

/// Idle sessions kept.
const SESSIONS_KEPT: usize = 4;

/// Answers questions, for any number of threads.
#[derive(Debug)]
pub struct Reader {
    layout: Layout,
    idle: Mutex<Vec<Session>>,
}

/// What one question at a time needs.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) catalog: Catalog,
    pub(crate) lock: ApplyLock,
    pub(crate) directory: SourceDirectory,
    content: ContentReader,
}

/// An answer with its payload.
pub type Answered = Result<(Answer, Vec<u8>), QueryError>;

impl Reader {
    /// Of the store at `layout`, which exists.
    pub fn open(layout: &Layout) -> Result<Self, StoreError> {
        let idle = Mutex::new(vec![Session::open(layout)?]);
        Ok(Self {
            layout: layout.clone(),
            idle,
        })
    }

    /// Answers from what is applied. A bug in answering is an answer, too: a question from a peer must
    /// not end the caller's thread.
    pub fn answer(&self, query: &Query) -> (Answer, Vec<u8>) {
        let answer = AssertUnwindSafe(|| self.with(|session| session.answer(query)));
        let answered = std::panic::catch_unwind(answer)
            .unwrap_or(Err(StoreError::Bug("answering a question")));
        match answered.unwrap_or_else(|error| Err(unreadable(&error))) {
            Ok(answered) => answered,
            Err(error) => (Answer::Failed(error), Vec::new()),
        }
    }

    /// Lends a session.
    pub(crate) fn with<T>(&self, act: impl FnOnce(&mut Session) -> T) -> Result<T, StoreError> {
        let idle = self
            .idle
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .pop();
        let mut session = match idle {
            Some(session) => session,
            None => Session::open(&self.layout)?,
        };
        let done = act(&mut session);
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < SESSIONS_KEPT {
            idle.push(session);
        }
        Ok(done)
    }
}

impl Session {
    fn open(layout: &Layout) -> Result<Self, StoreError> {
        Ok(Self {
            catalog: Catalog::open_reader(&layout.catalog())?,
            lock: ApplyLock::open_reader(&layout.apply_lock())?,
            directory: SourceDirectory::open(layout)?,
            content: ContentReader::new(Segments::new(layout.log())),
        })
    }

    fn answer(&mut self, query: &Query) -> Answered {
        match query {
            Query::Digests {
                file,
                offset,
                length,
                block,
                after: _,
            } => self.digests(*file, *offset, *length, *block),
            Query::Signature {
                file,
                offset,
                length,
                block,
                after: _,
            } => self.signature(*file, *offset, *length, *block),
            Query::WholeDigest { file, after: _ } => self.whole_digest(*file),
            Query::Tree { cursor } => self.tree(cursor.as_deref()),
            Query::Resolve { at } => self.resolve(at),
            Query::Points { before, limit } => self.points(*before, *limit),
            Query::Stat { path, at } => self.stat(path, *at),
            Query::List { path, at, after } => self.list(path, *at, after.as_ref()),
            Query::Read { file, at, offset } => self.read(*file, *at, *offset),
            Query::Log {
                path,
                before,
                limit,
            } => self.log(path, *before, *limit),
            Query::Deleted { path, limit } => self.deleted(path, *limit),
        }
    }
}

fn unreadable(error: &StoreError) -> QueryError {
    QueryError::Store(error.to_string())
}

impl From<StoreError> for QueryError {
    fn from(error: StoreError) -> Self {
        unreadable(&error)
    }
}

fn invalid(why: &str) -> QueryError {
    QueryError::Invalid(why.to_owned())
}

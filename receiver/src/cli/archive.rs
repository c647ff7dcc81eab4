//! What a store holds of one source, read with nobody else's help.
//!
//! What is stored but not yet in the mirror is waited for while another process writes; where none
//! does, it is applied here, as that process would have done.

use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, Instant};

use everwrite_protocol::ids::SequenceNumber;
use everwrite_protocol::wire::{Answer, At, Point, Query, QueryError, TreeEntry};

use super::store::{Known, SourceOptions};
use crate::answers::exit::{Exit, Failure};
use crate::answers::output::Output;
use crate::answers::shown;
use crate::catalog::Catalog;
use crate::history::Reader;
use crate::log::{Segments, recover};
use crate::mirror::Layout;
use crate::restore::{Asked, History, HistoryError};
use crate::store::{ApplyLock, SourceStore, StoreError};

/// How long stored batches may take to get into the mirror.
const APPLY_MAX: Duration = Duration::from_secs(60);
/// How often to look whether another process has applied them.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// One source's history.
#[derive(Debug)]
pub(super) struct Archive {
    pub(super) source: Known,
    pub(super) layout: Layout,
    /// Last batch on the disk when this was opened.
    pub(super) stored: SequenceNumber,
    reader: Reader,
}

impl Archive {
    /// Of the source that the options mean, with all that is stored applied.
    pub(super) fn open(options: &SourceOptions) -> Result<Self, Failure> {
        let source = options.choose()?;
        let layout = options.layout(&source);
        let stored = settle(options.directory(), &source, &layout, options.output())?;
        let reader = Reader::open(&layout).map_err(|error| failed(&error))?;
        Ok(Self {
            source,
            layout,
            stored,
            reader,
        })
    }

    /// Questions to its history.
    pub(super) fn asked(&self) -> Asked<'_, Reader> {
        Asked(&self.reader)
    }

    pub(super) fn history(&self) -> &Reader {
        &self.reader
    }

    pub(super) fn ask(&self, query: Query) -> Result<(Answer, Vec<u8>), Failure> {
        self.reader
            .ask(query)
            .map_err(|error| self.unanswered(&error))
    }

    /// The recovery point that `at` means.
    pub(super) fn resolve(&self, at: At) -> Result<Point, Failure> {
        self.asked()
            .resolve(at)
            .map_err(|error| self.unanswered(&error))
    }

    /// The entry at `path`, which has to be there.
    pub(super) fn existing(&self, path: &[u8], point: &Point) -> Result<TreeEntry, Failure> {
        let found = self.asked().stat(path, point.sequence);
        found
            .map_err(|error| self.unanswered(&error))?
            .ok_or_else(|| {
                let (path, time) = (shown::path(path), shown::cut_time(point.time));
                let at = point.sequence.0;
                Failure::negative(
                    format!("{path}: nothing is stored there as of {time} (@{at})"),
                    "`everwrite-receiver log PATH` shows when it was there, `ls` the roots",
                )
            })
    }

    /// All entries of a directory, in byte order; of a file: itself.
    pub(super) fn list(&self, path: &[u8], at: SequenceNumber) -> Result<Vec<TreeEntry>, Failure> {
        self.asked()
            .list(path, at)
            .map_err(|error| self.unanswered(&error))
    }

    /// An unanswered question, for people.
    pub(super) fn unanswered(&self, error: &HistoryError) -> Failure {
        let hint = match error {
            HistoryError::Failed(
                QueryError::UnknownCheckpoint | QueryError::TooEarly | QueryError::NotFound,
            ) => "`everwrite-receiver log` shows the recovery points that changed something",
            _ => "`everwrite-receiver verify` looks for damage",
        };
        Failure::negative(format!("{}: {error}", self.layout.root.display()), hint)
    }
}

impl History for Reader {
    fn ask(&self, query: Query) -> Result<(Answer, Vec<u8>), HistoryError> {
        match self.answer(&query) {
            (Answer::Failed(error), _) => Err(error.into()),
            answered => Ok(answered),
        }
    }
}

/// Has everything that is stored applied. The last batch on the disk when this was called.
pub(super) fn settle(
    store: &Path,
    source: &Known,
    layout: &Layout,
    output: Output,
) -> Result<SequenceNumber, Failure> {
    let deadline = Instant::now() + APPLY_MAX;
    let mut wanted = None;
    let mut tried = false;
    loop {
        let now = match Standing::of(layout) {
            Err(error) if tried || !is_ours(layout) => return Err(failed(&error)),
            now => now.ok(),
        };
        if let Some(now) = &now {
            let wanted = *wanted.get_or_insert(now.stored);
            if now.settled && now.applied >= wanted {
                return Ok(wanted);
            }
            if Instant::now() >= deadline {
                return behind(layout, now, output);
            }
        }
        tried = apply(store, source, layout)? || Instant::now() >= deadline;
        if !tried {
            std::thread::sleep(LOOK_EVERY);
        }
    }
}

/// How far the store of a source is.
#[derive(Debug)]
struct Standing {
    stored: SequenceNumber,
    applied: SequenceNumber,
    /// No writer was killed while it changed the mirror.
    settled: bool,
}

impl Standing {
    fn of(layout: &Layout) -> Result<Self, StoreError> {
        let state = Catalog::open_reader(&layout.catalog())?.state()?;
        let settled = match ApplyLock::open_reader(&layout.apply_lock())?.shared() {
            Ok(_held) => true,
            Err(StoreError::InBetween(_)) => false,
            Err(error) => return Err(error),
        };
        let segments = Segments::new(layout.log());
        let recovered = recover(&segments, state.position, state.applied, false)?;
        Ok(Self {
            stored: recovered.stored,
            applied: state.applied,
            settled,
        })
    }
}

/// Applies what is stored. `false`: another process has the store open for writing.
fn apply(store: &Path, source: &Known, layout: &Layout) -> Result<bool, Failure> {
    if !is_ours(layout) {
        return Err(not_ours(layout));
    }
    let store = match SourceStore::open(store, source.id, |_| {}) {
        Err(StoreError::InUse(_)) => return Ok(false),
        opened => opened.map_err(|error| failed(&error))?,
    };
    match store.catch_up(APPLY_MAX) {
        true => Ok(true),
        false => Err(Failure::negative(
            format!("{}: can't apply what is stored", layout.root.display()),
            "is the disk full? RUST_LOG=info `everwrite-receiver serve` tells the cause",
        )),
    }
}

/// What we make in somebody else's store could later not be opened by its owner.
fn is_ours(layout: &Layout) -> bool {
    let us = rustix::process::geteuid().as_raw();
    std::fs::metadata(&layout.root).is_ok_and(|found| found.uid() == us)
}

fn not_ours(layout: &Layout) -> Failure {
    let owner = std::fs::metadata(&layout.root).map_or(0, |found| found.uid());
    let root = layout.root.display();
    Failure::new(
        Exit::Refused,
        format!(
            "{root}: some batches are stored and not in the mirror yet; it belongs to uid {owner}"
        ),
        "run this as that user, or start `everwrite-receiver serve`",
    )
}

/// Another process has the store and does not get on: what is applied is what can be read.
fn behind(layout: &Layout, now: &Standing, output: Output) -> Result<SequenceNumber, Failure> {
    if !now.settled {
        return Err(failed(&StoreError::InBetween(layout.root.clone())));
    }
    output.note(format_args!(
        "up to @{} is stored, up to @{} in the mirror: what follows is as of the latter; the log of \
         the process that has the store open tells why",
        now.stored.0, now.applied.0
    ));
    Ok(now.stored)
}

/// A store that can't be read, for people.
pub(super) fn failed(error: &StoreError) -> Failure {
    let hint = match error {
        StoreError::InUse(_) => "repeat the command when it has ended",
        StoreError::Damaged { .. } => "`everwrite-receiver verify` lists all damage",
        StoreError::InBetween(_) => "the log of the process that has the store open tells why",
        _ => "",
    };
    Failure::negative(error.to_string(), hint)
}

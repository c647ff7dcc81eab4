//! A round: everything that is due is looked at and becomes one batch.
//!
//! Order within a round: names first, oldest first, then small dirty files, then listings (of scans
//! and of new directories), then pieces of large files, until the batch is full. So a small recent
//! change never waits behind bulk.
//!
//! Invariant: the index is changed in one transaction, which is committed only when the batch is
//! complete. A round that fails leaves the index as it was and everything dirty.

mod account;
mod compare;
mod content;
mod create;
mod dirt;
mod gaps;
mod kept;
mod listing;
mod moves;
mod names;
mod pace;
mod recent;
mod root;
mod sibling;
mod state;
mod times;
mod unplaced;

use std::collections::{BTreeSet, HashMap, HashSet};
use std::time::{Duration, Instant};

use anyhow::Result;
use everwrite_protocol::ids::{FileId, Name, SequenceNumber};
use everwrite_protocol::local::Inode;

pub use account::Findings;
pub use gaps::Doubtful;
pub use pace::{FilePace, Rest};
pub use state::{Delayed, ListingWork, ProtectedRoot, State, Tools, Waits};
pub use unplaced::UnplacedNames;

use crate::batch::BatchBuilder;
use crate::clock;
use crate::look::Directories;
use crate::queue::{DirtyFile, Mark, QueueLimits};

/// Bulk work (listings, large files) goes on for so long in one round.
const BULK_TIME: Duration = Duration::from_millis(50);
/// Dirty bytes up to which a file is small: read at once, before bulk.
const SMALL_BYTES: u64 = 1 << 20;

/// The same for a quick round, which is to leave nothing behind.
const QUICK_PAYLOAD_BYTES: u64 = 16 << 20;
/// A quick round ends after so long, whatever is left.
const QUICK_TIME: Duration = Duration::from_millis(10);

/// How much is kept apart, and sent at once.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Content of one batch, in bytes, beyond which nothing more is begun. New files up to this size arrive whole;
    /// larger ones in pieces, and get their name at the end.
    pub batch_bytes: u64,
    /// Commands of one batch beyond which nothing more is begun.
    pub batch_commands: usize,
    /// What waits.
    pub queue: QueueLimits,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            batch_bytes: 4 << 20,
            batch_commands: 8192,
            queue: QueueLimits::default(),
        }
    }
}

/// How much a round may take upon itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Effort {
    /// All that is due.
    Usual,
    /// Programs may be waiting for its end: nothing is asked of the receiver, and nothing is done for a
    /// background scan.
    Quick,
}

/// One round, from the queue to a batch.
pub struct Round<'s> {
    state: &'s mut State,
    tools: &'s Tools,
    effort: Effort,
    batch: BatchBuilder,
    directories: Directories,
    buffer: Vec<u8>,
    started: Instant,
    /// When the look at the file at hand began.
    look_began: Instant,
    /// Oldest hint that went into the batch.
    oldest: Option<Mark>,
    /// Files that lost a name: those without any at the end are dead.
    orphans: BTreeSet<FileId>,
    /// Names that files lost: where what is dead was.
    last_names: HashMap<FileId, (FileId, Name)>,
    /// What was still to be read of files when they lost a name.
    unread: HashMap<FileId, Vec<DirtyFile>>,
    /// How many names files have that got one, at most: files may have thousands.
    known_names: HashMap<FileId, u64>,
    /// Directories in which names changed: their times did, too.
    touched: BTreeSet<FileId>,
    /// Names that can't be looked at before others are.
    postponed: Vec<(Inode, Name, Mark)>,
    postponed_files: Vec<(Inode, DirtyFile)>,
    /// Directories that are not where the index has them: their names are looked at first.
    searched: HashSet<Inode>,
    /// Files looked at in this round: once is enough.
    done_files: HashSet<FileId>,
    /// For the account.
    findings: Findings,
}

/// What came of a round.
pub struct Outcome {
    /// The batch, unless nothing had changed.
    pub batch: Option<BatchBuilder>,
    /// Its number, if there is one.
    pub sequence: SequenceNumber,
    /// Ticket of the oldest entry that went into it.
    pub oldest: Option<Mark>,
    /// What the batch is about, for the account.
    pub findings: Findings,
}

impl<'s> Round<'s> {
    /// Looks at what is due. On error nothing has happened, but everything is dirty.
    pub fn run(state: &'s mut State, tools: &'s Tools, effort: Effort) -> Result<Outcome> {
        let sequence = state.index.begin()?;
        let mut round = Self::new(state, tools, effort, sequence);
        match round.gather() {
            Ok(()) => round.finish(),
            Err(error) => {
                let mark = round.state.queue.scan_mark(round.started);
                round
                    .state
                    .queue
                    .set_everything(round.oldest.unwrap_or(mark));
                round.state.index.abandon()?;
                Err(error)
            }
        }
    }

    fn new(
        state: &'s mut State,
        tools: &'s Tools,
        effort: Effort,
        sequence: SequenceNumber,
    ) -> Self {
        Self {
            effort,
            batch: BatchBuilder::new(sequence, tools.origin_names()),
            directories: Directories::default(),
            buffer: Vec::new(),
            started: clock::now(),
            look_began: clock::now(),
            oldest: None,
            orphans: BTreeSet::new(),
            last_names: HashMap::new(),
            unread: HashMap::new(),
            known_names: HashMap::new(),
            touched: BTreeSet::new(),
            postponed: Vec::new(),
            postponed_files: Vec::new(),
            searched: HashSet::new(),
            done_files: HashSet::new(),
            findings: Findings::default(),
            state,
            tools,
        }
    }

    fn gather(&mut self) -> Result<()> {
        self.state.wake_delayed(self.started, self.effort);
        self.declare_roots()?;
        self.look_everywhere()?;
        self.look_at_names()?;
        self.look_at_small_files()?;
        self.go_on_listing()?;
        self.look_at_large_files()?;
        self.bury_orphans()?;
        self.refresh_directories()
    }

    fn finish(self) -> Result<Outcome> {
        let sequence = self.batch.sequence();
        for (directory, name, mark) in self.postponed {
            self.state.queue.push_name(directory, name, mark);
        }
        for (file, entry) in self.postponed_files {
            self.state.queue.put_back_file(file, entry);
        }
        if self.batch.is_empty() {
            self.state.index.commit_without_batch()?;
            return Ok(Outcome {
                batch: None,
                sequence,
                oldest: self.oldest,
                findings: self.findings,
            });
        }
        self.state.index.commit(sequence)?;
        Ok(Outcome {
            batch: Some(self.batch),
            sequence,
            oldest: self.oldest,
            findings: self.findings,
        })
    }

    /// The two names of a rename belong to one round: a file that has lost one at its end, and not got the other yet,
    /// is dead.
    fn look_at_names(&mut self) -> Result<()> {
        let mut before = None;
        while let Some(next) = self.state.queue.next_name() {
            let is_second = before.take() == Some(next);
            if self.is_full() && !is_second {
                break;
            }
            before = (!is_second).then_some(next);
            if let Some((directory, name, mark)) = self.state.queue.take_name() {
                self.note(mark);
                self.look_name(directory, name, mark)?;
            }
        }
        Ok(())
    }

    fn look_at_small_files(&mut self) -> Result<()> {
        let mut after = None;
        while let Some(next) = self.state.queue.next_file(after) {
            let inode = next.1;
            after = Some(next);
            if self.is_full() {
                break;
            }
            if self.state.queue.file(inode).is_some_and(is_small) {
                self.take_and_look(inode, SMALL_BYTES)?;
            }
        }
        Ok(())
    }

    fn look_at_large_files(&mut self) -> Result<()> {
        let mut after = None;
        while let Some(next) = self.state.queue.next_file(after) {
            let inode = next.1;
            after = Some(next);
            if self.is_full() || clock::since(self.started) > BULK_TIME && !self.batch.is_empty() {
                break;
            }
            self.take_and_look(inode, self.payload_limit())?;
        }
        Ok(())
    }

    fn take_and_look(&mut self, inode: Inode, bytes: u64) -> Result<()> {
        let Some(entry) = self.state.queue.take_file(inode) else {
            return Ok(());
        };
        let at_once = self.is_quick() && entry.is_light();
        let rested = match at_once {
            true => Some(entry),
            false => self.state.rest(inode, entry, self.started),
        };
        let Some(entry) = rested else {
            return Ok(());
        };
        self.note(entry.mark);
        self.look_file(inode, entry, bytes)
    }

    fn is_full(&self) -> bool {
        self.batch.payload_bytes() >= self.payload_limit()
            || self.batch.commands() >= self.state.limits.batch_commands
            || self.is_quick() && clock::since(self.started) > QUICK_TIME
    }

    fn payload_limit(&self) -> u64 {
        match self.effort {
            Effort::Usual => self.state.limits.batch_bytes,
            Effort::Quick => QUICK_PAYLOAD_BYTES,
        }
    }

    fn is_quick(&self) -> bool {
        self.effort == Effort::Quick
    }

    /// Remembers the oldest mark that went into this batch.
    fn note(&mut self, mark: Mark) {
        if self.oldest.is_none_or(|oldest| mark.ticket < oldest.ticket) {
            self.oldest = Some(mark);
        }
    }
}

fn is_small(entry: &DirtyFile) -> bool {
    !entry.dirt.whole && entry.dirt.ranges.bytes(u64::MAX) <= SMALL_BYTES
}

#[cfg(test)]
mod tests;

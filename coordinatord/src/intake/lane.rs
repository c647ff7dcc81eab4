//! The lane of one process image: its segment, and what the reader knows about it.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::Ordering::{Acquire, Relaxed};
use std::time::{Duration, Instant};

use everwrite_protocol::local::Inode;
use everwrite_protocol::local::segment::Segment;

use super::durable::{DurableAsk, Grants};
use super::hint::{OriginId, What};
use super::mappings::Mappings;
use super::memory::Shared;
use super::merge::Merge;
use super::process::{self, ProcessKey};
use super::room::Place;
use super::segment::{SegmentReader, Visit};

/// A lane that said nothing for so long is visited in turn, not at each round.
const QUIET_AFTER: Duration = Duration::from_millis(100);
/// Files that a process has asked to be durable and that are kept apart.
const SYNCED_MAX: usize = 64;
/// [`SegmentHeader::faults`](everwrite_protocol::local::segment::SegmentHeader) at which a shim turns
/// itself off.
const FAULTS_MAX: u32 = 3;

/// One lane.
pub(super) struct Lane {
    /// Names the lane, and its process among the [`Ends`](super::ends::Ends).
    pub(super) token: u64,
    /// Who.
    pub(super) origin: OriginId,
    /// Which process.
    pub(super) process: ProcessKey,
    /// The shared memory.
    pub(super) segment: Arc<Shared<Segment>>,
    /// Keeps the process among the ends, until closed.
    pub(super) _process_descriptor: OwnedFd,
    /// Its thread numbers mean nothing here.
    pub(super) namespaced: bool,
    /// Its place in the room.
    pub(super) _place: Place,
    /// The reader's half of the protocol.
    pub(super) reader: SegmentReader,
    /// When it last said something.
    pub(super) active_at: Instant,
    /// Its shim says that it does not see all; told once.
    pub(super) blind: bool,
    /// The process has asked for another segment since.
    pub(super) superseded: bool,
    /// Calls for durability.
    pub(super) syncs: Syncs,
}

/// Calls for durability of one process.
#[derive(Debug)]
pub(super) struct Syncs {
    grants: Arc<Grants>,
    /// The last one that is known to wait for an answer.
    asked: u32,
    /// The last one that was passed on.
    told: u32,
    /// What the others are about, as far as there is room.
    files: Vec<Inode>,
}

impl Syncs {
    pub(super) fn new(segment: Arc<Shared<Segment>>) -> Self {
        Self {
            grants: Arc::new(Grants::new(segment)),
            asked: 0,
            told: 0,
            files: Vec::new(),
        }
    }

    fn note(&mut self, what: &What) {
        if let What::Sync { file } = what
            && self.files.len() < SYNCED_MAX
            && !self.files.contains(file)
        {
            self.files.push(*file);
        }
    }
}

/// What can be told of a lane.
#[derive(Debug)]
pub(super) struct LaneReport {
    /// Who.
    pub(super) origin: OriginId,
    /// Which process.
    pub(super) process: ProcessKey,
    /// Hints taken.
    pub(super) hints: u64,
    /// Its shim says that it does not see all.
    pub(super) blind: bool,
}

impl Lane {
    /// How it stands.
    pub(super) fn report(&self) -> LaneReport {
        LaneReport {
            origin: self.origin,
            process: self.process,
            hints: self.reader.taken(),
            blind: self.blind,
        }
    }

    /// Visits the segment; gives the number of hints taken.
    pub(super) fn visit(
        &mut self,
        visit: Visit,
        now: Instant,
        mappings: &mut Mappings,
        merge: &mut Merge,
    ) -> u64 {
        let (namespaced, token, origin) = (self.namespaced, self.token, self.origin);
        let lives = |thread| namespaced || process::thread_exists(thread);
        let syncs = &mut self.syncs;
        let tell = &mut |what: What| match what {
            What::Sync { .. } => syncs.note(&what),
            what => merge.add(origin, now, mappings.translate(token, what)),
        };
        let before = self.reader.taken();
        self.reader.visit(&self.segment, visit, now, &lives, tell);
        if let Some(file) = self.reader.is_synced() {
            merge.add(origin, now, What::Sync { file });
        }
        let taken = self.reader.taken() - before;
        if taken > 0 {
            self.active_at = now;
        }
        taken
    }

    /// Looks whether the process waits for the receiver; before its slots are read, so that all that it waits
    /// for is read after.
    pub(super) fn notice_sync(&mut self) -> bool {
        self.syncs.asked = self.segment.header.durable_asked.load(Acquire);
        self.syncs.asked != self.syncs.told
    }

    /// Its calls that wait, no longer than that, and were not passed on; their slots have been read.
    pub(super) fn take_sync(&mut self, longest: Duration) -> Option<DurableAsk> {
        let syncs = &mut self.syncs;
        let files = std::mem::take(&mut syncs.files);
        let full = files.len() >= SYNCED_MAX;
        let files = if full { Vec::new() } else { files };
        let before = std::mem::replace(&mut syncs.told, syncs.asked);
        (before != syncs.asked).then(|| syncs.grants.ask(syncs.asked, files, longest))
    }

    /// How many did not wait for their answer, since this was last asked.
    pub(super) fn take_late_syncs(&self) -> u32 {
        let late = &self.segment.header.durable_late;
        match late.load(Relaxed) {
            0 => 0,
            _ => late.swap(0, Relaxed),
        }
    }

    /// The process ended without a word, although it had asked for the segment to say something: it
    /// gave up waiting for the answer, or was killed before it could go on.
    pub(super) fn was_for_nothing(&self) -> bool {
        !self.superseded && self.reader.is_untouched()
    }

    /// Has it said something lately, or is a call under way?
    pub(super) fn is_active(&self, now: Instant) -> bool {
        now.duration_since(self.active_at) < QUIET_AFTER || self.reader.is_waiting()
    }

    /// Is a call under way that may change something?
    pub(super) fn is_writing(&self) -> bool {
        self.reader.is_writing()
    }

    /// Does the shim say, for the first time, that it does not see all of its process?
    pub(super) fn goes_blind(&mut self) -> bool {
        let header = &self.segment.header;
        let blind = header.stdio_unseen.load(Relaxed) != 0
            || header.ring_unseen.load(Relaxed) != 0
            || header.faults.load(Relaxed) >= FAULTS_MAX;
        blind && !std::mem::replace(&mut self.blind, true)
    }
}

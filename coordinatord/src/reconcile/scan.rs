//! What a running scan remembers.

use std::time::Instant;

use everwrite_protocol::ids::{Name, SequenceNumber};
use everwrite_protocol::local::Inode;

use crate::queue::{Mark, Ticket};

/// Why a scan is made.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ScanReason {
    /// The root was never copied.
    Initial,
    /// Nobody listened for a while (start, switch off, lost hints): what it finds are no misses.
    Gap,
    /// Asked for, or in the background: what it finds and nobody announced is a miss.
    Check,
    /// For a barrier, which promises more than hints alone can keep. Also counts misses.
    Barrier,
}

/// A scan under way.
#[derive(Debug)]
pub struct Scan {
    /// Why.
    pub reason: ScanReason,
    /// Since when.
    pub started: Instant,
    /// Files and directories compared so far.
    pub compared: u64,
    /// Names that the index has and the disk has not, and why they were looked for; looked at again
    /// at the end.
    pub missing: Vec<(Inode, Name, Mark)>,
    /// No ticket of theirs is older.
    missing_from: Ticket,
    /// Hints were lost while it ran, and it finds what they would have told of.
    pub excused: bool,
    /// What was last stored before this batch may have changed without anybody hearing of it. What is announced
    /// of such a file is not all that there is to know, until it has been compared.
    pub doubted_before: SequenceNumber,
    /// Somebody asked for all to be compared, and waits for it.
    pub thorough: bool,
    /// Directories with this ticket or an older one are listed for it. Those that programs make meanwhile have newer
    /// ones, or it would end when they do.
    pub until: Ticket,
}

impl Scan {
    /// A scan that starts now.
    pub fn new(reason: ScanReason, now: Instant) -> Self {
        Self {
            reason,
            started: now,
            compared: 0,
            missing: Vec::new(),
            missing_from: Ticket::BACKGROUND,
            excused: false,
            doubted_before: SequenceNumber(0),
            thorough: false,
            until: Ticket::default(),
        }
    }

    /// A scan that takes the place of this one, which has not ended.
    pub fn again(self, reason: ScanReason, now: Instant) -> Self {
        Self {
            excused: self.excused,
            doubted_before: self.doubted_before,
            thorough: self.thorough,
            until: self.until,
            ..Self::new(reason, now)
        }
    }

    /// A listing misses these names.
    pub fn misses(&mut self, directory: Inode, names: Vec<Name>, why: Mark) {
        if self.missing.is_empty() {
            self.missing_from = Ticket::BACKGROUND;
        }
        self.missing_from = self.missing_from.min(why.ticket);
        let missing = names.into_iter().map(|name| (directory, name, why));
        self.missing.extend(missing);
    }

    /// Whoever waits for this ticket waits for names that are missing.
    pub fn oldest_missing(&self) -> Option<Ticket> {
        (!self.missing.is_empty()).then_some(self.missing_from)
    }

    /// Did somebody listen when it began? Then what nobody announced can be told from what nobody
    /// could have.
    pub fn counts_misses(&self) -> bool {
        matches!(self.reason, ScanReason::Check | ScanReason::Barrier)
    }

    /// Are differences that nobody announced misses?
    pub fn finds_misses(&self) -> bool {
        self.counts_misses() && !self.excused
    }

    /// `usual`, unless everybody waits for this scan, or nobody.
    pub fn mark_of(&self, usual: Ticket) -> Ticket {
        match self.reason {
            ScanReason::Check => Ticket::BACKGROUND,
            // Whoever waits, waits for what was missed.
            ScanReason::Initial | ScanReason::Gap => Ticket::default(),
            ScanReason::Barrier => usual,
        }
    }
}

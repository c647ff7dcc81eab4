//! What a running scan remembers.

use std::collections::HashSet;
use std::time::Instant;

use everwrite_protocol::ids::Name;
use everwrite_protocol::local::Inode;

use crate::queue::Ticket;

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

/// Missed paths kept by name.
const MISSED_PATHS_MAX: usize = 100;

/// A scan under way.
#[derive(Debug)]
pub struct Scan {
    /// Why.
    pub reason: ScanReason,
    /// Since when.
    pub started: Instant,
    /// Files and directories compared so far.
    pub compared: u64,
    /// Names that the index has and the disk has not; looked at again at the end.
    pub missing: Vec<(Inode, Name)>,
    /// Differences that no hint is known for, by inode of the file or directory.
    candidates: Vec<(Inode, Vec<u8>)>,
    /// Inodes hinted while the scan ran: their differences are no misses.
    hinted: HashSet<Inode>,
    /// Which root of the scan has been told to accept emptiness.
    pub accept_empty: bool,
}

/// What a finished scan found.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ScanReport {
    /// Files and directories compared.
    pub compared: u64,
    /// Differences that no hint had announced.
    pub misses: u64,
    /// The first of their paths, relative to their root.
    pub missed_paths: Vec<Vec<u8>>,
}

impl Scan {
    /// A scan that starts now.
    pub fn new(reason: ScanReason, now: Instant) -> Self {
        Self {
            reason,
            started: now,
            compared: 0,
            missing: Vec::new(),
            candidates: Vec::new(),
            hinted: HashSet::new(),
            accept_empty: false,
        }
    }

    /// Are differences that nobody announced misses?
    pub fn counts_misses(&self) -> bool {
        matches!(self.reason, ScanReason::Check | ScanReason::Barrier)
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

    /// A difference was found for which no hint is waiting.
    pub fn difference(&mut self, inode: Inode, path: Vec<u8>) {
        if self.counts_misses() {
            self.candidates.push((inode, path));
        }
    }

    /// A hint for this inode came in.
    pub fn hint(&mut self, inode: Inode) {
        if self.counts_misses() {
            self.hinted.insert(inode);
        }
    }

    /// Ends the scan. All hints of before its end must have been taken in.
    pub fn report(self) -> ScanReport {
        let missed: Vec<_> = self
            .candidates
            .into_iter()
            .filter(|candidate| !self.hinted.contains(&candidate.0))
            .map(|candidate| candidate.1)
            .collect();
        ScanReport {
            compared: self.compared,
            misses: missed.len() as u64,
            missed_paths: missed.into_iter().take(MISSED_PATHS_MAX).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_nobody_announced_is_a_miss() {
        let file = |inode| Inode { device: 1, inode };
        let mut scan = Scan::new(ScanReason::Check, Instant::now());
        scan.difference(file(1), b"a".to_vec());
        scan.difference(file(2), b"b".to_vec());
        scan.hint(file(1));
        assert_eq!(scan.report().missed_paths, [b"b".to_vec()]);
        let mut after_a_gap = Scan::new(ScanReason::Gap, Instant::now());
        after_a_gap.difference(file(1), b"a".to_vec());
        assert_eq!(after_a_gap.report().misses, 0);
    }
}

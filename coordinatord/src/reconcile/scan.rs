//! What a running scan remembers.

use std::collections::HashSet;
use std::time::Instant;

use everwrite_protocol::ids::{FileId, Name};
use everwrite_protocol::local::Inode;

use super::announced::Announced;
use crate::intake::What;
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
    /// Differences that no hint was waiting for when they were found.
    differences: Vec<Difference>,
    /// What was hinted while the scan ran: no misses.
    announced: Announced,
    /// Which root of the scan has been told to accept emptiness.
    pub accept_empty: bool,
}

/// A difference that a scan found.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Difference {
    /// Its root.
    pub root: FileId,
    /// Its path below that.
    pub path: Vec<u8>,
    /// The file or directory: as it is, or as it was when it is gone.
    pub file: Inode,
    /// The directory in which it was found.
    pub directory: Inode,
    /// Its name there.
    pub name: Name,
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
            differences: Vec::new(),
            announced: Announced::default(),
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
    pub fn difference(&mut self, difference: Difference) {
        if self.counts_misses() {
            self.differences.push(difference);
        }
    }

    /// A hint came in.
    pub fn hint(&mut self, what: &What) {
        if self.counts_misses() {
            self.announced.hint(what);
        }
    }

    /// Any name in this directory may have been hinted.
    pub fn hinted_names_in(&mut self, directory: Inode) {
        if self.counts_misses() {
            self.announced.directory(directory);
        }
    }

    /// A scan that takes the place of this one, which has not ended: what was hinted stays hinted.
    pub fn again(self, reason: ScanReason, now: Instant) -> Self {
        Self {
            announced: self.announced,
            ..Self::new(reason, now)
        }
    }

    /// A name that was hinted stands, or stood, for this file.
    pub fn hinted_name_of(&mut self, file: Inode) {
        if self.counts_misses() {
            self.announced.file(file);
        }
    }

    /// Ends the scan. All hints of before its end must have been taken in.
    pub fn report(self) -> ScanReport {
        let (told, untold): (Vec<_>, Vec<_>) = self
            .differences
            .into_iter()
            .partition(|difference| self.announced.tells(difference));
        let told: HashSet<_> = told.into_iter().map(|it| (it.root, it.path)).collect();
        let missed: Vec<_> = untold
            .into_iter()
            .filter(|difference| !is_below(&told, difference))
            .map(|difference| difference.path)
            .collect();
        ScanReport {
            compared: self.compared,
            misses: missed.len() as u64,
            missed_paths: missed.into_iter().take(MISSED_PATHS_MAX).collect(),
        }
    }
}

/// Nobody announces what is inside a tree that came as a whole: its own name says it all.
fn is_below(told: &HashSet<(FileId, Vec<u8>)>, difference: &Difference) -> bool {
    let path = &difference.path;
    let slashes = path.iter().enumerate().filter(|(_, byte)| **byte == b'/');
    slashes
        .map(|(end, _)| (difference.root, path[..end].to_vec()))
        .any(|above| told.contains(&above))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inode(inode: u64) -> Inode {
        Inode { device: 1, inode }
    }

    fn name(name: &str) -> Name {
        Name::new(name.as_bytes()).unwrap()
    }

    /// The file with this number, in the directory with that one.
    fn difference(file: u64, directory: u64, path: &str) -> Difference {
        Difference {
            root: FileId(1),
            path: path.into(),
            file: inode(file),
            directory: inode(directory),
            name: name(path.rsplit('/').next().unwrap()),
        }
    }

    /// What is missed of `found` when that was hinted while the scan ran.
    fn missed(found: &[Difference], hints: &[What]) -> Vec<String> {
        let mut scan = Scan::new(ScanReason::Check, Instant::now());
        let (early, late) = hints.split_at(hints.len() / 2);
        early.iter().for_each(|what| scan.hint(what));
        found.iter().cloned().for_each(|it| scan.difference(it));
        late.iter().for_each(|what| scan.hint(what));
        let paths = scan.report().missed_paths.into_iter();
        paths.map(|path| String::from_utf8(path).unwrap()).collect()
    }

    fn hint_of(directory: u64, text: &str) -> What {
        What::Name {
            directory: inode(directory),
            name: name(text),
            arrived: false,
        }
    }

    #[test]
    fn only_what_nobody_announced_is_a_miss() {
        let found = [difference(1, 9, "a"), difference(2, 9, "b")];
        let whole = What::Whole {
            file: inode(1),
            birth: 0,
        };
        assert_eq!(missed(&found, &[whole]), ["b"]);
        assert_eq!(missed(&found, &[hint_of(9, "b")]), ["a"]);
        assert_eq!(missed(&found, &[hint_of(8, "b")]), ["a", "b"]);
    }

    #[test]
    fn a_hint_of_all_names_announces_each() {
        let found = [difference(1, 9, "d/a"), difference(2, 8, "b")];
        let names = What::Names {
            directory: inode(9),
        };
        assert_eq!(missed(&found, &[names]), ["b"]);
    }

    #[test]
    fn a_rename_announces_both_names() {
        let found = [
            difference(1, 9, "a"),
            difference(1, 8, "d/b"),
            difference(3, 9, "c"),
        ];
        let rename = What::Rename {
            old_directory: inode(9),
            old_name: name("a"),
            new_directory: inode(8),
            new_name: name("b"),
        };
        assert_eq!(missed(&found, &[rename]), ["c"]);
    }

    #[test]
    fn what_is_in_a_tree_comes_with_its_name() {
        let found = [
            difference(1, 9, "tree"),
            difference(2, 1, "tree/a"),
            difference(3, 9, "treetop"),
        ];
        assert_eq!(missed(&found, &[hint_of(9, "tree")]), ["treetop"]);
        let other_root = Difference {
            root: FileId(2),
            ..difference(2, 7, "tree/a")
        };
        let found = [difference(1, 9, "tree"), other_root];
        assert_eq!(missed(&found, &[hint_of(9, "tree")]), ["tree/a"]);
    }

    #[test]
    fn another_name_of_a_file_announces_it() {
        let mut scan = Scan::new(ScanReason::Check, Instant::now());
        scan.difference(difference(1, 9, "first name"));
        scan.hinted_name_of(inode(1));
        assert_eq!(scan.report().misses, 0);
    }

    #[test]
    fn nothing_is_a_miss_after_a_gap() {
        let mut after_a_gap = Scan::new(ScanReason::Gap, Instant::now());
        after_a_gap.difference(difference(1, 9, "a"));
        assert_eq!(after_a_gap.report().misses, 0);
    }
}

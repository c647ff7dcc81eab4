//! What was recorded.

use std::collections::{BTreeMap, BTreeSet};

use everwrite_protocol::local::Inode;

/// A file, and what tells a reused inode apart.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct FileKey {
    /// Device and inode.
    pub inode: Inode,
    /// Time of birth in nanoseconds, truncated.
    pub birth: u64,
}

/// Everything that was told.
#[derive(Default, Debug)]
pub struct Record {
    files: BTreeMap<FileKey, Covered>,
    hulls: BTreeMap<Inode, Covered>,
    names: BTreeMap<Inode, BTreeSet<Vec<u8>>>,
    /// Names that came to stand for something from elsewhere: all of that is to be looked at.
    pub(super) arrivals: BTreeSet<(Inode, Vec<u8>)>,
    /// Times that everything was said to be dirty.
    pub everything: usize,
    /// Programs that knocked and did not wait for the answer: what they did must be looked for
    /// everywhere.
    pub in_vain: usize,
    /// Range slots read.
    pub slots: usize,
    /// Message slots read.
    pub messages: usize,
    /// Messages of calls that failed.
    pub failed: usize,
    /// Messages of two names.
    pub renames: usize,
    /// Slots that dead processes left as INTENT.
    pub unfinished: usize,
    /// Chains that dead processes left unproved.
    pub unproved: usize,
    /// Calls that the shims had to widen.
    pub widened: u64,
    /// Some process could not hook its stdio.
    pub stdio_unseen: bool,
    /// Some process set up an `io_uring`.
    pub ring_unseen: bool,
    /// Processes that segments were made for.
    pub processes: Vec<u32>,
}

/// What was told of one file.
#[derive(Clone, Default, Debug)]
pub struct Covered {
    /// Ranges, `start -> end`, neither overlapping nor touching.
    ranges: BTreeMap<u64, u64>,
    /// Content, no telling where.
    pub whole: bool,
    /// Times of each of the other operations.
    pub appended: usize,
    /// `TRUNCATE`.
    pub truncated: usize,
    /// `ATTRIBUTES`.
    pub attributes: usize,
    /// `MAP`.
    pub mapped: usize,
    /// `UNMAP`.
    pub unmapped: usize,
    /// `SYNC`.
    pub synced: usize,
}

impl Covered {
    /// Adds a range.
    pub fn cover(&mut self, start: u64, length: u64) {
        let mut end = start.saturating_add(length);
        let mut begin = start;
        if begin == end {
            return;
        }
        while let Some((at, until)) = self.ranges.range(..=end).next_back().map(|(a, u)| (*a, *u))
            && until >= begin
        {
            begin = begin.min(at);
            end = end.max(until);
            self.ranges.remove(&at);
        }
        self.ranges.insert(begin, end);
    }

    /// Whether a byte lies in a range.
    pub fn covers(&self, at: u64) -> bool {
        self.ranges
            .range(..=at)
            .next_back()
            .is_some_and(|(_, end)| *end > at)
    }

    /// Bytes in ranges.
    pub fn bytes(&self) -> u64 {
        self.ranges.iter().map(|(start, end)| end - start).sum()
    }

    /// The ranges.
    pub fn ranges(&self) -> Vec<(u64, u64)> {
        self.ranges
            .iter()
            .map(|(start, end)| (*start, *end))
            .collect()
    }

    fn add(&mut self, other: &Self) {
        other
            .ranges
            .iter()
            .for_each(|(start, end)| self.cover(*start, end - start));
        self.whole |= other.whole;
        self.appended += other.appended;
        self.truncated += other.truncated;
        self.attributes += other.attributes;
        self.mapped += other.mapped;
        self.unmapped += other.unmapped;
        self.synced += other.synced;
    }
}

impl Record {
    pub(super) fn file(&mut self, file: FileKey) -> &mut Covered {
        self.files.entry(file).or_default()
    }

    pub(super) fn hull(&mut self, inode: Inode) -> &mut Covered {
        self.hulls.entry(inode).or_default()
    }

    pub(super) fn name(&mut self, directory: Inode, name: &[u8]) {
        self.names
            .entry(directory)
            .or_default()
            .insert(name.to_vec());
    }

    /// Everything told of a file. Hulls have no time of birth.
    pub fn of(&self, file: FileKey) -> Covered {
        let mut covered = Covered::default();
        let nameless = FileKey { birth: 0, ..file };
        let told = [
            self.files.get(&file),
            self.files.get(&nameless),
            self.hulls.get(&file.inode),
        ];
        told.into_iter()
            .flatten()
            .for_each(|part| covered.add(part));
        covered
    }

    /// Whether everything has to be looked at.
    pub fn tells_all(&self) -> bool {
        self.everything > 0 || self.in_vain > 0
    }

    /// Whether a name of a directory was told of, or all of them.
    pub fn tells_name(&self, directory: Inode, name: &[u8]) -> bool {
        self.tells_all()
            || self
                .names
                .get(&directory)
                .is_some_and(|names| names.contains(name) || names.contains(&b""[..]))
    }

    /// Every name that was told of.
    pub fn names(&self) -> BTreeSet<String> {
        let names = self.names.values().flatten();
        names
            .map(|name| String::from_utf8_lossy(name).into_owned())
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_that_touch_become_one() {
        let mut covered = Covered::default();
        for (start, length) in [(10, 5), (30, 5), (15, 5), (0, 0), (18, 13), (40, 1)] {
            covered.cover(start, length);
        }
        assert_eq!(covered.ranges(), [(10, 35), (40, 41)]);
        assert!(covered.covers(10) && covered.covers(34) && !covered.covers(35));
        assert_eq!(covered.bytes(), 26);
    }
}

//! Which threads of a program have written since one of them asked for durability, as far as the slots of its
//! segment say. Pure.
//!
//! A thread's slots are read in the order of its calls. Between threads only the visits of the reader tell what
//! came first: what was told two visits before the one that first saw the call for durability was written before
//! that call (one before, the slot of the call may have been passed already when it was filled). Where neither
//! tells, the write counts as the later one.

use std::collections::HashMap;

use everwrite_protocol::local::Inode;

/// Threads kept apart. Beyond, they count as one.
const THREADS_MAX: usize = 256;
/// Whoever can't be told apart.
const ANYBODY: u32 = 0;

/// The memory of one segment.
#[derive(Debug, Default)]
pub(super) struct Unsynced {
    /// Number of the visit.
    visit: u64,
    /// In which visit each thread's last write was told.
    wrote: HashMap<u32, u64>,
    /// What a thread asked durability for, in this visit.
    synced: Option<Inode>,
}

impl Unsynced {
    /// A visit begins; its number.
    pub(super) fn visit(&mut self) -> u64 {
        self.visit += 1;
        self.synced = None;
        self.visit
    }

    /// A write was told.
    pub(super) fn wrote(&mut self, thread: u32) {
        let room = self.wrote.len() < THREADS_MAX || self.wrote.contains_key(&thread);
        let thread = if room { thread } else { ANYBODY };
        self.wrote.insert(thread, self.visit);
    }

    /// A write was told, and not by whom.
    pub(super) fn wrote_anybody(&mut self) {
        self.wrote(ANYBODY);
    }

    /// A call for durability of `file` has returned, which was first seen in visit `begun`.
    pub(super) fn synced(&mut self, thread: u32, begun: u64, file: Inode) {
        self.synced = Some(file);
        self.wrote.retain(|writer, visit| {
            *visit + 1 >= begun && (*writer != thread || thread == ANYBODY)
        });
    }

    /// The file of a call for durability that returned in this visit, if nothing is known to have been written
    /// after such calls.
    pub(super) fn is_synced(&self) -> Option<Inode> {
        self.synced.filter(|_| self.wrote.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: Inode = Inode {
        device: 1,
        inode: 2,
    };

    #[test]
    fn a_thread_tells_its_own_order() {
        let mut unsynced = Unsynced::default();
        let visit = unsynced.visit();
        unsynced.wrote(7);
        assert_eq!(unsynced.is_synced(), None);
        unsynced.synced(7, visit, FILE);
        assert_eq!(unsynced.is_synced(), Some(FILE));
        unsynced.wrote(7);
        assert_eq!(unsynced.is_synced(), None);
        unsynced.visit();
        assert_eq!(unsynced.is_synced(), None, "nobody synced in this one");
    }

    #[test]
    fn other_threads_wrote_before_only_if_that_was_told_before() {
        let mut unsynced = Unsynced::default();
        unsynced.visit();
        unsynced.wrote(8);
        unsynced.visit();
        unsynced.wrote(9);
        let began = unsynced.visit();
        unsynced.synced(7, began, FILE);
        assert_eq!(unsynced.is_synced(), None, "9 may have written after");
        assert!(!unsynced.wrote.contains_key(&8));
        let next = unsynced.visit();
        unsynced.synced(7, next, FILE);
        assert_eq!(unsynced.is_synced(), Some(FILE));
    }

    #[test]
    fn who_is_not_known_may_have_written_last() {
        let mut unsynced = Unsynced::default();
        let visit = unsynced.visit();
        unsynced.wrote_anybody();
        unsynced.synced(ANYBODY, visit, FILE);
        assert_eq!(unsynced.is_synced(), None);
        for thread in 1..1000 {
            unsynced.wrote(thread);
        }
        assert!(unsynced.wrote.len() <= THREADS_MAX + 1);
        unsynced.visit();
        let next = unsynced.visit();
        unsynced.synced(1, next, FILE);
        assert_eq!(unsynced.is_synced(), Some(FILE));
    }
}

//! What the kernel told before it happened: it is looked at again a little later. Pure.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use everwrite_protocol::local::Inode;

use crate::intake::{OriginId, What};

/// When it is looked at again, after it was told. Most is over after the first; punching a hole into a
/// large file may take longer.
const AGAIN: [Duration; 2] = [Duration::from_millis(20), Duration::from_millis(500)];
/// How much is kept for each.
const PENDING_MAX: usize = 4096;

/// What waits to be looked at again.
#[derive(Debug, Default)]
pub(super) struct Pending {
    waiting: [VecDeque<(Instant, OriginId, What)>; AGAIN.len()],
}

impl Pending {
    /// Adds what was told at `now`. False: there is no room.
    pub(super) fn add(&mut self, now: Instant, origin: OriginId, what: &What) -> bool {
        for (queue, after) in self.waiting.iter_mut().zip(AGAIN) {
            if queue.len() >= PENDING_MAX {
                return false;
            }
            queue.push_back((now + after, origin, what.clone()));
        }
        true
    }

    /// What is due at `now`. `all`: whatever was told has happened by now.
    pub(super) fn take(&mut self, now: Instant, all: bool) -> Vec<(OriginId, What)> {
        let mut due = Vec::new();
        for queue in &mut self.waiting {
            while queue.front().is_some_and(|entry| all || entry.0 <= now) {
                let Some((_, origin, what)) = queue.pop_front() else {
                    break;
                };
                due.push((origin, what));
            }
        }
        due
    }

    /// What waits of this file, and goes on waiting.
    pub(super) fn of(&self, file: Inode) -> Vec<(OriginId, What)> {
        // Whatever waits at all waits in the last.
        let waiting = self.waiting.iter().next_back().into_iter().flatten();
        let of_it = waiting.filter(|(_, _, what)| file_of(what) == Some(file));
        of_it
            .map(|(_, origin, what)| (*origin, what.clone()))
            .collect()
    }

    /// When the next is due.
    pub(super) fn next(&self) -> Option<Instant> {
        let first = |queue: &VecDeque<(Instant, OriginId, What)>| Some(queue.front()?.0);
        self.waiting.iter().filter_map(first).min()
    }
}

/// The file that a hint is about, if it is about one.
fn file_of(what: &What) -> Option<Inode> {
    match what {
        What::Write { file, .. }
        | What::Append { file, .. }
        | What::Whole { file, .. }
        | What::Attributes { file, .. }
        | What::Mapped { file, .. }
        | What::Unmapped { file, .. }
        | What::Flush { file }
        | What::Sync { file } => Some(*file),
        What::Name { .. } | What::Rename { .. } | What::Names { .. } | What::Everything => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn what(inode: u64) -> What {
        What::Attributes {
            file: Inode { device: 1, inode },
            birth: 0,
        }
    }

    #[test]
    fn it_is_looked_at_again_twice() {
        let start = Instant::now();
        let mut pending = Pending::default();
        assert!(pending.add(start, OriginId(7), &what(1)));
        assert_eq!(pending.next(), Some(start + AGAIN[0]));
        assert_eq!(pending.take(start, false), []);
        let due = [(OriginId(7), what(1))];
        assert_eq!(pending.take(start + AGAIN[0], false), due);
        assert_eq!(pending.take(start + AGAIN[0], false), []);
        assert_eq!(pending.take(start + AGAIN[1], false), due);
        assert_eq!(pending.next(), None);
    }

    #[test]
    fn who_waits_gets_all_at_once() {
        let start = Instant::now();
        let mut pending = Pending::default();
        pending.add(start, OriginId(7), &what(1));
        assert_eq!(pending.take(start, true).len(), AGAIN.len());
        assert_eq!(pending.next(), None);
    }

    #[test]
    fn what_waits_of_a_file_can_be_had_before_its_time() {
        let start = Instant::now();
        let mut pending = Pending::default();
        pending.add(start, OriginId(7), &what(1));
        pending.add(start, OriginId(7), &what(2));
        let file = Inode {
            device: 1,
            inode: 2,
        };
        let waiting = [(OriginId(7), what(2))];
        assert_eq!(pending.of(file), waiting);
        assert_eq!(pending.take(start + AGAIN[0], false).len(), 2);
        assert_eq!(pending.of(file), waiting, "it may take a while");
        pending.take(start + AGAIN[1], false);
        assert_eq!(pending.of(file), []);
    }

    #[test]
    fn it_is_bounded() {
        let start = Instant::now();
        let mut pending = Pending::default();
        let added = (0..10_000).filter(|n| pending.add(start, OriginId(7), &what(*n)));
        assert_eq!(added.count(), PENDING_MAX);
    }
}

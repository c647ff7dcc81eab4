//! Where system calls tell which bytes are written, fanotify still tells which files are: the net below. A file that
//! nobody has told more of is compared whole. Pure.
//!
//! fanotify speaks within a call, the other at its end, and is heard a little later. So what is not explained yet waits
//! a moment; so does that a file was closed, or its attributes changed: whoever looked now would see by its times that
//! it was written to, and not where.

use std::collections::{HashMap, HashSet, VecDeque};
use std::time::{Duration, Instant};

use everwrite_protocol::local::Inode;

use crate::intake::OriginId;

/// How long what a process told of a file explains that fanotify tells of the two. fanotify keeps one word for many
/// writes, and says it when it is asked.
const EXPLAINS: Duration = Duration::from_secs(2);
/// How long the end of a call may be in coming. A later one makes a file be compared whole, no more.
const WAITS: Duration = Duration::from_millis(50);
/// How long what was written may be in being told.
const TELLING: Duration = Duration::from_millis(10);
/// Pairs of file and process remembered, and words that wait; with more, all are taken as not explained.
const MAX: usize = 1 << 14;

/// A file, and the process that writes to it.
type Pair = (Inode, u32);

/// What is to be looked at.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Look {
    /// All of it: nobody tells which bytes were written.
    Whole,
    /// Size, times and attributes.
    Attributes,
    /// Nothing: all that was written to it has been looked at, or told, and somebody waits for it to be durable.
    Synced,
}

/// What has been told of late.
#[derive(Debug, Default)]
pub(super) struct Explained {
    told: HashMap<Pair, Instant>,
    pruned: Option<Instant>,
    /// Processes that change files in ways that are not told.
    untold: HashSet<u32>,
    written: VecDeque<(Instant, Pair, OriginId)>,
    closed: VecDeque<(Instant, Inode, OriginId)>,
    synced: VecDeque<(Instant, Inode, OriginId)>,
}

impl Explained {
    /// A process told which bytes of a file it wrote, by the end of the call that wrote them.
    pub(super) fn told(&mut self, now: Instant, file: Inode, process: u32) {
        if self.untold.contains(&process) {
            return;
        }
        if self.told.len() >= MAX && self.pruned.is_none_or(|at| !is_fresh(now, at)) {
            self.told.retain(|_, at| is_fresh(now, *at));
            self.pruned = Some(now);
        }
        if self.told.len() < MAX || self.told.contains_key(&(file, process)) {
            self.told.insert((file, process), now);
        }
    }

    /// From now on what this process tells explains nothing. The files that it seemed to explain.
    pub(super) fn untold(&mut self, process: u32) -> Vec<Inode> {
        if self.untold.len() >= MAX {
            self.untold.retain(|known| is_running(*known));
        }
        self.untold.insert(process);
        let of_it = self.told.keys().filter(|(_, who)| *who == process);
        let files = of_it.map(|(file, _)| *file).collect();
        self.told.retain(|(_, who), _| *who != process);
        files
    }

    /// fanotify says that a process (0: nobody knows which) wrote to a file. True: nothing explains that, nor will.
    pub(super) fn modified(
        &mut self,
        now: Instant,
        file: Inode,
        process: u32,
        origin: OriginId,
    ) -> bool {
        let pair = (file, process);
        if process == 0 || self.untold.contains(&process) {
            return true;
        }
        if self.is_told(now, pair) {
            return false;
        }
        if self.written.len() >= MAX {
            return true;
        }
        self.written.push_back((now + WAITS, pair, origin));
        false
    }

    /// fanotify says that a file was closed, or its attributes changed. False: look at once, there is no room.
    pub(super) fn closed(&mut self, now: Instant, file: Inode, origin: OriginId) -> bool {
        let is_known = self.closed.back().is_some_and(|last| last.1 == file);
        if !is_known && self.closed.len() < MAX {
            self.closed.push_back((now + TELLING, file, origin));
        }
        is_known || self.closed.len() < MAX
    }

    /// Somebody waits for a file to be durable. That is told behind whatever fanotify says, or has just said, of
    /// what was written before. Without room it is not told, and nothing is lost: it only marks a place.
    pub(super) fn synced(&mut self, now: Instant, file: Inode, origin: OriginId) {
        if self.synced.len() < MAX {
            self.synced.push_back((now + WAITS, file, origin));
        }
    }

    /// The end of a call tells that a program wrote: whatever waits of its asking for durability came before, and
    /// can't be told behind that.
    pub(super) fn wrote(&mut self, origin: OriginId) {
        self.synced.retain(|(_, _, who)| *who != origin);
    }

    /// What has waited long enough and is to be looked at. `all`: however short.
    pub(super) fn due(&mut self, now: Instant, all: bool) -> Vec<(OriginId, Inode, Look)> {
        let mut due = Vec::new();
        while let Some((_, pair, origin)) = take_if(&mut self.written, |next| all || next.0 <= now)
        {
            if !self.is_told(now, pair) {
                due.push((origin, pair.0, Look::Whole));
            }
        }
        while let Some((_, file, origin)) = take_if(&mut self.closed, |next| all || next.0 <= now) {
            due.push((origin, file, Look::Attributes));
        }
        while let Some((_, file, origin)) = take_if(&mut self.synced, |next| all || next.0 <= now) {
            due.push((origin, file, Look::Synced));
        }
        due
    }

    /// When the next is due.
    pub(super) fn next(&self) -> Option<Instant> {
        let written = self.written.front().map(|next| next.0);
        let closed = self.closed.front().map(|next| next.0);
        let synced = self.synced.front().map(|next| next.0);
        [written, closed, synced].into_iter().flatten().min()
    }

    /// Is there anything that the end of a call may still explain?
    pub(super) fn is_waiting(&self) -> bool {
        !self.written.is_empty()
    }

    fn is_told(&self, now: Instant, pair: Pair) -> bool {
        self.told.get(&pair).is_some_and(|at| is_fresh(now, *at))
    }
}

/// The first, if it is such a one.
fn take_if<T>(queue: &mut VecDeque<T>, is_due: impl FnOnce(&T) -> bool) -> Option<T> {
    queue
        .front()
        .is_some_and(is_due)
        .then(|| queue.pop_front())?
}

fn is_fresh(now: Instant, at: Instant) -> bool {
    now.saturating_duration_since(at) < EXPLAINS
}

fn is_running(process: u32) -> bool {
    std::fs::exists(format!("/proc/{process}")).unwrap_or(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: Inode = Inode {
        device: 1,
        inode: 2,
    };
    const OTHER: Inode = Inode {
        device: 1,
        inode: 3,
    };
    const NOBODY: OriginId = OriginId::SCAN;

    #[test]
    fn what_was_told_by_bytes_is_explained_for_a_while() {
        let (start, mut explained) = (Instant::now(), Explained::default());
        explained.told(start, FILE, 7);
        let later = start + EXPLAINS;
        for (at, file, process, whole, what) in [
            (start, FILE, 7, None, "told"),
            (start, FILE, 8, Some(false), "another process"),
            (start, OTHER, 7, Some(false), "another file"),
            (start, FILE, 0, Some(true), "nobody knows who"),
            (later, FILE, 7, Some(false), "long ago"),
        ] {
            let at_once = explained.modified(at, file, process, NOBODY);
            assert_eq!(at_once, whole == Some(true), "{what}");
            let due = explained.due(at + WAITS, false);
            let expected = whole.filter(|at_once| !at_once);
            assert_eq!(due.len(), expected.iter().count(), "{what}");
        }
    }

    #[test]
    fn what_is_told_a_moment_later_is_explained_and_the_rest_is_not() {
        let (start, mut explained) = (Instant::now(), Explained::default());
        explained.modified(start, FILE, 7, NOBODY);
        explained.modified(start, OTHER, 7, NOBODY);
        assert_eq!(explained.due(start, false), []);
        assert_eq!(explained.next(), Some(start + WAITS));
        explained.told(start, FILE, 7);
        let whole = [(NOBODY, OTHER, Look::Whole)];
        assert_eq!(explained.due(start + WAITS, false), whole);
        assert_eq!(explained.next(), None);
        explained.modified(start, OTHER, 7, NOBODY);
        assert!(explained.is_waiting());
        assert_eq!(explained.due(start, true), whole);
    }

    #[test]
    fn what_was_closed_is_looked_at_once_and_a_little_later() {
        let (start, mut explained) = (Instant::now(), Explained::default());
        assert!(explained.closed(start, FILE, NOBODY));
        assert!(explained.closed(start, FILE, NOBODY));
        assert!(!explained.is_waiting());
        assert_eq!(explained.due(start, false), []);
        assert_eq!(explained.next(), Some(start + TELLING));
        let look = [(NOBODY, FILE, Look::Attributes)];
        assert_eq!(explained.due(start + TELLING, false), look);
    }

    #[test]
    fn durability_comes_behind_what_it_covers_and_explains_nothing() {
        let (start, mut explained) = (Instant::now(), Explained::default());
        explained.synced(start, FILE, NOBODY);
        // Drained after it, and told before it.
        assert!(!explained.modified(start, FILE, 7, NOBODY));
        assert_eq!(explained.next(), Some(start + WAITS));
        assert_eq!(explained.due(start, false), []);
        let due = [(NOBODY, FILE, Look::Whole), (NOBODY, FILE, Look::Synced)];
        assert_eq!(explained.due(start + WAITS, false), due);
        explained.synced(start, FILE, NOBODY);
        let at_once = [(NOBODY, FILE, Look::Synced)];
        assert_eq!(explained.due(start, true), at_once);
        explained.synced(start, FILE, NOBODY);
        explained.wrote(OriginId(7));
        assert!(explained.next().is_some(), "somebody else");
        explained.wrote(NOBODY);
        assert_eq!(explained.next(), None);
    }

    #[test]
    fn who_is_not_understood_explains_nothing() {
        let (start, mut explained) = (Instant::now(), Explained::default());
        explained.told(start, FILE, 7);
        explained.told(start, OTHER, 8);
        explained.modified(start, OTHER, 7, NOBODY);
        assert_eq!(explained.untold(7), [FILE], "what it wrote may be more");
        explained.told(start, FILE, 7);
        explained.told(start, OTHER, 7);
        assert!(explained.modified(start, FILE, 7, NOBODY));
        assert!(!explained.modified(start, OTHER, 8, NOBODY));
        assert_eq!(explained.due(start, true), [(NOBODY, OTHER, Look::Whole)]);
    }

    #[test]
    fn it_is_bounded() {
        let (start, mut explained) = (Instant::now(), Explained::default());
        let file = |inode| Inode { device: 1, inode };
        for inode in 0..100_000 {
            explained.told(start, file(inode), 7);
            explained.modified(start, file(inode), 8, NOBODY);
            explained.closed(start, file(inode), NOBODY);
            explained.synced(start, file(inode), NOBODY);
        }
        assert_eq!(explained.told.len(), MAX);
        assert_eq!(
            (explained.written.len(), explained.closed.len()),
            (MAX, MAX)
        );
        assert_eq!(explained.synced.len(), MAX);
        assert!(explained.modified(start, file(99_999), 7, NOBODY));
        assert!(!explained.closed(start, FILE, NOBODY));
    }
}

//! Programs that wait until the receiver has stored what they made durable here.

use std::collections::VecDeque;
use std::sync::atomic::Ordering::Release;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use everwrite_protocol::local::Inode;
use everwrite_protocol::local::segment::Segment;
use rustix::thread::futex;

use super::memory::Shared;

/// What an `fsync` waits for, where a root asks for that.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DurableFsync {
    /// How long.
    pub longest: Duration,
    /// Afterwards it fails with `EIO`; otherwise it succeeds, and is counted.
    pub fails: bool,
}

/// Calls for durability of one process that wait for an answer. All that they cover was announced in
/// hints that were sent before.
#[derive(Debug)]
pub struct DurableAsk {
    grants: Arc<Grants>,
    number: u32,
    /// The files that they are about; empty: not known.
    pub files: Vec<Inode>,
}

impl DurableAsk {
    /// The receiver has stored it: the programs go on, as soon as those that asked before may.
    pub fn grant(self) {
        self.grants.answer(self.number, End::Granted);
    }
}

/// One that is not answered in time is answered never: once its programs do not wait any more, those that
/// asked later do not wait for it either.
impl Drop for DurableAsk {
    fn drop(&mut self) {
        self.grants.answer(self.number, End::GivenUp);
    }
}

/// What one process has asked, in order. A number stands for all before it, so none is granted before them,
/// though one may be about a root that waits for no receiver.
#[derive(Debug)]
pub(super) struct Grants {
    segment: Arc<Shared<Segment>>,
    asked: Mutex<VecDeque<Asked>>,
}

/// Calls up to a number.
#[derive(Debug)]
struct Asked {
    number: u32,
    end: End,
    /// By then their programs have stopped waiting. Before, a later number would tell them that what they wait
    /// for is stored.
    until: Instant,
}

/// How it ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum End {
    NotYet,
    Granted,
    GivenUp,
}

impl Grants {
    pub(super) fn new(segment: Arc<Shared<Segment>>) -> Self {
        Self {
            segment,
            asked: Mutex::default(),
        }
    }

    /// Calls up to this number wait, for no longer than that from now on.
    pub(super) fn ask(
        self: &Arc<Self>,
        number: u32,
        files: Vec<Inode>,
        longest: Duration,
    ) -> DurableAsk {
        self.asked().push_back(Asked {
            number,
            end: End::NotYet,
            until: Instant::now() + longest,
        });
        DurableAsk {
            grants: Arc::clone(self),
            number,
            files,
        }
    }

    /// One has ended: whoever need not wait any longer goes on.
    fn answer(&self, number: u32, end: End) {
        let mut asked = self.asked();
        if let Some(number) = settle(&mut asked, number, end, Instant::now()) {
            let granted = &self.segment.header.durable_granted;
            granted.store(number, Release);
            // Can't fail: the word is mapped. And if it did, everybody has a time limit.
            let _ = futex::wake(granted, futex::Flags::empty(), u32::MAX >> 1);
        }
    }

    fn asked(&self) -> MutexGuard<'_, VecDeque<Asked>> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Asked {
    fn is_over(&self, now: Instant) -> bool {
        match self.end {
            End::NotYet => false,
            End::Granted => true,
            End::GivenUp => self.until <= now,
        }
    }
}

/// Notes how one has ended, once; gives the number up to which all are granted, if that has grown.
fn settle(asked: &mut VecDeque<Asked>, number: u32, end: End, now: Instant) -> Option<u32> {
    let open = |ask: &&mut Asked| ask.number == number && ask.end == End::NotYet;
    asked.iter_mut().find(open)?.end = end;
    let mut last = None;
    while asked.front().is_some_and(|ask| ask.is_over(now)) {
        let first = asked.pop_front();
        let granted = first.filter(|ask| ask.end == End::Granted);
        last = granted.map(|ask| ask.number).or(last);
    }
    last
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering::Relaxed;

    use super::super::memory::sealed;
    use super::*;

    const LONG: Duration = Duration::from_secs(3600);

    fn grants() -> Arc<Grants> {
        let (_, segment) = sealed("test").unwrap();
        Arc::new(Grants::new(Arc::new(segment)))
    }

    fn granted(grants: &Grants) -> u32 {
        grants.segment.header.durable_granted.load(Relaxed)
    }

    #[test]
    fn none_is_granted_before_those_that_asked_earlier() {
        let grants = grants();
        let asks: Vec<_> = [1, 2, 5]
            .map(|number| grants.ask(number, Vec::new(), LONG))
            .into();
        let [first, second, third] = asks.try_into().unwrap();
        second.grant();
        assert_eq!(granted(&grants), 0, "the first is not stored");
        first.grant();
        assert_eq!(granted(&grants), 2);
        third.grant();
        assert_eq!(granted(&grants), 5);
    }

    #[test]
    fn who_gave_up_holds_up_nobody() {
        let grants = grants();
        let ask = |number| grants.ask(number, Vec::new(), Duration::ZERO);
        let (first, second) = (ask(1), ask(2));
        drop(first);
        assert_eq!(granted(&grants), 0);
        second.grant();
        assert_eq!(granted(&grants), 2);
        let (third, fourth) = (ask(3), ask(4));
        fourth.grant();
        assert_eq!(granted(&grants), 2);
        drop(third);
        assert_eq!(granted(&grants), 4);
    }

    /// Its receiver was taken away, and its program still waits: it must not take a later number for its own.
    #[test]
    fn whose_program_still_waits_is_not_passed() {
        let grants = grants();
        let first = grants.ask(1, Vec::new(), LONG);
        let second = grants.ask(2, Vec::new(), LONG);
        drop(first);
        second.grant();
        assert_eq!(granted(&grants), 0);
    }
}

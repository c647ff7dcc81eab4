//! Which batches are kept, which are under way, which may go next. No clock, no socket.
//!
//! A batch is kept from [`Window::push`] until the receiver has stored it. Within one connection
//! batches go out in order and without gaps, starting after what the receiver said it has stored;
//! a new connection starts over from there. The receiver's window bounds the bytes that are under
//! way unstored; one batch may always be, whatever its size.

use std::collections::VecDeque;
use std::sync::Arc;

use everwrite_protocol::ids::SequenceNumber;

use super::Batch;

/// What the connection is to do.
#[derive(Debug)]
pub(super) enum Next {
    /// Send this.
    Send(Arc<Batch>),
    /// End: what this connection has sent is no longer meant.
    StartOver,
    /// Nothing, until something changes.
    Wait,
}

/// What an acknowledgement is worth.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Told {
    /// More is stored than was known.
    News,
    /// That was known.
    Old,
    /// It is about what was never sent.
    Nonsense,
}

/// Batches between the coordinator and the receiver's disk.
#[derive(Debug, Default)]
pub(super) struct Window {
    /// Not stored yet, ascending.
    kept: VecDeque<Arc<Batch>>,
    /// How many of `kept` this connection has taken.
    sent: usize,
    /// Bytes of those.
    sent_bytes: u64,
    /// What the receiver grants.
    limit_bytes: u64,
    /// Last batch known to be stored.
    stored: SequenceNumber,
    /// Last batch that this connection has taken, or that its receiver had before.
    taken: SequenceNumber,
    /// Is there a connection that knows where to start?
    open: bool,
    /// A batch was refused: nothing more goes out.
    halted: bool,
}

impl Window {
    /// Takes a batch in. Out of order is a bug of the caller; such a batch would never be sent.
    pub(super) fn push(&mut self, batch: Batch) {
        debug_assert!(
            self.kept
                .back()
                .is_none_or(|last| last.cut.sequence.next() == batch.cut.sequence),
            "batches are numbered without gaps"
        );
        self.kept.push_back(Arc::new(batch));
    }

    /// A connection begins: everything after `stored` goes out again.
    pub(super) fn connected(&mut self, stored: SequenceNumber, limit_bytes: u64) {
        self.sent = 0;
        self.sent_bytes = 0;
        self.limit_bytes = limit_bytes;
        self.stored = stored;
        self.taken = stored;
        self.open = true;
        self.drop_stored();
    }

    /// The connection is gone.
    pub(super) fn disconnected(&mut self) {
        self.open = false;
    }

    /// The receiver says that it has stored all up to `stored`.
    pub(super) fn stored(&mut self, stored: SequenceNumber) -> Told {
        if stored > self.taken {
            return Told::Nonsense;
        }
        if stored <= self.stored {
            return Told::Old;
        }
        self.stored = stored;
        self.drop_stored();
        Told::News
    }

    /// May the receiver have this batch in its mirror?
    pub(super) fn may_be_applied(&self, applied: SequenceNumber) -> bool {
        applied <= self.stored
    }

    /// What to do now.
    pub(super) fn next(&mut self) -> Next {
        if !self.open {
            return Next::StartOver;
        }
        match self.may_go() {
            Some(batch) => {
                self.sent += 1;
                self.taken = batch.cut.sequence;
                self.sent_bytes += batch.bytes();
                Next::Send(batch)
            }
            None => Next::Wait,
        }
    }

    fn may_go(&self) -> Option<Arc<Batch>> {
        let batch = self.kept.get(self.sent)?;
        let expected = SequenceNumber(self.stored.0 + self.sent as u64 + 1);
        let fits = self.sent == 0 || self.sent_bytes + batch.bytes() <= self.limit_bytes;
        let goes = !self.halted && batch.cut.sequence == expected && fits;
        goes.then(|| Arc::clone(batch))
    }

    /// A batch was refused; sending it again would end the same way.
    pub(super) fn halt(&mut self) {
        self.halted = true;
    }

    /// Forgets all that is kept. True when some of it is under way: only the receiver knows what
    /// will become of it, so nothing goes out before a new connection has told.
    pub(super) fn forget(&mut self) -> bool {
        let under_way = self.sent > 0;
        self.open &= !under_way;
        self.kept.clear();
        self.sent = 0;
        self.sent_bytes = 0;
        self.halted = false;
        under_way
    }

    fn drop_stored(&mut self) {
        while self
            .kept
            .front()
            .is_some_and(|batch| batch.cut.sequence <= self.stored)
        {
            let Some(batch) = self.kept.pop_front() else {
                break;
            };
            if self.sent > 0 {
                self.sent -= 1;
                self.sent_bytes -= batch.bytes();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use everwrite_protocol::ids::Timestamp;
    use everwrite_protocol::wire::{Cut, CutKind, Part};

    use super::*;

    fn batch(sequence: u64, bytes: usize) -> Batch {
        let sequence = SequenceNumber(sequence);
        let part = Part {
            sequence,
            part: 0,
            origins: Vec::new(),
            commands: Vec::new(),
        };
        let cut = Cut {
            sequence,
            parts: 1,
            time: Timestamp(0),
            kind: CutKind::Fuzzy,
            checkpoint: None,
            oldest_change: Timestamp(0),
        };
        Batch {
            parts: vec![(part, vec![0; bytes])],
            cut,
        }
    }

    fn window(batches: &[(u64, usize)]) -> Window {
        let mut window = Window::default();
        batches
            .iter()
            .for_each(|&(sequence, bytes)| window.push(batch(sequence, bytes)));
        window
    }

    fn sendable(window: &mut Window) -> Vec<u64> {
        let next = || match window.next() {
            Next::Send(batch) => Some(batch.cut.sequence.0),
            Next::Wait | Next::StartOver => None,
        };
        std::iter::from_fn(next).collect()
    }

    #[test]
    fn all_that_fits_goes_out_in_order_once() {
        let mut window = window(&[(1, 10), (2, 10), (3, 10)]);
        window.connected(SequenceNumber(0), 1 << 20);
        assert_eq!(sendable(&mut window), [1, 2, 3]);
        assert_eq!(sendable(&mut window), [0u64; 0]);
    }

    #[test]
    fn nothing_goes_out_before_the_first_connection_says_where_to_start() {
        let mut window = window(&[(5, 10)]);
        assert_eq!(sendable(&mut window), [0u64; 0]);
        window.connected(SequenceNumber(4), 100);
        assert_eq!(sendable(&mut window), [5]);
    }

    #[test]
    fn the_limit_holds_back_and_stored_frees() {
        let mut window = window(&[(1, 4000), (2, 4000), (3, 4000)]);
        window.connected(SequenceNumber(0), 9000);
        assert_eq!(sendable(&mut window), [1, 2]);
        assert_eq!(window.stored(SequenceNumber(1)), Told::News);
        assert_eq!(sendable(&mut window), [3]);
    }

    #[test]
    fn one_batch_larger_than_the_window_goes_alone() {
        let mut window = window(&[(1, 50_000), (2, 1)]);
        window.connected(SequenceNumber(0), 1000);
        assert_eq!(sendable(&mut window), [1]);
        window.stored(SequenceNumber(1));
        assert_eq!(sendable(&mut window), [2]);
    }

    #[test]
    fn a_new_connection_sends_again_what_is_not_stored() {
        let mut window = window(&[(1, 1), (2, 1), (3, 1)]);
        window.connected(SequenceNumber(0), 1 << 20);
        assert_eq!(sendable(&mut window), [1, 2, 3]);
        window.connected(SequenceNumber(2), 1 << 20);
        assert_eq!(sendable(&mut window), [3]);
    }

    #[test]
    fn a_receiver_that_lost_batches_gets_nothing_out_of_order() {
        let mut window = window(&[(7, 1), (8, 1)]);
        window.connected(SequenceNumber(3), 1 << 20);
        assert_eq!(sendable(&mut window), [0u64; 0]);
        assert!(!window.forget());
        window.push(batch(4, 1));
        assert_eq!(sendable(&mut window), [4]);
    }

    #[test]
    fn a_refused_batch_halts_until_all_is_forgotten() {
        let mut window = window(&[(1, 1)]);
        window.connected(SequenceNumber(0), 100);
        window.halt();
        assert_eq!(sendable(&mut window), [0u64; 0]);
        window.forget();
        window.push(batch(1, 1));
        assert_eq!(sendable(&mut window), [1]);
    }

    #[test]
    fn forgetting_tells_whether_something_is_under_way() {
        let mut window = window(&[(1, 1)]);
        window.connected(SequenceNumber(0), 100);
        assert_eq!(sendable(&mut window), [1]);
        assert!(window.forget());
        window.push(batch(1, 2));
        assert!(matches!(window.next(), Next::StartOver));
        window.connected(SequenceNumber(0), 100);
        assert_eq!(sendable(&mut window), [1]);
    }

    #[test]
    fn stored_is_news_once() {
        let mut window = window(&[(1, 1)]);
        window.connected(SequenceNumber(0), 100);
        sendable(&mut window);
        assert_eq!(window.stored(SequenceNumber(1)), Told::News);
        assert_eq!(window.stored(SequenceNumber(1)), Told::Old);
    }

    #[test]
    fn what_was_not_sent_can_t_be_stored() {
        let mut window = window(&[(4, 4000), (5, 4000)]);
        window.connected(SequenceNumber(3), 5000);
        assert_eq!(sendable(&mut window), [4]);
        for beyond in [5, 6, u64::MAX] {
            assert_eq!(window.stored(SequenceNumber(beyond)), Told::Nonsense);
        }
        assert!(!window.may_be_applied(SequenceNumber(4)));
        assert_eq!(window.stored(SequenceNumber(4)), Told::News);
        assert!(window.may_be_applied(SequenceNumber(4)));
    }

    #[test]
    fn what_was_under_way_may_be_stored_after_it_was_forgotten() {
        let mut window = window(&[(1, 1), (2, 1)]);
        window.connected(SequenceNumber(0), 1000);
        assert_eq!(sendable(&mut window), [1, 2]);
        window.forget();
        assert_eq!(window.stored(SequenceNumber(2)), Told::News);
    }
}

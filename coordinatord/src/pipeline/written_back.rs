//! Which changes this machine's own disk holds for certain, by the time that has passed. Pure.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use everwrite_protocol::ids::SequenceNumber;

/// Linux writes back what has been dirty for 30 s (`vm.dirty_expire_centisecs`), looks every 5 s, and file
/// systems commit their metadata every 5 s; so much more for a slow disk.
const WRITTEN_BACK_AFTER: Duration = Duration::from_secs(120);

/// Batches whose changes may still be in memory only.
#[derive(Debug, Default)]
pub(super) struct WrittenBack {
    waiting: VecDeque<(SequenceNumber, Instant)>,
    newest: SequenceNumber,
}

impl WrittenBack {
    /// All up to `sequence` was read from files before `now`. Gives the newest batch of which all is on
    /// the disk, if that is news.
    pub(super) fn settled(
        &mut self,
        sequence: SequenceNumber,
        now: Instant,
    ) -> Option<SequenceNumber> {
        if sequence > self.newest {
            self.newest = sequence;
            self.waiting.push_back((sequence, now));
        }
        let mut written = None;
        while let Some((sequence, at)) = self.waiting.front()
            && now.duration_since(*at) >= WRITTEN_BACK_AFTER
        {
            written = Some(*sequence);
            self.waiting.pop_front();
        }
        written
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_brings_it() {
        let start = Instant::now();
        let after = |seconds| start + Duration::from_secs(seconds);
        let mut written = WrittenBack::default();
        assert_eq!(written.settled(SequenceNumber(1), start), None);
        assert_eq!(written.settled(SequenceNumber(1), after(50)), None);
        assert_eq!(written.settled(SequenceNumber(5), after(60)), None);
        assert_eq!(
            written.settled(SequenceNumber(9), after(130)),
            Some(SequenceNumber(1))
        );
        assert_eq!(written.settled(SequenceNumber(9), after(179)), None);
        assert_eq!(
            written.settled(SequenceNumber(9), after(400)),
            Some(SequenceNumber(9))
        );
    }

    /// Nothing new for long: what was told is not told again each second.
    #[test]
    fn told_once() {
        let start = Instant::now();
        let mut written = WrittenBack::default();
        written.settled(SequenceNumber(3), start);
        let late = start + WRITTEN_BACK_AFTER;
        assert_eq!(
            written.settled(SequenceNumber(3), late),
            Some(SequenceNumber(3))
        );
        assert_eq!(written.settled(SequenceNumber(3), late), None);
    }
}

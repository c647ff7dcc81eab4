//! What a live connection tells its coordinator, and when: pure.

use everwrite_protocol::ids::SequenceNumber;
use everwrite_protocol::wire::Reply;

use crate::store::StoreEvent;

/// Where a source's store stands, as far as its sessions need to know.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Standing {
    /// Last batch on the disk.
    pub(super) stored: SequenceNumber,
    /// Last batch in the mirror.
    pub(super) applied: SequenceNumber,
    /// Why nothing can be stored, while that is so.
    pub(super) stalled: Option<String>,
    /// Why the store has to be opened anew, once that is so.
    pub(super) failed: Option<String>,
    /// Cuts of batches that were stored already: each wants to be told so once more.
    pub(super) repeated: u64,
}

impl Standing {
    /// The store told something.
    pub(super) fn event(&mut self, event: StoreEvent) {
        match event {
            StoreEvent::Stored(sequence) => self.stored = self.stored.max(sequence),
            StoreEvent::Applied(sequence) => self.applied = self.applied.max(sequence),
            StoreEvent::Stalled(reason) => self.stalled = Some(reason),
            StoreEvent::Resumed => self.stalled = None,
            StoreEvent::Failed(reason) => self.failed = Some(reason),
        }
    }

    /// What brings a coordinator that was told `told` up to date. Several steps of the store
    /// become one reply.
    pub(super) fn news(&self, told: &Self) -> Vec<Reply> {
        let mut replies = Vec::new();
        if self.stalled.is_none() && told.stalled.is_some() {
            replies.push(Reply::Resumed);
        }
        if self.stored != told.stored || self.repeated != told.repeated {
            replies.push(Reply::Stored(self.stored));
        }
        if self.applied != told.applied {
            replies.push(Reply::Applied(self.applied));
        }
        if let Some(reason) = &self.stalled
            && told.stalled.as_ref() != Some(reason)
        {
            let reason = reason.clone();
            replies.push(Reply::Stalled { reason });
        }
        replies
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(events: &[StoreEvent]) -> Standing {
        let mut standing = Standing::default();
        events
            .iter()
            .cloned()
            .for_each(|event| standing.event(event));
        standing
    }

    const fn number(sequence: u64) -> SequenceNumber {
        SequenceNumber(sequence)
    }

    #[test]
    fn several_steps_are_one_reply() {
        let events = [1, 2, 3].map(|sequence| StoreEvent::Stored(number(sequence)));
        let standing = after(&events);
        assert_eq!(
            standing.news(&Standing::default()),
            [Reply::Stored(number(3))]
        );
        assert_eq!(standing.news(&standing), []);
    }

    #[test]
    fn a_late_event_takes_nothing_back() {
        let standing = after(&[StoreEvent::Stored(number(3)), StoreEvent::Stored(number(2))]);
        assert_eq!(standing.stored, number(3));
    }

    #[test]
    fn a_stall_is_told_with_its_reason_and_its_end() {
        let full = after(&[StoreEvent::Stalled("disk full".to_owned())]);
        let quota = after(&[StoreEvent::Stalled("quota".to_owned())]);
        let stalled = |reason: &str| Reply::Stalled {
            reason: reason.to_owned(),
        };
        assert_eq!(full.news(&Standing::default()), [stalled("disk full")]);
        assert_eq!(quota.news(&full), [stalled("quota")]);
        assert_eq!(Standing::default().news(&full), [Reply::Resumed]);
        let both = after(&[StoreEvent::Stalled("x".to_owned()), StoreEvent::Resumed]);
        assert_eq!(both.news(&Standing::default()), []);
    }

    #[test]
    fn a_repeated_batch_is_acknowledged_again() {
        let before = after(&[StoreEvent::Stored(number(3))]);
        let repeated = Standing {
            repeated: 1,
            ..before.clone()
        };
        assert_eq!(repeated.news(&before), [Reply::Stored(number(3))]);
    }
}

//! What a live connection tells its coordinator, and when: pure.

use everwrite_protocol::ids::SequenceNumber;
use everwrite_protocol::wire::Reply;

use crate::store::{Stage, StoreEvent};

/// Where a source's store stands, as far as its sessions need to know.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Standing {
    /// Last batch on the disk.
    pub(super) stored: SequenceNumber,
    /// Last batch in the mirror.
    pub(super) applied: SequenceNumber,
    /// Why nothing can be stored, while that is so.
    log_stalled: Option<String>,
    /// Why nothing gets into the mirror, while that is so.
    mirror_stalled: Option<String>,
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
            StoreEvent::Stalled(stage, reason) => *self.stall_of(stage) = Some(reason),
            StoreEvent::Resumed(stage) => *self.stall_of(stage) = None,
            StoreEvent::Failed(reason) => self.failed = Some(reason),
        }
    }

    fn stall_of(&mut self, stage: Stage) -> &mut Option<String> {
        match stage {
            Stage::Log => &mut self.log_stalled,
            Stage::Mirror => &mut self.mirror_stalled,
        }
    }

    /// As it is told to one who does not know of stalls yet.
    pub(super) fn without_stalls(self) -> Self {
        Self {
            log_stalled: None,
            mirror_stalled: None,
            ..self
        }
    }

    /// Both stages may be stalled; that nothing can be stored is the worse.
    fn stalled(&self) -> Option<&String> {
        self.log_stalled.as_ref().or(self.mirror_stalled.as_ref())
    }

    /// What brings a coordinator that was told `told` up to date. Several steps of the store
    /// become one reply.
    pub(super) fn news(&self, told: &Self) -> Vec<Reply> {
        let mut replies = Vec::new();
        if self.stalled().is_none() && told.stalled().is_some() {
            replies.push(Reply::Resumed);
        }
        if self.stored != told.stored || self.repeated != told.repeated {
            replies.push(Reply::Stored(self.stored));
        }
        if self.applied != told.applied {
            replies.push(Reply::Applied(self.applied));
        }
        if let Some(reason) = self.stalled()
            && told.stalled() != Some(reason)
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

    fn stall(stage: Stage, reason: &str) -> StoreEvent {
        StoreEvent::Stalled(stage, reason.to_owned())
    }

    fn stalled(reason: &str) -> Reply {
        let reason = reason.to_owned();
        Reply::Stalled { reason }
    }

    #[test]
    fn a_stall_is_told_with_its_reason_and_its_end() {
        let full = after(&[stall(Stage::Log, "disk full")]);
        let quota = after(&[stall(Stage::Log, "quota")]);
        assert_eq!(full.news(&Standing::default()), [stalled("disk full")]);
        assert_eq!(quota.news(&full), [stalled("quota")]);
        assert_eq!(Standing::default().news(&full), [Reply::Resumed]);
        let both = after(&[stall(Stage::Log, "x"), StoreEvent::Resumed(Stage::Log)]);
        assert_eq!(both.news(&Standing::default()), []);
    }

    #[test]
    fn the_end_of_one_stall_is_not_the_end_of_the_other() {
        let both = [stall(Stage::Mirror, "mirror"), stall(Stage::Log, "log")];
        let [log_over, mirror_over] = [Stage::Log, Stage::Mirror].map(StoreEvent::Resumed);
        let mut standing = after(&both);
        let told = standing.clone();
        assert_eq!(told.news(&Standing::default()), [stalled("log")]);
        standing.event(log_over);
        assert_eq!(standing.news(&told), [stalled("mirror")]);
        standing.event(mirror_over);
        assert_eq!(standing.news(&told), [Reply::Resumed]);
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

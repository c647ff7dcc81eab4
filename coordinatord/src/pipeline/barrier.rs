//! Barriers: wait until everything that was dirty at some moment is stored.

use std::time::{Duration, Instant};

use everwrite_protocol::ids::SequenceNumber;
use tokio::sync::oneshot;

use super::{Passed, Pipeline};
use crate::batch::BatchBuilder;
use crate::clock;
use crate::queue::Ticket;
use crate::reconcile::ScanReason;

/// Somebody, or something, waits for the queue to have passed a ticket.
pub(super) struct Waiting {
    /// Everything up to here must be in a batch.
    ticket: Ticket,
    /// Then: this batch must be stored.
    batch: Option<SequenceNumber>,
    purpose: Purpose,
}

enum Purpose {
    /// `everwrite sync`.
    Sync {
        applied: bool,
        reply: oneshot::Sender<Passed>,
    },
    /// `everwrite checkpoint`: the batch is made for it.
    Checkpoint {
        name: String,
        reply: oneshot::Sender<Passed>,
    },
    /// A program's `fsync`, which waits no longer than until then.
    Durable(oneshot::Sender<()>, Instant),
    /// Batches up to `sent` hold all that was announced until now; a scan had `listed` everything.
    Settle { sent: SequenceNumber, listed: bool },
}

impl Pipeline {
    pub(super) fn begin_barrier(
        &mut self,
        applied: bool,
        checkpoint: Option<String>,
        reply: oneshot::Sender<Passed>,
    ) {
        self.state.hurry = true;
        if let Err(error) = self.state.check_roots(clock::now()) {
            self.failure = Some(format!("{error:#}"));
        }
        self.compare_mapped();
        self.scan_for_barrier();
        let purpose = match checkpoint {
            Some(name) => Purpose::Checkpoint { name, reply },
            None => Purpose::Sync { applied, reply },
        };
        let ticket = self.state.queue.last_ticket();
        self.waiting.push(Waiting {
            ticket,
            batch: None,
            purpose,
        });
    }

    pub(super) fn wait_for_durable(&mut self, reply: oneshot::Sender<()>) {
        self.state.hurry = true;
        let longest = Duration::from_millis(self.config.durable_fsync.timeout_ms);
        self.waiting.push(Waiting {
            ticket: self.state.queue.last_ticket(),
            batch: None,
            purpose: Purpose::Durable(reply, clock::now() + longest),
        });
    }

    /// Does a program wait for what is still dirty?
    pub(super) fn awaits_durable(&self) -> bool {
        let durable = |waiting: &&Waiting| matches!(waiting.purpose, Purpose::Durable(..));
        let mut waiting = self.waiting.iter().filter(durable);
        waiting.any(|waiting| waiting.batch.is_none())
    }

    /// Where no witness hears of programs outside the shim, what they changed before the barrier is found
    /// by a scan that begins after it.
    fn scan_for_barrier(&mut self) {
        if self.tools.witness.hears_all() {
            return;
        }
        let reason = match &self.state.scan {
            Some(scan) if !scan.counts_misses() => scan.reason,
            _ => ScanReason::Barrier,
        };
        // Without a connection, too: coming back compares nothing by itself.
        if self.switch_on
            && self.connection.has_agreed()
            && let Err(error) = self.begin_scan(reason)
        {
            self.failure = Some(format!("{error:#}"));
        }
    }

    pub(super) fn begin_settling(&mut self) {
        let settling = |waiting: &Waiting| matches!(waiting.purpose, Purpose::Settle { .. });
        if self.waiting.iter().any(settling) {
            return;
        }
        if let Ok(sent) = self.state.index.sent() {
            let ticket = self.state.queue.last_ticket();
            self.waiting.push(Waiting {
                ticket,
                batch: None,
                purpose: Purpose::Settle {
                    sent,
                    listed: self.scan_listed.is_some(),
                },
            });
        }
    }

    /// Is a named recovery point due that needs a batch, even an empty one?
    pub(super) fn wants_checkpoint(&self) -> bool {
        self.waiting.iter().any(|waiting| self.may_name(waiting))
    }

    /// May the next batch get its name? While everything is compared it would be a part of the way.
    fn may_name(&self, waiting: &Waiting) -> bool {
        waiting.wants_batch() && !self.is_copying() && self.has_passed(waiting.ticket)
    }

    /// Does somebody wait for a named recovery point?
    pub(super) fn awaits_checkpoint(&self) -> bool {
        self.waiting.iter().any(Waiting::wants_batch)
    }

    /// The name for the batch about to be sent.
    pub(super) fn checkpoint_due(&mut self) -> Option<String> {
        let named = |waiting: &Waiting| self.may_name(waiting);
        let at = self.waiting.iter().position(named)?;
        let sent = self.state.index.sent().ok()?;
        self.waiting[at].batch = Some(sent);
        match &self.waiting[at].purpose {
            Purpose::Checkpoint { name, .. } => Some(name.clone()),
            _ => None,
        }
    }

    /// A batch without changes, to carry a name.
    pub(super) fn empty_batch(&mut self) -> Option<BatchBuilder> {
        let begun = self.state.index.begin().and_then(|sequence| {
            self.state.index.commit(sequence)?;
            Ok(sequence)
        });
        match begun {
            Ok(sequence) => Some(BatchBuilder::new(sequence, self.tools.origin_names())),
            Err(error) => {
                self.failure = Some(format!("{error:#}"));
                None
            }
        }
    }

    /// Is everything up to the ticket in a batch?
    pub(super) fn has_passed(&self, ticket: Ticket) -> bool {
        self.may_work()
            && self
                .state
                .roots
                .iter()
                .all(|root| root.file.is_some() || !root.is_at_work())
            && self
                .state
                .oldest()
                .is_none_or(|oldest| oldest.ticket > ticket)
    }

    /// Answers those who have waited long enough.
    pub(super) fn settle_barriers(&mut self) {
        let Ok(sent) = self.state.index.sent() else {
            return;
        };
        // The round just now may have begun to list everything again.
        self.notice_scan_listed();
        self.end_gap_scan(sent);
        let (stored, applied) = (self.connection.stored, self.connection.applied);
        let mut still = Vec::new();
        for mut waiting in std::mem::take(&mut self.waiting) {
            if waiting.batch.is_none() && !waiting.wants_batch() && self.has_passed(waiting.ticket)
            {
                waiting.batch = Some(sent);
            }
            match (waiting.batch, waiting.purpose) {
                (
                    Some(batch),
                    Purpose::Sync {
                        applied: false,
                        reply,
                    },
                ) if stored >= batch => {
                    let _ = reply.send(self.passed(batch));
                }
                (
                    Some(batch),
                    Purpose::Sync {
                        applied: true,
                        reply,
                    },
                ) if applied >= batch => {
                    let _ = reply.send(self.passed(batch));
                }
                (Some(batch), Purpose::Checkpoint { reply, .. }) if stored >= batch => {
                    let _ = reply.send(self.passed(batch));
                }
                (Some(batch), Purpose::Durable(reply, _)) if stored >= batch => {
                    let _ = reply.send(());
                }
                (_, Purpose::Durable(_, until)) if until <= clock::now() => {}
                (Some(_), Purpose::Settle { sent, listed }) => self.settled(sent, listed),
                // Nobody waits any more.
                (_, Purpose::Sync { reply, .. } | Purpose::Checkpoint { reply, .. })
                    if reply.is_closed() => {}
                (batch, purpose) => still.push(Waiting {
                    ticket: waiting.ticket,
                    batch,
                    purpose,
                }),
            }
        }
        self.waiting = still;
        self.state.hurry = self.waiting.iter().any(|waiting| {
            waiting.batch.is_none() && !matches!(waiting.purpose, Purpose::Settle { .. })
        });
    }

    /// A root that is halted is not stored, however long one waits.
    fn passed(&self, batch: SequenceNumber) -> Passed {
        let halted = self.state.roots.iter().find(|root| !root.is_at_work());
        halted.map_or(Ok(batch), |root| {
            let (name, path) = (root.name.to_string(), root.path.display().to_string());
            Err(format!(
                "root {name} is halted: {}",
                root.verdict.reason(&name, &path)
            ))
        })
    }

    fn settled(&mut self, sent: SequenceNumber, listed: bool) {
        if let Err(error) = self.state.index.mark_settled(sent) {
            tracing::warn!(%error, "the index could not be marked settled");
        }
        if let Some(written) = self.written_back.settled(sent, clock::now())
            && let Err(error) = self.state.index.mark_on_disk(written)
        {
            tracing::warn!(%error, "the index could not be marked to be on disk");
        }
        if listed {
            self.end_check_scan();
        }
    }
}

impl Waiting {
    fn is_checkpoint(&self) -> bool {
        matches!(self.purpose, Purpose::Checkpoint { .. })
    }

    /// A checkpoint that has no batch yet.
    fn wants_batch(&self) -> bool {
        self.is_checkpoint() && self.batch.is_none()
    }
}

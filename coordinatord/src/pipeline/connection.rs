//! The line to the receiver, and what it means for the index.

use anyhow::{Context, Result, bail};
use everwrite_protocol::ids::{FileId, SequenceNumber};
use everwrite_protocol::wire::{Answer, Query};

use super::Pipeline;
use crate::clock::{self, boot};
use crate::network_backup::UplinkEvent;
use crate::reconcile::{Scan, ScanReason};

/// Most bytes of batches under way, whatever the receiver allows: they are kept in memory here.
const WINDOW_BYTES_MAX: u64 = 32 << 20;

/// How the line stands.
#[derive(Debug, Default)]
pub(super) struct Connection {
    pub(super) connected: bool,
    /// The index agrees with the receiver: batches may be made.
    agreed: bool,
    pub(super) error: String,
    pub(super) stalled: Option<String>,
    pub(super) rejected: Option<String>,
    pub(super) stored: SequenceNumber,
    pub(super) applied: SequenceNumber,
    pub(super) window_bytes: u64,
}

impl Connection {
    /// Has the index agreed with the receiver since start?
    pub(super) fn has_agreed(&self) -> bool {
        self.agreed
    }

    /// May batches be made?
    pub(super) fn is_ready(&self) -> bool {
        self.agreed && self.connected && self.rejected.is_none()
    }
}

impl Pipeline {
    pub(super) fn apply_uplink(&mut self, event: UplinkEvent) {
        match event {
            UplinkEvent::Connected {
                stored,
                applied,
                window_bytes,
            } => {
                self.connection.connected = true;
                self.connection.error.clear();
                self.connection.stalled = None;
                // It may be another one, or mended.
                self.connection.rejected = None;
                self.connection.window_bytes = window_bytes.min(WINDOW_BYTES_MAX);
                self.agree(stored);
                // One that was set back has applied less than it said before.
                self.connection.applied = applied;
            }
            UplinkEvent::Disconnected { error } => {
                self.connection.connected = false;
                // That may last.
                self.state.kept.clear();
                self.connection.stalled = None;
                self.connection.error = error;
            }
            UplinkEvent::Stored(sequence) => self.stored(sequence),
            UplinkEvent::Applied(sequence) => self.applied(sequence),
            UplinkEvent::Stalled { reason } => self.connection.stalled = Some(reason),
            UplinkEvent::Resumed => self.connection.stalled = None,
            UplinkEvent::Rejected { sequence, reason } => self.rejected(sequence, &reason),
        }
    }

    /// Brings index and receiver to agree on what is stored. Tried again with each tick.
    pub(super) fn agree(&mut self, stored: SequenceNumber) {
        match self.try_to_agree(stored) {
            Ok(()) => self.connection.agreed = true,
            Err(error) => {
                tracing::error!(error = %format!("{error:#}"), "index and receiver do not agree yet");
                self.failure = Some(format!("{error:#}"));
            }
        }
    }

    pub(super) fn needs_agreement(&self) -> bool {
        self.connection.connected && !self.connection.agreed
    }

    fn try_to_agree(&mut self, stored: SequenceNumber) -> Result<()> {
        let (sent, known) = (self.state.index.sent()?, self.state.index.stored()?);
        if stored < known || stored > sent {
            return self.rebuild(stored);
        }
        if self.connection.agreed {
            // The uplink keeps what is under way and sends it again.
            self.stored(stored);
            return Ok(());
        }
        self.cutting.forget();
        self.state.index.roll_back(stored)?;
        self.connection.stored = stored;
        self.catch_up()
    }

    /// The index is of no use: behind the receiver after a power loss, ahead of one that was set
    /// back, or lost. The receiver's tree takes its place, and everything is compared.
    fn rebuild(&mut self, stored: SequenceNumber) -> Result<()> {
        tracing::warn!(stored = stored.0, receiver = %self.receiver.name, "rebuilding the index from the receiver");
        self.uplink.forget_unsent();
        self.cutting.forget();
        self.under_way.clear();
        self.cuts.clear();
        let result = self.fetch_tree(stored);
        if result.is_err() {
            let _ = self.state.index.abandon();
        }
        result.context("rebuild the index from the receiver")?;
        self.connection.stored = stored;
        self.state.files = self.state.index.files()?;
        self.state.staged.clear();
        for root in &mut self.state.roots {
            root.file = None;
        }
        self.catch_up()
    }

    fn fetch_tree(&mut self, stored: SequenceNumber) -> Result<()> {
        self.state.index.begin_rebuild()?;
        let mut cursor = None;
        loop {
            let asked = self.tools.queries.ask(Query::Tree { cursor });
            let (answer, _) = self.tools.waits.wait_for(asked)?;
            let Answer::Tree {
                entries,
                cursor: next,
                highest_file,
            } = answer
            else {
                bail!("the receiver gave no tree: {answer:?}");
            };
            for entry in &entries {
                self.state.index.rebuild_entry(entry)?;
            }
            if next.is_none() {
                return self
                    .state
                    .index
                    .finish_rebuild(stored, FileId(highest_file.0));
            }
            cursor = next;
        }
    }

    /// Compares everything: nobody knows what happened while nobody listened.
    fn catch_up(&mut self) -> Result<()> {
        self.state.index.suspect_recent(boot())?;
        let mark = self.state.queue.scan_mark(clock::now());
        self.state.dirty_staged(mark)?;
        self.failure = None;
        self.begin_scan(ScanReason::Gap)
    }

    /// Starts a scan of all roots; one that is under way is started over.
    pub(super) fn begin_scan(&mut self, reason: ScanReason) -> Result<()> {
        let now = clock::now();
        self.scan_listed = None;
        let (listed, listing) = match self.state.listing.take() {
            Some(work) if work.scan => (Some(work.mark.ticket), None),
            work => (None, work),
        };
        self.state.unknown_hinted = false;
        self.state.troubles.clear();
        self.state.accounts.refresh();
        // What came in unannounced is told of from now on.
        self.tools.intake.renew_outside();
        let mut scan = match self.state.scan.take() {
            Some(running) => running.again(reason, now),
            None => Scan::new(reason, now),
        };
        if reason == ScanReason::Gap {
            self.state.index.suspect_unsettled()?;
            scan.doubted_before = self.state.index.sent()?.next();
        }
        if let Some(work) = listing {
            let told = work.mark.sources;
            self.account.tally.told_names_in(work.directory, told);
        }
        let mut mark = self.state.queue.scan_mark(now);
        // Whoever waits for the directory that is listed just now goes on waiting for what is left of it.
        let ticket = scan.mark_of(mark.ticket);
        scan.until = scan.until.max(ticket);
        mark.ticket = listed.map_or(ticket, |listed| listed.min(ticket));
        self.state.scan = Some(scan);
        self.state.list_roots(mark, true)
    }

    fn stored(&mut self, sequence: SequenceNumber) {
        if sequence <= self.connection.stored {
            return;
        }
        self.connection.stored = sequence;
        while self
            .under_way
            .front()
            .is_some_and(|batch| batch.sequence <= sequence)
        {
            self.under_way.pop_front();
            self.batches_stored += 1;
        }
        while self
            .cuts
            .front()
            .is_some_and(|point| point.sequence <= sequence)
        {
            self.stored_point = self.cuts.pop_front();
            let consistent = self
                .stored_point
                .as_ref()
                .filter(|point| point.kind.is_consistent());
            let consistent = consistent.map(|point| (point.sequence, point.time));
            self.consistent_point = consistent.or(self.consistent_point);
        }
        if let Err(error) = self.state.index.mark_stored(sequence) {
            self.failure = Some(format!("{error:#}"));
        }
    }

    fn applied(&mut self, sequence: SequenceNumber) {
        self.connection.applied = self.connection.applied.max(sequence);
    }

    /// The receiver says that a batch breaks the rules. Once, that is taken for a misunderstanding
    /// about what the receiver has, and everything is compared anew; a second time it halts.
    fn rejected(&mut self, sequence: SequenceNumber, reason: &str) {
        tracing::error!(
            sequence = sequence.0,
            reason,
            "the receiver rejected a batch"
        );
        let again = self
            .failure
            .as_deref()
            .is_some_and(|text| text.starts_with(REJECTED));
        self.failure = Some(format!("{REJECTED} {}: {reason}", sequence.0));
        if again {
            self.connection.rejected = self.failure.clone();
            return;
        }
        self.connection.agreed = false;
        let stored = self.connection.stored;
        if let Err(error) = self.rebuild(stored) {
            self.connection.rejected = Some(format!("{error:#}"));
        } else {
            self.connection.agreed = true;
            self.failure = Some(format!("{REJECTED} {}: {reason}", sequence.0));
        }
    }
}

const REJECTED: &str = "the receiver rejected batch";

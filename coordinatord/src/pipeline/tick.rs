//! What is done about once a second: roots, mappings, scans.

use std::time::{Duration, Instant};

use everwrite_protocol::control::ReconcileAnswer;

use super::{Pipeline, ScanListed, TICK};
use crate::clock::{self, wall_clock};
use crate::look::LookAhead;
use crate::reconcile::{Scan, ScanReason};
use everwrite_protocol::ids::{SequenceNumber, Timestamp};

/// A background scan costs at most one part in so many of the time.
const SCAN_SHARE: u32 = 50;
/// The same while the witness hears of everything: then it only makes sure.
const SCAN_SHARE_WITNESSED: u32 = 500;

/// Misses that are named when a scan was asked for.
const MISSES_SHOWN: u64 = 100;

impl Pipeline {
    pub(super) fn tick(&mut self, now: Instant) {
        self.notice_scan_listed();
        if now < self.next_tick {
            return;
        }
        self.next_tick = now + TICK;
        self.account.save_if_due(now);
        self.look_at_late_syncs(now);
        self.state.kept.sweep(now);
        self.state.unplaced.sweep(now);
        self.settle_gaps(now);
        if self.needs_agreement() {
            self.agree(self.connection.stored);
        }
        if !self.may_work() {
            return;
        }
        if let Err(error) = self.state.check_roots(now) {
            self.failure = Some(format!("{error:#}"));
        }
        self.look_at_mapped();
        if self.is_scan_due(now)
            && let Err(error) = self.begin_scan(ScanReason::Check)
        {
            self.failure = Some(format!("{error:#}"));
        }
    }

    /// Time for a comparison that nobody asked for?
    fn is_scan_due(&self, now: Instant) -> bool {
        let configured = Duration::from_secs(self.config.scan.interval_s);
        // Hints about what the index does not know: outside all roots, or in a directory that was
        // made without a hint.
        let interval = if self.state.unknown_hinted {
            configured.min(TICK)
        } else {
            configured
        };
        let share = if self.tools.witness.hears_all() {
            SCAN_SHARE_WITNESSED
        } else {
            SCAN_SHARE
        };
        let rest = interval.max(self.last_scan_cost.saturating_mul(share));
        !configured.is_zero()
            && self.state.scan.is_none()
            && self
                .last_scan_end
                .is_some_and(|(end, _)| now.duration_since(end) >= rest)
    }

    /// Mapped files whose times moved were stored into: compare them.
    fn look_at_mapped(&mut self) {
        for (inode, mark) in self.state.mapped.clone() {
            let mark = self
                .state
                .queue
                .mark(clock::now(), mark.origin, mark.sources);
            self.state
                .queue
                .dirty(inode, mark, |dirt| dirt.attributes = true);
        }
    }

    /// Compares all mapped files, whatever their times say. Where the witness hears of stores that is
    /// needed in memory only, and there looking at a file compares it.
    pub(super) fn compare_mapped(&mut self) {
        if self.tools.witness.hears_all() {
            return self.look_at_mapped();
        }
        for (inode, mark) in self.state.mapped.clone() {
            let mark = self
                .state
                .queue
                .mark(clock::now(), mark.origin, mark.sources);
            self.state
                .queue
                .dirty(inode, mark, |dirt| dirt.whole = true);
        }
    }

    /// Notes that the scan has listed everything, or has to list again.
    pub(super) fn notice_scan_listed(&mut self) {
        let listed = self
            .state
            .scan
            .as_ref()
            .is_some_and(|scan| scan.missing.is_empty())
            && !self.state.is_scan_listing()
            && !self.state.queue.wants_everything()
            && self
                .state
                .roots
                .iter()
                .all(|root| root.file.is_some() || !root.is_at_work());
        if listed && self.scan_listed.is_none() {
            let ticket = self.state.queue.last_ticket();
            self.scan_listed = Some(ScanListed {
                ticket,
                batch: None,
            });
        } else if !listed {
            self.scan_listed = None;
        }
    }

    /// A scan after a gap ends when all that it found is stored.
    pub(super) fn end_gap_scan(&mut self, sent: SequenceNumber) {
        let Some(mut listed) = self.scan_listed else {
            return;
        };
        if self.state.scan.as_ref().is_some_and(Scan::counts_misses) {
            return;
        }
        if listed.batch.is_none() && self.has_passed(listed.ticket) {
            listed.batch = Some(sent);
            self.scan_listed = Some(listed);
        }
        if listed
            .batch
            .is_some_and(|batch| self.connection.stored >= batch)
        {
            self.end_scan();
        }
    }

    /// Any other scan ends when what it queued is done and the hints of its time are in: before,
    /// what it found can't be told from what was announced. Who asked for it also wants to know of files that
    /// were announced meanwhile and are looked at together with that.
    pub(super) fn end_check_scan(&mut self) {
        let check = self.state.scan.as_ref().is_some_and(Scan::counts_misses);
        let awaited = !self.reconciles.is_empty();
        let listed = |listed: ScanListed| !awaited || self.has_passed(listed.ticket);
        let done = self.scan_listed.is_some_and(listed) && !self.state.has_background();
        if check && done && !self.account.tally.has_suspects() {
            self.end_scan();
        }
    }

    fn end_scan(&mut self) {
        let Some(scan) = self.state.scan.take() else {
            return;
        };
        self.scan_listed = None;
        self.state.ahead = LookAhead::default();
        self.account.tally.forget_directories();
        self.last_scan_cost = clock::since(scan.started);
        self.last_scan_end = Some((clock::now(), wall_clock()));
        let took = i64::try_from(self.last_scan_cost.as_nanos()).unwrap_or(i64::MAX);
        self.state.scanned = Some(Timestamp(wall_clock().0.saturating_sub(took)));
        self.state
            .roots
            .iter_mut()
            .for_each(|root| root.initial &= !root.is_at_work());
        for (missed_before, reply) in std::mem::take(&mut self.reconciles) {
            let _ = reply.send(Ok(self.reconciled(scan.compared, missed_before)));
        }
    }

    /// What came of a scan, for who asked for it when there had been so many misses.
    fn reconciled(&self, compared: u64, missed_before: u64) -> ReconcileAnswer {
        let misses = self.account.changes.missed - missed_before;
        let shown = self.account.kept.last_misses(misses.min(MISSES_SHOWN));
        ReconcileAnswer {
            compared,
            misses,
            missed_paths: shown.map(|miss| miss.path.clone()).collect(),
        }
    }
}

//! What is done about once a second: roots, mappings, scans.

use std::time::{Duration, Instant};

use everwrite_protocol::control::PathText;
use everwrite_protocol::control::ReconcileAnswer;

use super::{Pipeline, TICK};
use crate::clock::wall_clock;
use crate::reconcile::ScanReason;

/// A background scan costs at most one part in so many of the time.
const SCAN_SHARE: u32 = 50;

impl Pipeline {
    pub(super) fn tick(&mut self, now: Instant) {
        self.notice_scan_listed();
        if now < self.next_tick {
            return;
        }
        self.next_tick = now + TICK;
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
        let interval = Duration::from_secs(self.config.scan.interval_s);
        let rest = interval.max(self.last_scan_cost.saturating_mul(SCAN_SHARE));
        !interval.is_zero()
            && self.state.scan.is_none()
            && self
                .last_scan_end
                .is_some_and(|(end, _)| now.duration_since(end) >= rest)
    }

    /// Mapped files whose times moved were stored into: compare them.
    fn look_at_mapped(&mut self) {
        for (inode, mark) in self.state.mapped.clone() {
            let mark = self.state.queue.mark(Instant::now(), mark.origin);
            self.state
                .queue
                .dirty(inode, mark, |dirt| dirt.attributes = true);
        }
    }

    /// Compares all mapped files, whatever their times say.
    pub(super) fn compare_mapped(&mut self) {
        for (inode, mark) in self.state.mapped.clone() {
            let mark = self.state.queue.mark(Instant::now(), mark.origin);
            self.state
                .queue
                .dirty(inode, mark, |dirt| dirt.whole = true);
        }
    }

    /// A scan that has listed everything ends when what it queued is done and the hints of its time
    /// are in; until then what it found can't be told from what was announced.
    fn notice_scan_listed(&mut self) {
        let listed = self
            .state
            .scan
            .as_ref()
            .is_some_and(|scan| scan.missing.is_empty())
            && !self.state.is_listing()
            && self
                .state
                .roots
                .iter()
                .all(|root| root.file.is_some() || !root.is_at_work());
        if listed && self.scan_listed.is_none() {
            self.scan_listed = Some(self.state.queue.last_ticket());
        } else if !listed {
            self.scan_listed = None;
        }
    }

    pub(super) fn end_scan(&mut self) {
        let Some(scan) = self.state.scan.take() else {
            return;
        };
        self.scan_listed = None;
        self.last_scan_cost = scan.started.elapsed();
        self.last_scan_end = Some((Instant::now(), wall_clock()));
        self.state
            .roots
            .iter_mut()
            .for_each(|root| root.initial &= !root.is_at_work());
        let report = scan.report();
        self.misses += report.misses;
        for path in &report.missed_paths {
            tracing::warn!(path = %String::from_utf8_lossy(path), "missed: changed, and nobody announced it");
        }
        let answer = ReconcileAnswer {
            compared: report.compared,
            misses: report.misses,
            missed_paths: report
                .missed_paths
                .iter()
                .map(|path| PathText::from_bytes(path))
                .collect(),
        };
        for (_, reply) in self.reconciles.drain(..) {
            let _ = reply.send(Ok(answer.clone()));
        }
    }
}

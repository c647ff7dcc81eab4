//! How a pipeline stands, for the status.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use everwrite_protocol::control::{
    Burst, Changes, Lately, PathText, RootStatus, ScanCapture, Unreadable, UplinkStatus,
};
use everwrite_protocol::ids::{FileId, Name};

use super::{Pipeline, RootSituation, state_word};
use crate::clock::{self, wall_clock};
use crate::reconcile::{RootVerdict, ScanReason};
use crate::round::ProtectedRoot;

/// Unreadable paths named in a status.
const UNREADABLE_SHOWN: usize = 10;

/// A pipeline's part of the status.
#[derive(Clone, Debug)]
pub struct PipelineReport {
    /// Its roots.
    pub roots: Vec<RootStatus>,
    /// Its line.
    pub uplink: UplinkStatus,
    /// Its scans.
    pub scan: ScanCapture,
    /// Changes since start, by who had announced them.
    pub changes: Changes,
    /// The same of the last hour and day.
    pub lately: Lately,
    /// Contents that were gone before they could be read, since start.
    pub gaps: u64,
    /// Bursts that are to be shown.
    pub bursts: Vec<Burst>,
    /// Was it ever connected and in agreement with the receiver?
    pub ready: bool,
}

impl Pipeline {
    pub(super) fn report(&self) -> PipelineReport {
        let (changes, lately) = self.changes();
        PipelineReport {
            roots: self
                .state
                .roots
                .iter()
                .map(|root| self.root_status(root))
                .collect(),
            uplink: self.uplink_status(),
            scan: ScanCapture {
                last_at: self.last_scan_end.map(|(_, time)| time),
                misses: self.account.changes.missed,
            },
            changes,
            lately,
            gaps: self.account.gaps,
            bursts: self.account.kept.bursts(wall_clock()).cloned().collect(),
            ready: self.connection.is_ready(),
        }
    }

    fn uplink_status(&self) -> UplinkStatus {
        UplinkStatus {
            receiver: self.receiver.name.clone(),
            address: self.receiver.place.to_string(),
            connected: self.connection.connected,
            error: self.connection.error.clone(),
            bytes_sent: self.uplink.bytes_sent(),
            batches_stored: self.batches_stored,
            stored: self.connection.stored,
            applied: self.connection.applied,
            bytes_read: self.state.bytes_read,
            cuts: self.cutting.report(),
        }
    }

    fn root_status(&self, root: &ProtectedRoot) -> RootStatus {
        let configured = self.config.root(&root.name.to_string());
        let path = root.path.display().to_string();
        let oldest_unstored_ms = self.oldest_unstored_ms();
        let unreadable: Vec<Unreadable> = self
            .state
            .troubles
            .iter()
            .filter(|(trouble, _)| trouble.starts_with(&root.path))
            .map(|(path, error)| Unreadable {
                path: path.display().to_string(),
                error: error.clone(),
            })
            .collect();
        let situation = RootSituation {
            switch_on: self.switch_on,
            timed: false,
            halted: (root.verdict != RootVerdict::Go)
                .then(|| root.verdict.reason(&root.name.to_string(), &path)),
            failed: self
                .connection
                .rejected
                .clone()
                .or_else(|| self.failure.clone()),
            connected: self.connection.connected,
            connection_error: self.connection.error.clone(),
            stalled: self.connection.stalled.clone(),
            initial: root.initial || root.file.is_none(),
            reconciling: self.is_reconciling(),
            oldest_unstored_ms,
            rpo_ms: configured.map_or(crate::config::RPO_MS_DEFAULT, |root| root.rpo_ms),
            unreadable: unreadable.len() as u64,
            durability_broken: self.is_durability_broken(&root.name.to_string()),
        };
        let (state, reason) = state_word(&situation);
        RootStatus {
            name: root.name.to_string(),
            path,
            state,
            reason,
            lag_ms: oldest_unstored_ms,
            oldest_unstored_ms,
            backlog_bytes: self.backlog_bytes(),
            backlog_files: (self.state.queue.entries()
                + self.state.delayed.len()
                + self.state.resting.len()) as u64,
            recovery_point: self.stored_point.as_ref().map(|point| point.sequence),
            recovery_point_kind: self
                .stored_point
                .as_ref()
                .map(|point| point.kind.name().to_owned()),
            consistent_point: self.consistent_point.map(|point| point.0),
            consistent_at: self.consistent_point.map(|point| point.1),
            stored_at: self.stored_point.as_ref().map(|point| point.time),
            misses: self.account.changes.missed,
            unprotected_since: None,
            scan_files: self.state.scan.as_ref().map_or(0, |scan| scan.compared),
            files: self.state.files,
            receiver: self.receiver.name.clone(),
            unreadable_count: unreadable.len() as u64,
            unreadable: unreadable.into_iter().take(UNREADABLE_SHOWN).collect(),
        }
    }

    /// Nobody listened for a while, and not all has been compared since.
    fn is_reconciling(&self) -> bool {
        let gap = |reason| matches!(reason, ScanReason::Gap | ScanReason::Initial);
        self.state
            .scan
            .as_ref()
            .is_some_and(|scan| gap(scan.reason))
            || !self.connection.is_ready()
    }

    fn oldest_unstored_ms(&self) -> u64 {
        let under_way = self.under_way.iter().map(|batch| batch.since);
        let oldest = self
            .state
            .oldest_told()
            .map(|mark| mark.since)
            .into_iter()
            .chain(under_way)
            .min();
        oldest.map_or(0, |since| clock::since(since).as_millis() as u64)
    }

    fn backlog_bytes(&self) -> u64 {
        let size_of = |inode: &everwrite_protocol::local::Inode| {
            let row = self.state.index.by_inode(inode.device, inode.inode, 0);
            row.ok().flatten().map_or(0, |row| row.size)
        };
        let queued = self.state.queue.bytes(size_of);
        queued + self.under_way.iter().map(|batch| batch.bytes).sum::<u64>()
    }

    pub(super) fn is_indexed(&self, path: &PathText) -> bool {
        let Some(bytes) = path.to_bytes() else {
            return false;
        };
        let path = Path::new(OsStr::from_bytes(&bytes));
        self.state.roots.iter().any(|root| {
            path.strip_prefix(&root.path)
                .is_ok_and(|relative| self.has(root.file, relative))
        })
    }

    fn has(&self, root: Option<FileId>, relative: &Path) -> bool {
        let mut at = root;
        for component in relative.components() {
            let name = Name::new(component.as_os_str().as_bytes());
            at = match (at, name) {
                (Some(file), Ok(name)) => self.state.index.child(file, &name).ok().flatten(),
                _ => None,
            };
        }
        at.is_some()
    }
}

//! Remote-durable `fsync`: programs go on when the receiver has stored what they made durable here.

use std::time::{Duration, Instant};

use everwrite_protocol::ids::FileId;
use everwrite_protocol::local::Inode;
use tokio::sync::oneshot;

use super::Pipeline;
use crate::clock;

/// How long it is shown that a program did not wait until the receiver had stored.
const SHOWN: Duration = Duration::from_secs(60);
/// Deeper than any path that a program could name.
const DEPTH_MAX: usize = 4096;

/// Calls for durability that returned too early.
#[derive(Debug, Default)]
pub(super) struct LateSyncs {
    count: u64,
    at: Option<Instant>,
}

impl LateSyncs {
    /// There have been `count` since start.
    fn notice(&mut self, count: u64, now: Instant) -> bool {
        let more = count > self.count;
        if more {
            (self.count, self.at) = (count, Some(now));
        }
        more
    }

    /// Have there been any lately?
    pub(super) fn are_recent(&self) -> bool {
        self.at.is_some_and(|at| clock::since(at) < SHOWN)
    }
}

impl Pipeline {
    /// Somebody waits for these files to be stored, and all that was told before.
    pub(super) fn begin_durable(&mut self, files: &[Inode], reply: oneshot::Sender<()>) {
        if self.may_be_durable(files) {
            self.wait_for_durable(reply);
        } else {
            let _ = reply.send(());
        }
    }

    /// Does any of the files lie in a root that asks for it, as far as that is known?
    fn may_be_durable(&self, files: &[Inode]) -> bool {
        let any = self
            .config
            .roots
            .iter()
            .any(|root| self.is_durable(&root.name));
        any && (files.is_empty() || files.iter().any(|file| self.is_durable_file(*file)))
    }

    /// A file that is not known may have been made a moment ago.
    fn is_durable_file(&self, file: Inode) -> bool {
        let row = self.state.index.by_inode(file.device, file.inode, 0);
        let Ok(Some(row)) = row else { return true };
        let root = self.root_above(row.id).and_then(|id| self.state.root(id));
        root.is_none_or(|root| self.is_durable(&root.name.to_string()))
    }

    fn root_above(&self, file: FileId) -> Option<FileId> {
        let mut at = file;
        for _ in 0..DEPTH_MAX {
            if self.state.root(at).is_some() {
                return Some(at);
            }
            at = self.state.index.names_of(at).ok()?.first()?.0;
        }
        None
    }

    fn is_durable(&self, root: &str) -> bool {
        let root = self.config.root(root);
        root.is_some_and(|root| root.durable_fsync && root.to == self.receiver.name)
    }

    /// Has any program lately not waited until the receiver had stored?
    pub(super) fn is_durability_broken(&self, root: &str) -> bool {
        self.late_syncs.are_recent() && self.is_durable(root)
    }

    pub(super) fn look_at_late_syncs(&mut self, now: Instant) {
        let count = self.tools.intake.late_syncs();
        if self.late_syncs.notice(count, now) {
            tracing::warn!(
                receiver = %self.receiver.name,
                count,
                "calls of fsync returned, or failed, before the receiver had stored what they cover"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_late_is_shown_for_a_while() {
        let now = Instant::now();
        let mut late = LateSyncs::default();
        assert!(!late.notice(0, now) && !late.are_recent());
        assert!(late.notice(2, now) && late.are_recent());
        assert!(!late.notice(2, now));
        let Some(before) = now.checked_sub(2 * SHOWN) else {
            return;
        };
        assert!(late.notice(3, before) && !late.are_recent());
    }
}

//! Events, applied to the state.

use std::sync::Arc;

use everwrite_protocol::control::ApiError;
use everwrite_protocol::ids::Name;

use super::{Event, Pipeline, Request};
use crate::clock;
use crate::config;
use crate::exclude::Excludes;
use crate::intake::{Hint, What};
use crate::reconcile::{RootVerdict, ScanReason};
use crate::round::ProtectedRoot;

impl Pipeline {
    pub(super) fn apply(&mut self, event: Event) {
        match event {
            Event::Hints(hints) => self.take_hints(&hints),
            Event::Uplink(event) => self.apply_uplink(event),
            Event::Request(request) => self.apply_request(request),
        }
    }

    fn apply_request(&mut self, request: Request) {
        match request {
            Request::Protect(root) => self.protect(&root),
            Request::Unprotect(name) => self.unprotect(&name),
            Request::Configured(config) => self.configure(config),
            Request::Switch(on) => self.switch(on),
            Request::Barrier {
                applied,
                checkpoint,
                reply,
            } => {
                self.begin_barrier(applied, checkpoint, reply);
            }
            Request::Durable { files, reply } => self.begin_durable(&files, reply),
            Request::Settle { asked } => {
                self.close_changes(asked);
                self.begin_settling();
            }
            Request::Reconcile {
                root,
                accept_empty,
                reply,
            } => {
                self.reconcile(root.as_deref(), accept_empty, reply);
            }
            Request::Quiet(number) => self.is_quiet(number),
            Request::Report(reply) => {
                let _ = reply.send(self.report());
            }
            Request::Account(reply) => {
                let _ = reply.send(self.account_report());
            }
            Request::Acknowledge { until, reply } => {
                let _ = reply.send(self.acknowledge(until));
            }
            Request::Indexed { path, reply } => {
                let _ = reply.send(self.is_indexed(&path));
            }
            Request::Stop(reply) => self.stopped = Some(reply),
        }
    }

    fn take_hints(&mut self, hints: &[Hint]) {
        if !self.switch_on {
            return;
        }
        for hint in hints {
            self.track_mapping(hint);
            self.account.tally.told(hint);
        }
        self.cutting.take_hints(hints);
        let news = self.state.recent.may_know(hints);
        let news = news.then(|| self.state.recent.news(hints));
        let hints = news.as_deref().unwrap_or(hints);
        let lost = hints.iter().any(Hint::tells_of_loss);
        let queue = &mut self.state.queue;
        let crowded = self.manager.take_in(queue, hints, clock::now(), clock::now);
        if (lost || crowded)
            && let Err(error) = self.hints_are_lost(crowded)
        {
            self.failure = Some(format!("{error:#}"));
        }
    }

    /// Something was told that nobody knows any more, and everything is to be looked at. A file that was looked at
    /// of late does not show by its times what it was written since its hint; and if the queue is `forgotten`, one
    /// that has arrived in part would stay as it is.
    fn hints_are_lost(&mut self, forgotten: bool) -> anyhow::Result<()> {
        self.state.index.suspect_unsettled()?;
        if let Some(scan) = self.state.scan.as_mut() {
            scan.excused = true;
        }
        match self.state.queue.oldest().filter(|_| forgotten) {
            Some(mark) => self.state.dirty_staged(mark),
            None => Ok(()),
        }
    }

    fn track_mapping(&mut self, hint: &Hint) {
        match hint.what {
            What::Mapped { file, .. } => {
                let mark = self.state.queue.mark(hint.at, hint.origin, hint.source);
                self.state.mapped.insert(file, mark);
            }
            What::Unmapped { file, .. } => {
                self.state.mapped.remove(&file);
            }
            _ => {}
        }
    }

    fn protect(&mut self, root: &config::Root) {
        let Ok(name) = Name::new(root.name.as_bytes()) else {
            return;
        };
        let mut excludes = Excludes::new(root, &self.config, &self.paths.own_directories());
        for warning in excludes.reload().warnings {
            tracing::warn!(root = %root.name, "{warning}");
        }
        self.state.roots.push(ProtectedRoot {
            name,
            path: root.path.clone(),
            file: None,
            excludes,
            verdict: RootVerdict::Go,
            initial: false,
            accept_empty: false,
            removal_announced: false,
        });
        if self.state.scan.is_none() {
            // The root's own listing is queued when it is declared; other roots are left alone.
            self.state.scan = Some(crate::reconcile::Scan::new(
                ScanReason::Initial,
                clock::now(),
            ));
        }
    }

    /// What is known of the root stays in the index: protecting it again compares, and does not copy.
    fn unprotect(&mut self, name: &str) {
        self.state
            .roots
            .retain(|root| root.name.as_bytes() != name.as_bytes());
    }

    fn configure(&mut self, config: Arc<config::Config>) {
        self.config = config;
    }

    fn switch(&mut self, on: bool) {
        // With or without a connection: agreeing anew compares by itself, coming back does not.
        let begins = on && !self.switch_on && self.connection.has_agreed();
        self.switch_on = on;
        if begins && let Err(error) = self.begin_scan(ScanReason::Gap) {
            self.failure = Some(format!("{error:#}"));
        }
    }

    fn reconcile(
        &mut self,
        root: Option<&str>,
        accept_empty: bool,
        reply: tokio::sync::oneshot::Sender<
            Result<everwrite_protocol::control::ReconcileAnswer, ApiError>,
        >,
    ) {
        let meant = |known: &ProtectedRoot| {
            root.is_none_or(|name| known.name.as_bytes() == name.as_bytes())
        };
        for known in self.state.roots.iter_mut().filter(|known| meant(known)) {
            known.accept_empty |= accept_empty;
        }
        // One that runs may have passed by what changed since; what it is for, the new one is for, too.
        let running = self.state.scan.as_ref().map(|scan| scan.reason);
        let begun = self.begin_scan(running.unwrap_or(ScanReason::Check));
        if let Some(scan) = &mut self.state.scan {
            scan.thorough = true;
        }
        match begun {
            Ok(()) => self.reconciles.push((self.account.changes.missed, reply)),
            Err(error) => {
                let _ = reply.send(Err(ApiError {
                    error: format!("{error:#}"),
                    hint: "see the coordinator's log".to_owned(),
                    exit: 1,
                }));
            }
        }
    }
}

//! The status: the pipelines' reports, put together.

use std::time::Duration;

use everwrite_protocol::control::{
    Burst, Capture, Changes, Lately, RootStatus, ScanCapture, ShimCapture, State, Status, Switch,
    UplinkStatus,
};
use tokio::sync::oneshot;

use super::Front;
use crate::config::{Root, SwitchState};
use crate::pipeline::{Event, PipelineReport, Request};
use crate::witness::WitnessReport;

/// A pipeline that compares a huge file may be slow to answer.
const REPORT_WITHIN: Duration = Duration::from_secs(10);

/// Reports that are on their way.
pub(super) struct Reports {
    switch: SwitchState,
    shim: ShimCapture,
    witness: WitnessReport,
    waiting: Vec<Waiting>,
}

/// A report on its way, and what is said in its place when it does not come.
struct Waiting {
    report: oneshot::Receiver<PipelineReport>,
    roots: Vec<Root>,
}

impl Front {
    /// Asks every pipeline how it stands; the answers are awaited elsewhere.
    pub(super) fn ask_reports(&mut self) -> Reports {
        let mut waiting = Vec::new();
        for (pipeline, handle) in self.pipelines.iter().enumerate() {
            let (reply, report) = oneshot::channel();
            self.outbox
                .push(pipeline, Event::Request(Request::Report(reply)));
            let roots = self.config.roots.iter();
            let roots = roots.filter(|root| root.to == handle.receiver).cloned();
            waiting.push(Waiting {
                report,
                roots: roots.collect(),
            });
        }
        Reports {
            switch: self.switch,
            shim: self.intake.statistics(),
            witness: self.witness.report(),
            waiting,
        }
    }
}

impl Reports {
    /// Waits for all of them.
    pub(super) async fn status(self) -> Status {
        let (mut reports, mut silent) = (Vec::new(), Vec::new());
        for waiting in self.waiting {
            match tokio::time::timeout(REPORT_WITHIN, waiting.report).await {
                Ok(Ok(report)) => reports.push(report),
                _ => silent.extend(waiting.roots.iter().map(silent_root)),
            }
        }
        status(&self.switch, self.shim, self.witness, reports, silent)
    }
}

fn status(
    switch: &SwitchState,
    shim: ShimCapture,
    witness: WitnessReport,
    reports: Vec<PipelineReport>,
    silent: Vec<RootStatus>,
) -> Status {
    let scan = ScanCapture {
        last_at: reports
            .iter()
            .filter_map(|report| report.scan.last_at)
            .min(),
        misses: reports.iter().map(|report| report.scan.misses).sum(),
    };
    let (mut changes, mut lately) = (Changes::default(), Lately::default());
    for report in &reports {
        (changes, lately) = (changes.and(report.changes), lately.and(report.lately));
    }
    let gaps = reports.iter().map(|report| report.gaps).sum();
    let bursts = reports.iter().flat_map(|report| report.bursts.clone());
    let bursts: Vec<Burst> = bursts.collect();
    let uplinks: Vec<UplinkStatus> = reports.iter().map(|report| report.uplink.clone()).collect();
    let mut roots: Vec<RootStatus> = reports
        .into_iter()
        .flat_map(|report| report.roots)
        .chain(silent)
        .collect();
    for root in &mut roots {
        finish_root(root, switch);
    }
    let first = roots.first().map(|root| root.receiver.clone());
    let uplink = uplinks
        .iter()
        .find(|uplink| Some(&uplink.receiver) == first.as_ref());
    Status {
        state: worst(switch, &roots),
        switch: switch.switch,
        since: switch.since,
        resumes_at: switch.resumes_at,
        uplink: uplink
            .or_else(|| uplinks.first())
            .cloned()
            .unwrap_or_default(),
        roots,
        capture: Capture {
            shim,
            ebpf: witness.ebpf,
            names: witness.names,
            scan,
            changes,
            lately,
            gaps,
        },
        uplinks,
        bursts,
    }
}

/// A root whose pipeline does not answer: it waits for its receiver, so nothing is promised.
fn silent_root(root: &Root) -> RootStatus {
    RootStatus {
        name: root.name.clone(),
        path: root.path.display().to_string(),
        state: State::Stalled,
        reason: format!(
            "{} has left a question open for more than {} s (is its disk full?); changes wait",
            root.to,
            REPORT_WITHIN.as_secs()
        ),
        lag_ms: 0,
        oldest_unstored_ms: 0,
        backlog_bytes: 0,
        backlog_files: 0,
        recovery_point: None,
        recovery_point_kind: None,
        consistent_point: None,
        consistent_at: None,
        stored_at: None,
        misses: 0,
        unprotected_since: None,
        scan_files: 0,
        files: 0,
        receiver: root.to.clone(),
        unreadable: Vec::new(),
        unreadable_count: 0,
    }
}

/// What only the switch knows.
fn finish_root(root: &mut RootStatus, switch: &SwitchState) {
    if switch.switch == Switch::Off {
        root.state = if switch.resumes_at.is_some() {
            State::Paused
        } else {
            State::Off
        };
        root.unprotected_since = Some(switch.since);
    }
}

/// The word for all: that of the root that is worst off. Without roots nothing is protected, and
/// nothing is wrong.
fn worst(switch: &SwitchState, roots: &[RootStatus]) -> State {
    if switch.switch == Switch::Off {
        return if switch.resumes_at.is_some() {
            State::Paused
        } else {
            State::Off
        };
    }
    let order = [
        State::Error,
        State::Stalled,
        State::Disconnected,
        State::InitialSync,
        State::Reconcile,
        State::Backlog,
        State::Degraded,
    ];
    let has = |state: &State| roots.iter().any(|root| root.state == *state);
    order.into_iter().find(has).unwrap_or(State::Continuous)
}

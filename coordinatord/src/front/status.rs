//! The status: the pipelines' reports, put together.

use std::time::Duration;

use everwrite_protocol::control::{
    Capture, EbpfCapture, RootStatus, ScanCapture, ShimCapture, State, Status, Switch, UplinkStatus,
};
use tokio::sync::oneshot;

use super::Front;
use crate::config::SwitchState;
use crate::pipeline::{Event, PipelineReport, Request};

/// A pipeline that compares a huge file may be slow to answer.
const REPORT_WITHIN: Duration = Duration::from_secs(10);

/// Reports that are on their way.
pub(super) struct Reports {
    switch: SwitchState,
    shim: ShimCapture,
    waiting: Vec<oneshot::Receiver<PipelineReport>>,
}

impl Front {
    /// Asks every pipeline how it stands; the answers are awaited elsewhere.
    pub(super) fn ask_reports(&mut self) -> Reports {
        let mut waiting = Vec::new();
        for pipeline in 0..self.pipelines.len() {
            let (reply, report) = oneshot::channel();
            self.outbox
                .push(pipeline, Event::Request(Request::Report(reply)));
            waiting.push(report);
        }
        Reports {
            switch: self.switch,
            shim: self.intake.statistics(),
            waiting,
        }
    }
}

impl Reports {
    /// Waits for all of them.
    pub(super) async fn status(self) -> Status {
        let mut reports = Vec::new();
        for report in self.waiting {
            if let Ok(Ok(report)) = tokio::time::timeout(REPORT_WITHIN, report).await {
                reports.push(report);
            }
        }
        status(&self.switch, self.shim, reports)
    }
}

fn status(switch: &SwitchState, shim: ShimCapture, reports: Vec<PipelineReport>) -> Status {
    let scan = ScanCapture {
        last_at: reports
            .iter()
            .filter_map(|report| report.scan.last_at)
            .min(),
        misses: reports.iter().map(|report| report.scan.misses).sum(),
    };
    let uplinks: Vec<UplinkStatus> = reports.iter().map(|report| report.uplink.clone()).collect();
    let mut roots: Vec<RootStatus> = reports
        .into_iter()
        .flat_map(|report| report.roots)
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
            ebpf: no_witness(),
            scan,
        },
        uplinks,
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

fn no_witness() -> EbpfCapture {
    EbpfCapture {
        state: "absent".to_owned(),
        reason: "this build has no eBPF witness: programs outside the shim are found by scans"
            .to_owned(),
        hints: 0,
        drops: 0,
    }
}

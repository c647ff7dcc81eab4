//! The coordinator: does it run, does it answer, what does it say.

use everwrite_protocol::control::{State, Status};

use super::Finding;
use crate::cli::context::Context;
use crate::cli::exit::Failure;
use crate::cli::shown;

pub(super) async fn look(context: &Context) -> Vec<Finding> {
    match context.daemon().get::<Status>("status").await {
        Ok(status) => told(&status),
        Err(error) => {
            let failure = Failure::from(error);
            vec![Finding::bad("coordinator", failure.message, failure.hint)]
        }
    }
}

fn told(status: &Status) -> Vec<Finding> {
    let since = shown::time(status.since);
    let mut findings = vec![match status.state {
        State::Continuous | State::InitialSync | State::Reconcile | State::Backlog => {
            Finding::good(
                "coordinator",
                format!("answers: {} since {since}", status.state),
            )
        }
        State::Off | State::Paused => Finding::bad(
            "coordinator",
            format!(
                "answers, but the switch is off: {} since {since}",
                status.state
            ),
            "`everwrite on`",
        ),
        state => Finding::bad(
            "coordinator",
            format!("answers: {state} since {since}{}", reasons(status)),
            "`everwrite status` tells more",
        ),
    }];
    findings.extend(status.roots.iter().filter(|root| root.unreadable_count > 0).map(|root| {
        Finding::bad(
            &format!("root {}", root.name),
            format!("{} paths could not be read", shown::count(root.unreadable_count)),
            "`everwrite status` lists them; give the coordinator's user the right to read them, \
             or exclude them",
        )
    }));
    findings
}

/// Why the roots are as they are, each reason once.
fn reasons(status: &Status) -> String {
    let mut reasons: Vec<_> = status
        .roots
        .iter()
        .map(|root| root.reason.as_str())
        .collect();
    reasons.retain(|reason| !reason.is_empty());
    reasons.dedup();
    if reasons.is_empty() {
        String::new()
    } else {
        format!(": {}", reasons.join("; "))
    }
}

#[cfg(test)]
mod tests {
    use everwrite_protocol::control::{Capture, Switch, UplinkStatus};
    use everwrite_protocol::ids::Timestamp;

    use super::super::Verdict;
    use super::*;

    #[test]
    fn the_state_decides() {
        let cases = [
            (State::Continuous, Verdict::Good),
            (State::Off, Verdict::Bad),
            (State::Disconnected, Verdict::Bad),
            (State::InitialSync, Verdict::Good),
        ];
        for (state, verdict) in cases {
            let status = Status {
                state,
                switch: Switch::On,
                since: Timestamp(0),
                resumes_at: None,
                roots: vec![],
                capture: Capture::default(),
                uplink: UplinkStatus::default(),
                uplinks: vec![],
                bursts: vec![],
            };
            assert_eq!(told(&status)[0].verdict, verdict, "{state}");
        }
    }
}

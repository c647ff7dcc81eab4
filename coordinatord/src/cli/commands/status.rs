//! `everwrite status [--watch]`.

use std::time::Duration;

use clap::Args;
use everwrite_protocol::control::{Capture, RootStatus, State, Status, Switch, UplinkStatus};
use everwrite_protocol::ids::Timestamp;

use crate::cli::bursts;
use crate::cli::context::Context;
use crate::cli::exit::{Exit, Failure};
use crate::cli::missed;
use crate::cli::output::print;
use crate::cli::shown;

/// What is going on. Exit code 0 only when there are roots and every one is CONTINUOUS.
#[derive(Args, Debug)]
pub(crate) struct StatusCommand {
    /// Show it again each second, until interrupted.
    #[arg(long)]
    watch: bool,
}

/// Pause between two pictures.
const PERIOD: Duration = Duration::from_secs(1);
/// Clears the terminal and goes to its top.
const CLEAR: &str = "\x1b[H\x1b[2J";

impl StatusCommand {
    pub(crate) async fn run(self, context: &Context) -> Result<Exit, Failure> {
        loop {
            let status: Status = context.daemon().get("status").await?;
            if self.watch && context.is_watched() {
                print(CLEAR)?;
            }
            context.answer(&status)?;
            context.say(render(&status, shown::now()))?;
            if !self.watch {
                return Ok(Exit::answer(is_continuous(&status)));
            }
            tokio::time::sleep(PERIOD).await;
        }
    }
}

/// No root is no protection.
fn is_continuous(status: &Status) -> bool {
    let all = status
        .roots
        .iter()
        .all(|root| root.state == State::Continuous);
    all && !status.roots.is_empty()
}

fn render(status: &Status, now: Timestamp) -> String {
    let mut lines = vec![headline(status, now)];
    lines.extend(status.bursts.iter().map(|burst| bursts::lines(burst, now)));
    lines.extend(status.roots.iter().map(|root| root_lines(root, now)));
    lines.push(capture_lines(&status.capture, now));
    lines.extend(status.uplinks.iter().map(uplink_line));
    lines.join("\n")
}

/// Without a root the state says nothing.
fn headline(status: &Status, now: Timestamp) -> String {
    if status.roots.is_empty() {
        return "no root is protected: `everwrite protect DIR`".to_owned();
    }
    let resumes = status
        .resumes_at
        .map(|at| format!(", on again at {}", shown::time(at)));
    format!(
        "{}{} since {} ({}){}",
        status.state,
        // The word may be younger than the switch's last turn.
        match status.switch {
            Switch::On => ", switched on",
            Switch::Off => "",
        },
        shown::time(status.since),
        shown::ago(status.since, now),
        resumes.unwrap_or_default()
    )
}

fn root_lines(root: &RootStatus, now: Timestamp) -> String {
    let mut lines = vec![format!(
        "\n{}  {} → {}  {}{}",
        root.name,
        shown::path(root.path.as_bytes()),
        root.receiver,
        root.state,
        parenthesis(&root.reason)
    )];
    if let Some(since) = root.unprotected_since {
        let ago = shown::ago(since, now);
        lines.push(format!(
            "  UNPROTECTED since {} ({ago})",
            shown::time(since)
        ));
    }
    lines.push(format!(
        "  lag {}   oldest unstored {}   backlog {} in {} files and names",
        shown::span_ms(root.lag_ms),
        shown::span_ms(root.oldest_unstored_ms),
        shown::bytes(root.backlog_bytes),
        shown::count(root.backlog_files)
    ));
    lines.push(format!("  recovery point {}", recovery_point(root, now)));
    lines.extend(consistent_point(root, now));
    let scanning = match root.scan_files {
        0 => String::new(),
        files => format!("   scan has looked at {}", shown::count(files)),
    };
    let (files, misses) = (shown::count(root.files), shown::count(root.misses));
    lines.push(format!("  files {files}   misses {misses}{scanning}"));
    lines.extend(unreadable_lines(root));
    lines.join("\n")
}

/// The last crash-consistent point, where that is not the last of all.
fn consistent_point(root: &RootStatus, now: Timestamp) -> Option<String> {
    let (point, at) = (root.consistent_point?, root.consistent_at?);
    let older = root.recovery_point != Some(point);
    older.then(|| {
        format!(
            "  last crash-consistent @{}, cut {} ({})",
            point.0,
            shown::time(at),
            shown::ago(at, now)
        )
    })
}

fn recovery_point(root: &RootStatus, now: Timestamp) -> String {
    match (
        root.recovery_point,
        &root.recovery_point_kind,
        root.stored_at,
    ) {
        (Some(point), Some(kind), Some(at)) => {
            format!(
                "@{} {kind}, cut {} ({})",
                point.0,
                shown::time(at),
                shown::ago(at, now)
            )
        }
        (Some(point), ..) => format!("@{}", point.0),
        (None, ..) => "none yet".to_owned(),
    }
}

fn unreadable_lines(root: &RootStatus) -> Vec<String> {
    let line = |path: &str, error: &str| {
        format!(
            "  could not be read: {}: {error}",
            shown::path(path.as_bytes())
        )
    };
    let mut lines: Vec<_> = root
        .unreadable
        .iter()
        .map(|entry| line(&entry.path, &entry.error))
        .collect();
    let unnamed = root.unreadable_count.saturating_sub(lines.len() as u64);
    if unnamed > 0 {
        lines.push(format!(
            "  could not be read: {} more",
            shown::count(unnamed)
        ));
    }
    lines
}

fn capture_lines(capture: &Capture, now: Timestamp) -> String {
    let shim = &capture.shim;
    let ebpf = &capture.ebpf;
    let names = &capture.names;
    let scan = &capture.scan;
    let last = scan
        .last_at
        .map_or_else(|| "none yet".to_owned(), |at| shown::ago(at, now));
    format!(
        "\ncapture  shim: {} processes, {} hints, {} lost\n         \
         eBPF: {}{}, {} hints, {} drops\n         \
         fanotify: {}{}, {} hints, {} overflows\n         scan: last {last}, {} misses\n         \
         {}{}",
        shown::count(shim.processes),
        shown::count(shim.hints),
        shown::count(shim.lost),
        ebpf.state,
        parenthesis(&ebpf.reason),
        shown::count(ebpf.hints),
        shown::count(ebpf.drops),
        names.state,
        parenthesis(&names.reason),
        shown::count(names.hints),
        shown::count(names.overflows),
        shown::count(scan.misses),
        missed::line(&capture.lately),
        gaps(capture.gaps),
    )
}

/// Only where there are any.
fn gaps(gaps: u64) -> String {
    match gaps {
        0 => String::new(),
        gaps => format!(
            "\n         gone before it was read: {} since start (everwrite coverage names them)",
            shown::count(gaps)
        ),
    }
}

fn uplink_line(uplink: &UplinkStatus) -> String {
    let connected = if uplink.connected {
        "connected"
    } else {
        "NOT CONNECTED"
    };
    format!(
        "uplink   {} {} {connected}{}, {} sent, {} batches stored, stored @{}, in the mirror @{}",
        uplink.receiver,
        shown::path(uplink.address.as_bytes()),
        parenthesis(&uplink.error),
        shown::bytes(uplink.bytes_sent),
        shown::count(uplink.batches_stored),
        uplink.stored.0,
        uplink.applied.0
    )
}

fn parenthesis(text: &str) -> String {
    match text {
        "" => String::new(),
        text => format!(" ({text})"),
    }
}

#[cfg(test)]
mod tests {
    use everwrite_protocol::control::Switch;
    use everwrite_protocol::ids::SequenceNumber;

    use super::*;

    fn root(name: &str, state: State) -> RootStatus {
        RootStatus {
            name: name.to_owned(),
            path: "/home/ann".to_owned(),
            state,
            reason: String::new(),
            lag_ms: 12,
            oldest_unstored_ms: 0,
            backlog_bytes: 0,
            backlog_files: 0,
            recovery_point: Some(SequenceNumber(7)),
            recovery_point_kind: Some("fuzzy".to_owned()),
            consistent_point: Some(SequenceNumber(5)),
            consistent_at: Some(Timestamp(0)),
            stored_at: Some(Timestamp(0)),
            misses: 0,
            unprotected_since: None,
            scan_files: 0,
            files: 1234,
            receiver: "attic".to_owned(),
            unreadable: vec![],
            unreadable_count: 0,
        }
    }

    fn status(roots: Vec<RootStatus>) -> Status {
        Status {
            state: State::Continuous,
            switch: Switch::On,
            since: Timestamp(0),
            resumes_at: None,
            roots,
            capture: Capture::default(),
            uplink: UplinkStatus::default(),
            uplinks: vec![],
            bursts: vec![],
        }
    }

    #[test]
    fn only_continuous_roots_are_a_yes() {
        let cases = [
            (vec![], false),
            (vec![State::Continuous], true),
            (vec![State::Continuous, State::Backlog], false),
            (vec![State::Off], false),
        ];
        for (states, expected) in cases {
            let roots = states.iter().map(|&state| root("r", state)).collect();
            assert_eq!(is_continuous(&status(roots)), expected, "{states:?}");
        }
    }

    #[test]
    fn no_root_is_not_continuous() {
        let text = render(&status(vec![]), Timestamp(0));
        assert!(
            text.starts_with("no root") && !text.contains("CONTINUOUS"),
            "{text}"
        );
    }

    #[test]
    fn people_see_state_lag_and_recovery_point() {
        let text = render(
            &status(vec![root("home", State::Continuous)]),
            Timestamp(2_000_000_000),
        );
        for part in [
            "home  /home/ann → attic  CONTINUOUS",
            "lag 12 ms",
            "@7 fuzzy",
            "last crash-consistent @5",
            "2.0 s ago",
        ] {
            assert!(text.contains(part), "{part} in\n{text}");
        }
    }

    #[test]
    fn what_is_wrong_cannot_be_overlooked() {
        let bad = RootStatus {
            reason: "directory is gone".to_owned(),
            unprotected_since: Some(Timestamp(0)),
            unreadable_count: 3,
            ..root("home", State::Error)
        };
        let text = render(&status(vec![bad]), Timestamp(0));
        for part in [
            "ERROR (directory is gone)",
            "UNPROTECTED since",
            "could not be read: 3 more",
        ] {
            assert!(text.contains(part), "{part} in\n{text}");
        }
    }
}

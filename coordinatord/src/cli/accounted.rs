//! What was announced by whom and what was missed, for people.

use everwrite_protocol::control::{Capture, CaptureGap, Changes, Miss, ProgramChanges};
use everwrite_protocol::ids::Timestamp;

use super::{missed, shown};

/// Programs that are named when not all are asked for.
const PROGRAMS_SHOWN: usize = 20;
/// The same for misses.
const MISSES_SHOWN: usize = 20;

/// What the coordinator says.
pub(super) struct Account<'a> {
    /// The sources.
    pub(super) capture: &'a Capture,
    /// Changes by program.
    pub(super) programs: &'a [ProgramChanges],
    /// The misses of the last day.
    pub(super) misses: &'a [Miss],
    /// The capture gaps of the last day.
    pub(super) gaps: &'a [CaptureGap],
}

/// All of it; the longest lists cut short unless `all` is asked for.
pub(super) fn lines(account: &Account<'_>, all: bool, now: Timestamp) -> String {
    let Account {
        capture,
        programs,
        misses,
        gaps,
    } = account;
    let (shim, ebpf) = (&capture.shim, &capture.ebpf);
    let mut lines = vec![
        format!(
            "\nsources  shim: {} hints   eBPF: {}, {} hints   changes since start: {}",
            shown::count(shim.hints),
            ebpf.state,
            shown::count(ebpf.hints),
            by_source(&capture.changes)
        ),
        format!("         {}", missed::line(&capture.lately)),
    ];
    let shown = |most| if all { usize::MAX } else { most };
    let named = programs.iter().take(shown(PROGRAMS_SHOWN));
    lines.extend(named.map(program));
    lines.extend(more(programs.len(), shown(PROGRAMS_SHOWN), "programs"));
    lines.extend((!misses.is_empty()).then(|| "missed in the last day".to_owned()));
    let named = misses.iter().take(shown(MISSES_SHOWN));
    lines.extend(named.map(|known| miss(known, now)));
    lines.extend(more(misses.len(), shown(MISSES_SHOWN), "misses"));
    lines.extend((!gaps.is_empty()).then(|| "gone before it was read, in the last day".to_owned()));
    let named = gaps.iter().take(shown(MISSES_SHOWN));
    lines.extend(named.map(|known| gap(known, now)));
    lines.extend(more(gaps.len(), shown(MISSES_SHOWN), "gaps"));
    lines.join("\n")
}

fn program(row: &ProgramChanges) -> String {
    let name = match row.program.as_str() {
        "" => "(found by a scan: nobody knows who)".to_owned(),
        name => shown::path(name.as_bytes()),
    };
    format!("         {name}: {}", by_source(&row.changes))
}

/// Only those sources that have anything to show for it.
fn by_source(changes: &Changes) -> String {
    let parts = [
        (changes.shim, "by the shim alone"),
        (changes.kernel, "by the kernel alone"),
        (changes.both, "by both"),
        (changes.missed, "missed"),
    ];
    let parts = parts.iter().filter(|part| part.0 > 0);
    let parts: Vec<_> = parts
        .map(|(changes, who)| format!("{} {who}", shown::count(*changes)))
        .collect();
    match parts.is_empty() {
        true => "none".to_owned(),
        false => parts.join(", "),
    }
}

fn miss(miss: &Miss, now: Timestamp) -> String {
    format!(
        "  {:>10}  {}  {}: {}",
        shown::ago(miss.at, now),
        shown::path(&miss.path.to_bytes().unwrap_or_default()),
        shown::bytes(miss.size),
        miss.suspicion()
    )
}

fn gap(gap: &CaptureGap, now: Timestamp) -> String {
    format!(
        "  {:>10}  {}: {}",
        shown::ago(gap.at, now),
        shown::path(&gap.path.to_bytes().unwrap_or_default()),
        gap.cause.told()
    )
}

fn more(all: usize, shown: usize, what: &str) -> Option<String> {
    let more = all.saturating_sub(shown);
    (more > 0).then(|| format!("  {} more {what} (--all)", shown::count(more as u64)))
}

#[cfg(test)]
mod tests {
    use everwrite_protocol::control::{GapCause, MissCause, PathText};

    use super::*;

    fn miss(number: u64) -> Miss {
        Miss {
            at: Timestamp(0),
            path: PathText::Text(format!("/r/file-{number}")),
            size: 10,
            cause: MissCause::Created,
            witness: false,
        }
    }

    #[test]
    fn people_see_sources_programs_and_misses() {
        let programs = [("/bin/a", 5, 0), ("", 0, 30)].map(|(program, shim, missed)| {
            let changes = Changes {
                shim,
                missed,
                ..Changes::default()
            };
            let program = program.to_owned();
            ProgramChanges { program, changes }
        });
        let misses: Vec<_> = (0..30).map(miss).collect();
        let gaps = [CaptureGap {
            at: Timestamp(1),
            path: PathText::from_bytes(b"/r/brief"),
            cause: GapCause::Died,
        }];
        let mut capture = Capture::default();
        (capture.changes.kernel, capture.changes.both) = (1234, 2);
        let account = Account {
            capture: &capture,
            programs: &programs,
            misses: &misses,
            gaps: &gaps,
        };
        let text = lines(&account, false, Timestamp(1));
        for part in [
            "1,234 by the kernel alone, 2 by both",
            "/bin/a: 5 by the shim alone",
            "nobody knows who): 30 missed",
            "/r/file-0  10 B: created, no shim told of it",
            "10 more misses (--all)",
            "/r/brief: removed or replaced before its last writes were read",
        ] {
            assert!(text.contains(part), "{part} in\n{text}");
        }
        assert!(lines(&account, true, Timestamp(1)).contains("file-29"));
    }
}

//! Restores: how far they are, what they did, why they did not.

use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use everwrite_protocol::control::PathText;
use everwrite_protocol::wire::CutKind;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;

use super::exit::{Exit, Failure};
use super::output::Output;
use super::shown;
use crate::restore::{
    Action, History, HistoryError, Progress, Report, RestoreError, RestorePlan, carry_out,
};

/// What could not be set is shown to people for so many paths.
const UNSET_SHOWN_MAX: usize = 20;

/// What `restore --json` answers.
#[derive(Serialize)]
pub struct Answer {
    to: PathText,
    point: u64,
    time: String,
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    steps: Option<Vec<StepRecord>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    done: Option<Done>,
    kept: Vec<PathText>,
}

#[derive(Serialize)]
struct StepRecord {
    action: &'static str,
    path: PathText,
}

#[derive(Serialize)]
struct Done {
    restored: u64,
    removed: u64,
    bytes_written: u64,
    unset: Vec<Unset>,
}

#[derive(Serialize)]
struct Unset {
    path: PathText,
    what: String,
}

impl Answer {
    /// Without a report nothing was done yet.
    pub fn new(plan: &RestorePlan, report: Option<Report>) -> Self {
        let text = |path: &Path| PathText::from_bytes(path.as_os_str().as_bytes());
        let steps = plan.steps.iter().map(|step| StepRecord {
            action: word(step.action),
            path: text(&plan.local(&step.relative)),
        });
        Self {
            to: text(&plan.base),
            point: plan.point.sequence.0,
            time: shown::rfc3339(plan.point.time),
            kind: plan.point.kind.name(),
            why: plan.point.kind.why().map(str::to_owned),
            steps: report.is_none().then(|| steps.collect()),
            kept: plan
                .kept
                .iter()
                .map(|path| text(&plan.local(path)))
                .collect(),
            done: report.map(|report| Done {
                restored: report.restored,
                removed: report.removed,
                bytes_written: report.bytes_written,
                unset: report
                    .unset
                    .into_iter()
                    .map(|(path, what)| Unset {
                        path: text(&path),
                        what,
                    })
                    .collect(),
            }),
        }
    }
}

/// What to do next, where that depends on the program.
#[derive(Clone, Copy, Debug)]
pub struct Hints {
    /// Where to find recovery points.
    pub points: &'static str,
    /// Where to find versions of a path.
    pub versions: &'static str,
    /// What to do when something is in the way.
    pub in_the_way: &'static str,
}

/// How far a restore is, on a terminal.
pub fn bar(output: Output) -> ProgressBar {
    let target = match output.json {
        true => ProgressDrawTarget::hidden(),
        false => ProgressDrawTarget::stderr(),
    };
    let template = "{bar:30} {binary_bytes}/{binary_total_bytes}  {binary_bytes_per_sec}  {msg}";
    let style = ProgressStyle::with_template(template);
    ProgressBar::with_draw_target(Some(0), target)
        .with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

/// Carries out `plan`, telling `progress`.
pub fn watched(
    plan: &RestorePlan,
    history: &impl History,
    progress: &ProgressBar,
) -> Result<Report, RestoreError> {
    progress.set_length(plan.bytes());
    let (steps, files) = (plan.steps.len() as u64, plan.files());
    let mut tell = |now: Progress| {
        progress.set_position(now.bytes);
        progress.set_message(match now.read_back {
            0 => format!("{} of {steps} paths", now.steps),
            read_back => format!("{read_back} of {files} files read back"),
        });
    };
    carry_out(plan, history, &mut tell)
}

/// What was done, or would be, for people.
pub fn say(output: Output, plan: &RestorePlan, report: Option<&Report>) -> Result<(), Failure> {
    if plan.point.kind == CutKind::Partial {
        output.note(format_args!(
            "@{} is part of a first copy or a reconcile: not a state that the source ever had",
            plan.point.sequence.0
        ));
    }
    if !plan.point.kind.is_consistent() && plan.point.kind != CutKind::Partial {
        let why = plan.point.kind.why().unwrap_or("files were changing");
        output.note(format_args!(
            "@{} is fuzzy ({}): files may be from slightly different moments",
            plan.point.sequence.0,
            shown::path(why.as_bytes())
        ));
    }
    match report {
        None => say_plan(output, plan)?,
        Some(report) => say_done(output, plan, report)?,
    }
    match plan.kept.len() {
        0 => Ok(()),
        count => output.say(format_args!(
            "{count} paths were not there then and are kept; --delete removes them"
        )),
    }
}

fn say_plan(output: Output, plan: &RestorePlan) -> Result<(), Failure> {
    for step in &plan.steps {
        let path = plan.local(&step.relative);
        output.say(format_args!("{:<8}{}", word(step.action), printed(&path)))?;
    }
    output.say(format_args!(
        "{} paths, {} files with {}, as of {} (@{}); nothing was done",
        shown::count(plan.steps.len() as u64),
        shown::count(plan.files()),
        shown::bytes(plan.bytes()),
        shown::cut_time(plan.point.time),
        plan.point.sequence.0
    ))
}

fn say_done(output: Output, plan: &RestorePlan, report: &Report) -> Result<(), Failure> {
    let top = plan.steps.first().map(|step| plan.local(&step.relative));
    let removed = match report.removed {
        0 => String::new(),
        count => format!(", {} removed", shown::count(count)),
    };
    output.say(format_args!(
        "{} paths as of {} (@{}, {}), {} written{removed}: {}",
        shown::count(report.restored),
        shown::cut_time(plan.point.time),
        plan.point.sequence.0,
        plan.point.kind.name(),
        shown::bytes(report.bytes_written),
        printed(&top.unwrap_or_else(|| plan.base.clone()))
    ))?;
    for (path, what) in report.unset.iter().take(UNSET_SHOWN_MAX) {
        output.note(format_args!(
            "could not be set on {}: {what}",
            printed(path)
        ));
    }
    if report.unset.len() > UNSET_SHOWN_MAX {
        let more = report.unset.len() - UNSET_SHOWN_MAX;
        output.note(format_args!(
            "and on {more} more (--json lists all); try as root"
        ));
    }
    Ok(())
}

fn printed(path: &Path) -> String {
    shown::path(path.as_os_str().as_bytes())
}

fn word(action: Action) -> &'static str {
    match action {
        Action::Create => "create",
        Action::Update => "update",
        Action::Replace => "replace",
        Action::Link { .. } => "link",
        Action::Remove => "remove",
    }
}

/// A directory here that nobody uses: `restored-NAME-TIME`.
pub fn new_directory(path: &[u8]) -> PathBuf {
    let name = path.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
    let name: String = shown::path(name).chars().take(100).collect();
    let now = jiff::Zoned::now().strftime("%Y%m%d-%H%M%S").to_string();
    let free = |number: u32| {
        let suffix = if number == 1 {
            String::new()
        } else {
            format!("-{number}")
        };
        PathBuf::from(format!("restored-{name}-{now}{suffix}"))
    };
    let mut names = (1..u32::MAX)
        .map(free)
        .filter(|path| path.symlink_metadata().is_err());
    names.next().unwrap_or_else(|| free(0))
}

/// Why a restore was not done, for people.
pub fn failed(error: &RestoreError, hints: &Hints) -> Failure {
    let (exit, hint) = match error {
        RestoreError::History(HistoryError::Unreachable(_)) => (
            Exit::Unreachable,
            "repeat the command when the receiver answers: it goes on from there",
        ),
        RestoreError::History(_) => (Exit::Negative, hints.points),
        RestoreError::NotStored { .. } => (Exit::Negative, hints.versions),
        RestoreError::InTheWay { .. } => (Exit::Refused, hints.in_the_way),
        RestoreError::Unfinished { .. } => (
            Exit::Refused,
            "finish that one by the same command, or remove what it left",
        ),
        RestoreError::Local { .. } => {
            (Exit::Negative, "mend it and repeat the command: it goes on")
        }
        RestoreError::ReadBack { .. } => (Exit::Negative, "look at the disk, then repeat"),
    };
    let mut message = format!("restore: {error}");
    if let RestoreError::InTheWay { in_the_way } = error
        && in_the_way.len() > 1
    {
        message += &format!(", and {} more", shown::count(in_the_way.len() as u64 - 1));
    }
    Failure::new(exit, message, hint)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HINTS: Hints = Hints {
        points: "",
        versions: "",
        in_the_way: "",
    };

    #[test]
    fn what_is_in_the_way_is_a_refusal() {
        let error = RestoreError::InTheWay {
            in_the_way: vec!["/a".into(), "/b".into()],
        };
        let failure = failed(&error, &HINTS);
        assert_eq!(failure.exit, Exit::Refused);
        assert!(
            failure.message.contains("/a is in the way, and 1 more"),
            "{}",
            failure.message
        );
        let gone = HistoryError::Unreachable("attic: gone".to_owned()).into();
        assert_eq!(failed(&gone, &HINTS).exit, Exit::Unreachable);
    }
}

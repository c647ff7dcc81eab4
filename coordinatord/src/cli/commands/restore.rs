//! `everwrite restore PATH --at TIME`.

use std::path::{Path, PathBuf};

use clap::Args;
use everwrite_protocol::control::{ANNOUNCED_PATHS_MAX, AnnounceRequest, PathText};
use everwrite_protocol::wire::CutKind;
use everwrite_receiver::restore::{
    Action, Destination, Progress, Report, RestoreError, RestorePlan, RestoreRequest, carry_out,
};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;
use std::os::unix::ffi::OsStrExt;

use crate::cli::archive::Archive;
use crate::cli::context::Context;
use crate::cli::exit::{Exit, Failure};
use crate::cli::moment::{self, Moment};
use crate::cli::place::{Place, local_path};
use crate::cli::remote_history::{RemoteHistory, failed};
use crate::cli::shown;
use crate::config::Config;
use crate::control::ClientError;

/// Bring a file or a tree back as it was. Never overwrites anything without --in-place.
#[derive(Args, Debug)]
pub(crate) struct Restore {
    /// Local path, or ROOT:path.
    path: PathBuf,
    /// As of when: RFC 3339, `10m ago`, `yesterday 14:00`, @POINT or a checkpoint.
    #[arg(long, value_name = "TIME", value_parser = moment::parse)]
    at: Moment,
    /// Into this directory, under its own name; a new directory here when not given.
    #[arg(long, value_name = "DIR", conflicts_with = "in_place")]
    to: Option<PathBuf>,
    /// To where it was, over what is there now.
    #[arg(long)]
    in_place: bool,
    /// With --in-place: also remove what was not there then, as far as the history has it.
    #[arg(long, requires = "in_place")]
    delete: bool,
    /// Only say what would be done.
    #[arg(long)]
    dry_run: bool,
}

/// What could not be set is shown to people for so many paths.
const UNSET_SHOWN_MAX: usize = 20;

/// `--json`.
#[derive(Serialize)]
struct Answer {
    to: PathText,
    point: u64,
    time: String,
    kind: &'static str,
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

impl Restore {
    pub(crate) async fn run(self, context: &Context) -> Result<Exit, Failure> {
        let config = context.config()?;
        let place =
            Place::find(Some(&self.path), &config).map_err(|failure| self.named(failure))?;
        let archive = Archive::of(context, &config, &place).await?;
        let request = RestoreRequest {
            at: self.at.at(),
            to: self.destination(&place, &config)?,
            path: place.path,
        };
        let (history, progress) = (RemoteHistory::new(archive), bar(context));
        let dry_run = self.dry_run;
        // Restoring blocks: on the disk, and on each answer.
        let work = tokio::task::spawn_blocking(move || {
            let plan = RestorePlan::make(&history, &request)?;
            let report = match dry_run {
                true => None,
                false => Some(watched(&plan, &history, &progress)?),
            };
            progress.finish_and_clear();
            Ok::<_, RestoreError>((plan, report))
        });
        let (plan, report) = work
            .await
            .map_err(|error| Failure::negative(format!("restore: {error}"), ""))?
            .map_err(|error| failed(&error))?;
        if let Some(report) = report.as_ref().filter(|_| self.in_place) {
            announce(context, report).await;
        }
        say(context, &plan, report.as_ref())?;
        context.answer(&answer(&plan, report))?;
        Ok(Exit::Done)
    }

    /// An error about the path, with the moment that was asked for beside it.
    fn named(&self, failure: Failure) -> Failure {
        let message = format!("restore as of {}: {}", self.at, failure.message);
        Failure { message, ..failure }
    }

    fn destination(&self, place: &Place, config: &Config) -> Result<Destination, Failure> {
        if !self.in_place {
            return Ok(Destination::Into(self.directory(&place.path)?));
        }
        let root = place.root().unwrap_or_default();
        let root = local_path(root, config).ok_or_else(|| {
            Failure::usage(
                format!(
                    "{} is not protected now, so it has no place",
                    shown::path(root)
                ),
                "restore it --to a directory",
            )
        })?;
        Ok(Destination::InPlace {
            root,
            delete: self.delete,
        })
    }

    /// The one that was given, or a new one that nobody uses.
    fn directory(&self, path: &[u8]) -> Result<PathBuf, Failure> {
        let to = match &self.to {
            Some(to) => to.clone(),
            None => new_directory(path),
        };
        std::path::absolute(&to).map_err(|error| {
            Failure::negative(format!("working directory: {error}"), "give one with --to")
        })
    }
}

/// Tells a running coordinator what was changed behind the shim's back. Without one it is found when
/// the next one starts.
async fn announce(context: &Context, report: &Report) {
    let daemon = context.daemon();
    for changed in report.changed.chunks(ANNOUNCED_PATHS_MAX) {
        let text = |path: &PathBuf| PathText::from_bytes(path.as_os_str().as_bytes());
        let paths = changed.iter().map(text).collect();
        match daemon
            .post::<()>("announce", &AnnounceRequest { paths })
            .await
        {
            Ok(()) => {}
            Err(ClientError::Unreachable { .. }) => return,
            Err(error) => {
                context.note(format_args!(
                    "{error}; `everwrite reconcile` finds what was restored"
                ));
                return;
            }
        }
    }
}

/// `restored-NAME-TIME` here.
fn new_directory(path: &[u8]) -> PathBuf {
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

fn bar(context: &Context) -> ProgressBar {
    let target = match context.json {
        true => ProgressDrawTarget::hidden(),
        false => ProgressDrawTarget::stderr(),
    };
    let template = "{bar:30} {binary_bytes}/{binary_total_bytes}  {binary_bytes_per_sec}  {msg}";
    let style = ProgressStyle::with_template(template);
    ProgressBar::with_draw_target(Some(0), target)
        .with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

fn watched(
    plan: &RestorePlan,
    history: &RemoteHistory,
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

fn say(context: &Context, plan: &RestorePlan, report: Option<&Report>) -> Result<(), Failure> {
    if plan.point.kind == CutKind::Partial {
        context.note(format_args!(
            "@{} is part of a first copy or a reconcile: not a state that the source ever had",
            plan.point.sequence.0
        ));
    }
    match report {
        None => say_plan(context, plan)?,
        Some(report) => say_done(context, plan, report)?,
    }
    match plan.kept.len() {
        0 => Ok(()),
        count => context.say(format_args!(
            "{count} paths were not there then and are kept; --delete removes them"
        )),
    }
}

fn say_plan(context: &Context, plan: &RestorePlan) -> Result<(), Failure> {
    for step in &plan.steps {
        let path = plan.local(&step.relative);
        context.say(format_args!("{:<8}{}", word(step.action), printed(&path)))?;
    }
    context.say(format_args!(
        "{} paths, {} files with {}, as of {} (@{}); nothing was done",
        shown::count(plan.steps.len() as u64),
        shown::count(plan.files()),
        shown::bytes(plan.bytes()),
        shown::cut_time(plan.point.time),
        plan.point.sequence.0
    ))
}

fn say_done(context: &Context, plan: &RestorePlan, report: &Report) -> Result<(), Failure> {
    let top = plan.steps.first().map(|step| plan.local(&step.relative));
    let removed = match report.removed {
        0 => String::new(),
        count => format!(", {} removed", shown::count(count)),
    };
    context.say(format_args!(
        "{} paths as of {} (@{}, {}), {} written{removed}: {}",
        shown::count(report.restored),
        shown::cut_time(plan.point.time),
        plan.point.sequence.0,
        shown::cut_kind(plan.point.kind),
        shown::bytes(report.bytes_written),
        printed(&top.unwrap_or_else(|| plan.base.clone()))
    ))?;
    for (path, what) in report.unset.iter().take(UNSET_SHOWN_MAX) {
        context.note(format_args!(
            "could not be set on {}: {what}",
            printed(path)
        ));
    }
    if report.unset.len() > UNSET_SHOWN_MAX {
        let more = report.unset.len() - UNSET_SHOWN_MAX;
        context.note(format_args!(
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

fn answer(plan: &RestorePlan, report: Option<Report>) -> Answer {
    let text = |path: &Path| PathText::from_bytes(path.as_os_str().as_bytes());
    let steps = plan.steps.iter().map(|step| StepRecord {
        action: word(step.action),
        path: text(&plan.local(&step.relative)),
    });
    Answer {
        to: text(&plan.base),
        point: plan.point.sequence.0,
        time: shown::rfc3339(plan.point.time),
        kind: shown::cut_kind(plan.point.kind),
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

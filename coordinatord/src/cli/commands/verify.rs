//! `everwrite verify [PATH]`.

use std::path::PathBuf;

use clap::Args;
use everwrite_protocol::control::{PathText, SyncAnswer, SyncRequest};
use everwrite_protocol::ids::SequenceNumber;
use everwrite_protocol::wire::At;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;

use crate::cli::archive::{Archive, child};
use crate::cli::context::Context;
use crate::cli::exit::{Exit, Failure};
use crate::cli::place::Place;
use crate::cli::shown;
use crate::cli::verification::{CHANGING, Difference, Outcome, Subject, compare};
use crate::config::{Config, Root};
use crate::control::ClientError;
use crate::exclude::Excludes;
use crate::look::Accounts;

/// Compare source and mirror by digest, without a full transfer. Exit code 1: they differ.
#[derive(Args, Debug)]
pub(crate) struct Verify {
    /// Local path; all roots when not given.
    path: Option<PathBuf>,
}

/// How often what differs is looked at again, each time after a barrier.
const ROUNDS: usize = 6;
/// How long one barrier may take.
const BARRIER_MS: u64 = 60_000;

/// `--json`.
#[derive(Serialize, Default)]
struct Answer {
    compared: u64,
    bytes: u64,
    differences: Vec<Finding>,
    unreadable: Vec<Finding>,
    changing: Vec<Finding>,
}

#[derive(Serialize)]
struct Finding {
    path: PathText,
    what: String,
}

impl Verify {
    pub(crate) async fn run(self, context: &Context) -> Result<Exit, Failure> {
        let config = context.config()?;
        let place = Place::find(self.path.as_deref(), &config)?;
        let mut answer = Answer::default();
        for root in roots(&place, &config)? {
            let below = place.below_root();
            let outcome = verify(context, &config, root, below).await?;
            answer.add(root, outcome);
        }
        answer.say(context)?;
        context.answer(&answer)?;
        Ok(Exit::answer(
            answer.differences.is_empty() && answer.unreadable.is_empty(),
        ))
    }
}

/// The roots that are meant; they must be protected now, or there is nothing to compare with.
fn roots<'c>(place: &Place, config: &'c Config) -> Result<Vec<&'c Root>, Failure> {
    let roots: Vec<_> = match place.root() {
        None => config.roots.iter().collect(),
        Some(name) => config
            .roots
            .iter()
            .filter(|root| root.name.as_bytes() == name)
            .collect(),
    };
    match roots.is_empty() {
        true => Err(Failure::usage(
            "no such root is protected now",
            "see `everwrite status`",
        )),
        false => Ok(roots),
    }
}

async fn verify(
    context: &Context,
    config: &Config,
    root: &Root,
    below: Vec<u8>,
) -> Result<Outcome, Failure> {
    let subject = subject(context, config, root)?;
    // A receiver that can't be reached is told at once, not after a barrier that can't pass.
    subject.archive.resolve(At::Newest).await?;
    let progress = spinner(context, &root.name);
    let tell = |count: u64| progress.set_position(count);
    let mut at = barrier(context, &subject).await?;
    let mut outcome = compare(&subject, &[(below, true)], at.point, &tell).await?;
    for _ in 1..ROUNDS {
        if outcome.differences.is_empty() || !at.is_barrier {
            break;
        }
        at = barrier(context, &subject).await?;
        let again = outcome
            .differences
            .into_iter()
            .map(|(path, how)| (path, how.deep));
        let again: Vec<_> = again.collect();
        let second = compare(&subject, &again, at.point, &|_| {}).await?;
        outcome.differences = second.differences;
        outcome.unreadable.extend(second.unreadable);
        outcome.bytes += second.bytes;
    }
    progress.finish_and_clear();
    Ok(outcome)
}

fn subject(context: &Context, config: &Config, root: &Root) -> Result<Subject, Failure> {
    let receiver = config.receiver(&root.to).ok_or_else(|| {
        Failure::usage(
            format!("root {} goes to no receiver that is paired", root.name),
            "",
        )
    })?;
    let mut excludes = Excludes::new(root, config, &context.paths.own_directories());
    for warning in excludes.reload().warnings {
        context.note(warning);
    }
    let mut accounts = Accounts::default();
    accounts.refresh();
    Ok(Subject {
        archive: Archive::open(context, receiver)?,
        directory: root.path.clone(),
        root: root.name.clone().into_bytes(),
        excludes,
        accounts,
    })
}

/// A recovery point to compare with.
struct Comparable {
    point: SequenceNumber,
    /// All that changed before is in it.
    is_barrier: bool,
}

/// Everything that changed so far into the mirror, if a coordinator runs; otherwise what there is.
async fn barrier(context: &Context, subject: &Subject) -> Result<Comparable, Failure> {
    let request = SyncRequest {
        applied: true,
        timeout_ms: BARRIER_MS,
        checkpoint: None,
    };
    let why = match context.daemon().post::<SyncAnswer>("sync", &request).await {
        Ok(answer) => {
            let of = |point: &&everwrite_protocol::control::SyncPoint| {
                point.receiver == subject.archive.receiver
            };
            if let Some(point) = answer.points.iter().find(of) {
                return Ok(Comparable {
                    point: point.stored,
                    is_barrier: true,
                });
            }
            "the coordinator does not know the receiver".to_owned()
        }
        Err(ClientError::Unreachable { .. }) => "no coordinator is running".to_owned(),
        Err(error) => error.to_string(),
    };
    context.note(format_args!(
        "{why}: the newest recovery point is compared, what changed since shows as a difference"
    ));
    let point = subject.archive.resolve(At::Newest).await?.sequence;
    Ok(Comparable {
        point,
        is_barrier: false,
    })
}

fn spinner(context: &Context, root: &str) -> ProgressBar {
    let target = match context.json {
        true => ProgressDrawTarget::hidden(),
        false => ProgressDrawTarget::stderr(),
    };
    let style = ProgressStyle::with_template("{spinner} {msg}: {human_pos} compared");
    ProgressBar::with_draw_target(None, target)
        .with_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()))
        .with_message(root.to_owned())
}

impl Answer {
    fn add(&mut self, root: &Root, outcome: Outcome) {
        let finding = |path: Vec<u8>, what: String| Finding {
            path: PathText::from_bytes(&full(root, &path)),
            what,
        };
        self.compared += outcome.compared;
        self.bytes += outcome.bytes;
        for (path, Difference { how, .. }) in outcome.differences {
            match how.as_str() {
                CHANGING => self.changing.push(finding(path, how)),
                _ => self.differences.push(finding(path, how)),
            }
        }
        let unreadable = outcome.unreadable.into_iter();
        self.unreadable
            .extend(unreadable.map(|(path, error)| finding(path, error)));
    }

    fn say(&self, context: &Context) -> Result<(), Failure> {
        context.say(format_args!(
            "compared {} files and directories, {} of content: {} differences",
            shown::count(self.compared),
            shown::bytes(self.bytes),
            shown::count(self.differences.len() as u64)
        ))?;
        let kinds = [
            ("differs", &self.differences),
            ("could not be read", &self.unreadable),
            ("kept changing, so it could not be compared", &self.changing),
        ];
        for (word, findings) in kinds {
            for finding in findings {
                let path = shown::path(&finding.path.to_bytes().unwrap_or_default());
                context.say(format_args!("  {path}: {word} ({})", finding.what))?;
            }
        }
        Ok(())
    }
}

fn full(root: &Root, path: &[u8]) -> Vec<u8> {
    use std::os::unix::ffi::OsStrExt;
    match path {
        b"" => root.path.as_os_str().as_bytes().to_owned(),
        path => child(root.path.as_os_str().as_bytes(), path),
    }
}

//! `everwrite restore PATH --at TIME`.

use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use clap::Args;
use everwrite_protocol::control::{ANNOUNCED_PATHS_MAX, AnnounceRequest, PathText};
use everwrite_receiver::answers::restored::{self, Answer};
use everwrite_receiver::restore::{Destination, Report, RestoreError, RestorePlan, RestoreRequest};

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
    /// The newest recovery point not after that time, even if files were changing while it was read and there
    /// is a crash-consistent one just before it.
    #[arg(long)]
    exact: bool,
    /// Only say what would be done.
    #[arg(long)]
    dry_run: bool,
}

impl Restore {
    pub(crate) async fn run(self, context: &Context) -> Result<Exit, Failure> {
        let config = context.config()?;
        let place =
            Place::find(Some(&self.path), &config).map_err(|failure| self.named(failure))?;
        let archive = Archive::of(context, &config, &place).await?;
        let request = RestoreRequest {
            at: self.at.to_restore(self.exact),
            to: self.destination(&place, &config)?,
            path: place.path,
        };
        let (history, progress) = (RemoteHistory::new(archive), restored::bar(context.output()));
        let dry_run = self.dry_run;
        // Restoring blocks: on the disk, and on each answer.
        let work = tokio::task::spawn_blocking(move || {
            let plan = RestorePlan::make(&history, &request)?;
            let report = match dry_run {
                true => None,
                false => Some(restored::watched(&plan, &history, &progress)?),
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
        restored::say(context.output(), &plan, report.as_ref())?;
        context.answer(&Answer::new(&plan, report))?;
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
            None => restored::new_directory(path),
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

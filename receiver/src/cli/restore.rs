//! `everwrite-receiver restore PATH --at TIME`.

use std::path::{Path, PathBuf};

use clap::Args;

use super::archive::Archive;
use super::place;
use super::store::SourceOptions;
use crate::answers::exit::{Exit, Failure};
use crate::answers::moment::{self, Moment};
use crate::answers::restored::{self, Answer, Hints};
use crate::restore::{Destination, Report, RestoreError, RestorePlan, RestoreRequest};

/// Bring a file or a tree back as it was. Never overwrites anything
#[derive(Args, Debug)]
pub(super) struct Restore {
    /// ROOT/a/b
    path: PathBuf,
    /// As of when: RFC 3339, `10m ago`, `yesterday 14:00`, @POINT or a checkpoint
    #[arg(long, value_name = "TIME", value_parser = moment::parse)]
    at: Moment,
    /// Into this directory, under its own name; a new directory here when not given
    #[arg(long, value_name = "DIR")]
    to: Option<PathBuf>,
    /// The newest recovery point not after that time, even if files were changing while it was read and there
    /// is a crash-consistent one just before it.
    #[arg(long)]
    exact: bool,
    /// Only say what would be done
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    pub(super) source: SourceOptions,
}

const HINTS: Hints = Hints {
    points: "`everwrite-receiver log` shows the recovery points that changed something",
    versions: "`everwrite-receiver log PATH` shows when it was there",
    in_the_way: "nothing was overwritten: restore --to another directory",
};

impl Restore {
    pub(super) fn run(self) -> Result<Exit, Failure> {
        let path = place::parse(Some(&self.path))?;
        if path.is_empty() {
            return Err(Failure::usage(
                "restore: one root at a time",
                "`everwrite-receiver ls` lists the roots",
            ));
        }
        let to = self.directory(&path)?;
        self.refuse_store(&to)?;
        let archive = Archive::open(&self.source)?;
        let request = RestoreRequest {
            path,
            at: self.at.to_restore(self.exact),
            to: Destination::Into(to),
        };
        let (plan, report) = self
            .restore(&archive, &request)
            .map_err(|error| self.named(&error))?;
        let output = self.source.output();
        restored::say(output, &plan, report.as_ref())?;
        output.answer(&Answer::new(&plan, report))?;
        Ok(Exit::Done)
    }

    fn restore(
        &self,
        archive: &Archive,
        request: &RestoreRequest,
    ) -> Result<(RestorePlan, Option<Report>), RestoreError> {
        let plan = RestorePlan::make(archive.history(), request)?;
        let progress = restored::bar(self.source.output());
        let report = match self.dry_run {
            true => None,
            false => Some(restored::watched(&plan, archive.history(), &progress)?),
        };
        progress.finish_and_clear();
        Ok((plan, report))
    }

    fn named(&self, error: &RestoreError) -> Failure {
        let failure = restored::failed(error, &HINTS);
        Failure {
            message: format!("as of {}: {}", self.at, failure.message),
            ..failure
        }
    }

    /// The one that was given, or a new one that nobody uses.
    fn directory(&self, path: &[u8]) -> Result<PathBuf, Failure> {
        let to = self
            .to
            .clone()
            .unwrap_or_else(|| restored::new_directory(path));
        std::path::absolute(&to).map_err(|error| {
            Failure::negative(format!("working directory: {error}"), "give one with --to")
        })
    }

    /// A store that restores into itself would be changed behind its catalog's back.
    fn refuse_store(&self, to: &Path) -> Result<(), Failure> {
        let store = self.source.directory();
        let Ok(store) = store.canonicalize() else {
            return Ok(());
        };
        let existing = to.ancestors().find_map(|above| above.canonicalize().ok());
        match existing.is_some_and(|existing| existing.starts_with(&store)) {
            true => Err(Failure::new(
                Exit::Refused,
                format!("{} is inside the store {}", to.display(), store.display()),
                "restore --to a directory outside of it",
            )),
            false => Ok(()),
        }
    }
}

//! `everwrite-receiver mirror --source S --root R`.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use clap::Args;
use everwrite_protocol::control::PathText;
use everwrite_protocol::wire::At;
use serde::Serialize;

use super::archive::Archive;
use super::place;
use super::store::SourceOptions;
use crate::answers::exit::{Exit, Failure};
use crate::answers::output::local_failed;
use crate::answers::shown;

/// Print where the plain files of a root are, as of the newest recovery point. Only to be read
#[derive(Args, Debug)]
pub(super) struct Mirror {
    /// The root's name
    #[arg(long, value_name = "ROOT")]
    root: PathBuf,
    #[command(flatten)]
    pub(super) source: SourceOptions,
}

/// `--json`.
#[derive(Serialize)]
struct Place {
    path: PathText,
    /// The recovery point that it was at when this was printed.
    point: u64,
    time: String,
}

impl Mirror {
    pub(super) fn run(self) -> Result<Exit, Failure> {
        let root = place::parse(Some(&self.root))?;
        if root.is_empty() || root.contains(&b'/') {
            return Err(Failure::usage(
                format!("{}: not the name of a root", self.root.display()),
                "`everwrite-receiver ls` lists the roots",
            ));
        }
        let archive = Archive::open(&self.source)?;
        let point = archive.resolve(At::Newest)?;
        archive.existing(&root, &point)?;
        let path = archive.layout.mirror().join(OsStr::from_bytes(&root));
        let path = absolute(&path)?;
        let output = self.source.output();
        output.say(path.display())?;
        output.answer(&Place {
            path: PathText::from_bytes(path.as_os_str().as_bytes()),
            point: point.sequence.0,
            time: shown::rfc3339(point.time),
        })?;
        Ok(Exit::Done)
    }
}

fn absolute(path: &Path) -> Result<PathBuf, Failure> {
    std::path::absolute(path).map_err(|error| local_failed("find", path, &error))
}

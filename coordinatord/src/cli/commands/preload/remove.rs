//! `everwrite preload remove`.

use std::path::{Path, PathBuf};

use clap::Args;
use serde::Serialize;

use super::{failed, rescue};
use crate::cli::context::Context;
use crate::cli::exit::{Exit, Failure};
use crate::cli::preloading::line_file::{self, LineFile};
use crate::cli::preloading::root::Root;
use crate::cli::preloading::{LINE_FILE, lines, place};

/// Take the line out of /etc/ld.so.preload, then remove the libraries.
///
/// Needs neither a coordinator nor a sound library. Programs that run keep what they have until they
/// end.
#[derive(Args, Debug)]
pub(super) struct Remove {}

/// What was done.
#[derive(Serialize)]
struct Answer {
    file: PathBuf,
    changed: bool,
}

impl Remove {
    pub(super) fn run(self, context: &Context, root: &Root) -> Result<Exit, Failure> {
        let answer = take_line_out(root)?;
        let cleared = remove_script(root).and_then(|()| place::clear(root));
        let directory = PathBuf::from(root.shown(Path::new(place::DIRECTORY)));
        cleared.map_err(|error| failed("remove libraries in", &directory, &error))?;
        context.answer(&answer)?;
        let file = answer.file.display();
        context.say(match answer.changed {
            true => format!("{file} has no line of ours any more; the libraries are removed"),
            false => format!("{file} had no line of ours"),
        })?;
        Ok(Exit::Done)
    }
}

fn take_line_out(root: &Root) -> Result<Answer, Failure> {
    let shown = PathBuf::from(root.shown(Path::new(LINE_FILE)));
    let taken = LineFile::of(root).and_then(|file| {
        let before = file.read()?;
        let after = lines::without(&before);
        let changed = before != after;
        if changed {
            file.replace_anyhow(&after)?;
        }
        Ok(Answer {
            file: file.path().to_owned(),
            changed,
        })
    });
    taken.map_err(|error| failed("take a line out of", &shown, &error))
}

fn remove_script(root: &Root) -> std::io::Result<()> {
    match root.existing(&Path::new(place::DIRECTORY).join(rescue::FILE_NAME)) {
        Ok(script) => line_file::remove(&script),
        Err(_) => Ok(()),
    }
}

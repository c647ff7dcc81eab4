//! `everwrite preload status`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use clap::Args;
use serde::Serialize;

use super::failed;
use crate::cli::context::Context;
use crate::cli::exit::{Exit, Failure};
use crate::cli::preloading::LINE_FILE;
use crate::cli::preloading::processes::{self, Process, Sight};
use crate::cli::preloading::root::Root;
use crate::cli::preloading::standing::Standing;
use crate::cli::shown;

/// Which running programs have the shim, and which need a restart. Exit code 1: it is not in place.
#[derive(Args, Debug)]
pub(super) struct PreloadStatus {
    /// Name each process, also those with the shim.
    #[arg(long)]
    all: bool,
}

/// How it stands.
#[derive(Serialize)]
struct Answer {
    #[serde(flatten)]
    standing: Standing,
    /// How many processes there are of each kind.
    counts: BTreeMap<Sight, usize>,
    processes: Vec<Process>,
}

impl PreloadStatus {
    pub(super) fn run(self, context: &Context, root: &Root) -> Result<Exit, Failure> {
        let answer = look(root)?;
        context.answer(&answer)?;
        self.tell(context, root, &answer)?;
        Ok(Exit::answer(answer.standing.in_place))
    }

    fn tell(&self, context: &Context, root: &Root, answer: &Answer) -> Result<(), Failure> {
        context.say(headline(root, &answer.standing))?;
        for (sight, count) in &answer.counts {
            context.say(format_args!(
                "{:>7}  {}",
                shown::count(*count as u64),
                sight.told()
            ))?;
        }
        let named = |process: &&Process| self.all || process.sight.needs_restart();
        for process in answer.processes.iter().filter(named) {
            context.say(process_line(process))?;
        }
        Ok(())
    }
}

fn headline(root: &Root, standing: &Standing) -> String {
    let file = root.shown(Path::new(LINE_FILE));
    match (&standing.line, standing.in_place) {
        (None, _) => {
            format!("not in place: {file} has no line of ours (`everwrite preload install`)")
        }
        (Some(line), false) => format!(
            "BROKEN: {file} has {line}, but there is no sound shim: the loader complains in every \
             program (`everwrite preload install` or `remove`)"
        ),
        (Some(line), true) if standing.is_current() => format!("in place: {file} has {line}"),
        (Some(line), true) => {
            format!("in place: {file} has {line}, of another version (`install` replaces it)")
        }
    }
}

/// One line of a list of processes.
pub(in crate::cli::commands) fn process_line(process: &Process) -> String {
    let program = shown::path(process.program.as_bytes());
    let filtered = if process.filtered {
        "; under a system call filter"
    } else {
        ""
    };
    format!(
        "{:>9}  {program:<16}  {}{filtered}",
        process.pid,
        process.sight.told()
    )
}

fn look(root: &Root) -> Result<Answer, Failure> {
    let shown = PathBuf::from(root.shown(Path::new(LINE_FILE)));
    let standing = Standing::look(root).map_err(|error| failed("read", &shown, &error))?;
    let processes = processes::all(root);
    let processes = processes.map_err(|error| failed("read", Path::new("/proc"), &error))?;
    let mut counts = BTreeMap::new();
    let sights = processes.iter().map(|process| process.sight);
    sights.for_each(|sight| *counts.entry(sight).or_default() += 1);
    Ok(Answer {
        standing,
        counts,
        processes,
    })
}

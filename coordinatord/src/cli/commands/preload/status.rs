//! `everwrite preload status`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use clap::Args;
use serde::Serialize;

use super::{failed, shim};
use crate::cli::context::Context;
use crate::cli::exit::{Exit, Failure};
use crate::cli::preloading::line_file::LineFile;
use crate::cli::preloading::processes::{self, Process, Sight};
use crate::cli::preloading::root::Root;
use crate::cli::preloading::{LINE_FILE, lines, loaders, object};
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
    /// The line; `None`: there is none.
    line: Option<String>,
    /// Libraries that the line leads to.
    libraries: Vec<Library>,
    /// Whether programs that start now get a shim.
    in_place: bool,
    /// How many processes there are of each kind.
    counts: BTreeMap<Sight, usize>,
    processes: Vec<Process>,
}

/// One library.
#[derive(Serialize)]
struct Library {
    path: PathBuf,
    /// It is the shim, and whole; otherwise one with nothing in it, or a broken one.
    is_shim: bool,
    /// It is as this command would put it in place now.
    is_current_shim: bool,
}

impl PreloadStatus {
    pub(super) fn run(self, context: &Context, root: &Root) -> Result<Exit, Failure> {
        let answer = look(root)?;
        context.answer(&answer)?;
        self.tell(context, root, &answer)?;
        Ok(Exit::answer(answer.in_place))
    }

    fn tell(&self, context: &Context, root: &Root, answer: &Answer) -> Result<(), Failure> {
        context.say(headline(root, answer))?;
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

fn headline(root: &Root, answer: &Answer) -> String {
    let file = root.shown(Path::new(LINE_FILE));
    match (&answer.line, answer.in_place) {
        (None, _) => {
            format!("not in place: {file} has no line of ours (`everwrite preload install`)")
        }
        (Some(line), false) => format!(
            "BROKEN: {file} has {line}, but there is no sound shim: the loader complains in every \
             program (`everwrite preload install` or `remove`)"
        ),
        (Some(line), true)
            if !answer
                .libraries
                .iter()
                .any(|library| library.is_current_shim) =>
        {
            format!(
                "in place: {file} has {line}; another version than this one's (`install` replaces it)"
            )
        }
        (Some(line), true) => format!("in place: {file} has {line}"),
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
    let file = LineFile::of(root).and_then(|file| file.read());
    let shown = PathBuf::from(root.shown(Path::new(LINE_FILE)));
    let content = file.map_err(|error| failed("read", &shown, &error))?;
    let line = lines::ours(&content)
        .next()
        .map(|line| String::from_utf8_lossy(line).into_owned());
    let libraries: Vec<_> = line.iter().flat_map(|line| libraries(root, line)).collect();
    let processes =
        processes::all(root).map_err(|error| failed("read", Path::new("/proc"), &error))?;
    let mut counts = BTreeMap::new();
    processes
        .iter()
        .for_each(|process| *counts.entry(process.sight).or_default() += 1);
    Ok(Answer {
        in_place: line.is_some() && libraries.iter().any(|library| library.is_shim),
        line,
        libraries,
        counts,
        processes,
    })
}

/// What the line leads to, whatever a loader puts for `$LIB`.
fn libraries(root: &Root, line: &str) -> Vec<Library> {
    let current = shim().ok();
    let mut paths: Vec<_> = loaders::directories()
        .map(|directory| line.replace("$LIB", directory))
        .collect();
    paths.sort_unstable();
    paths.dedup();
    let found = paths.into_iter().filter_map(|path| {
        let content = std::fs::read(root.existing(Path::new(&path)).ok()?).ok()?;
        Some(Library {
            path: path.into(),
            is_shim: object::is_shim(&content),
            is_current_shim: current.as_ref() == Some(&content),
        })
    });
    found.collect()
}

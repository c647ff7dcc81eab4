//! `everwrite coverage`.

use std::collections::{BTreeMap, HashMap};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use clap::Args;
use everwrite_protocol::control::{
    AttachedProcess, Capture, CaptureGap, Coverage as Heard, Miss, PathText, ProgramChanges,
};
use serde::Serialize;

use crate::cli::accounted;
use crate::cli::context::Context;
use crate::cli::exit::{Exit, Failure};
use crate::cli::output::local_failed;
use crate::cli::preloading::open_files;
use crate::cli::preloading::processes::{self, Process, Sight};
use crate::cli::preloading::root::Root;
use crate::cli::shown;

/// Who sees what: of each running program, of the changes until now, and what was missed.
///
/// A program with the shim attaches to the coordinator at its first change on a file system that holds
/// protected files; until then there is nothing to tell. What programs without it change is found by
/// scans; those of them that have a protected file open for writing are always named.
#[derive(Args, Debug)]
pub(crate) struct Coverage {
    /// Name each process, also those that the shim is not in, each program and each miss.
    #[arg(long)]
    all: bool,
}

/// What the shim sees of a process.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
enum Seen {
    /// It tells what it changes.
    Attached,
    /// It tells, but its shim says that it does not see all.
    PartlyAttached,
    /// It has the shim and has had nothing to tell yet.
    Loaded,
    /// It has the shim, which a system call filter keeps from telling.
    Filtered,
    /// It has the shim, which its environment switches off; so do our own daemons.
    SwitchedOff,
    /// It does not have the shim.
    NotCovered,
}

/// One process.
#[derive(Serialize)]
struct Row {
    #[serde(flatten)]
    process: Process,
    seen: Seen,
    /// Hints taken from it so far.
    hints: u64,
    /// A protected file that it has open for writing, if it is not covered.
    writes: Option<PathText>,
}

#[derive(Serialize)]
struct Answer {
    counts: BTreeMap<Seen, usize>,
    processes: Vec<Row>,
    capture: Capture,
    programs: Vec<ProgramChanges>,
    misses: Vec<Miss>,
    gaps: Vec<CaptureGap>,
}

impl Coverage {
    pub(crate) async fn run(self, context: &Context) -> Result<Exit, Failure> {
        let heard: Heard = context.daemon().get("coverage").await?;
        let top = Path::new("/");
        let running = processes::all(&Root::at(top)?);
        let running = running.map_err(|error| local_failed("read", Path::new("/proc"), &error))?;
        let mut answer = answer(running, heard);
        let roots: Vec<_> = context
            .config()?
            .roots
            .into_iter()
            .map(|root| root.path)
            .collect();
        answer.look_for_writers(&roots);
        context.answer(&answer)?;
        for (seen, count) in &answer.counts {
            context.say(format_args!(
                "{:>7}  {}",
                shown::count(*count as u64),
                seen.told(otherwise(&answer.capture))
            ))?;
        }
        let silent = |row: &Row| row.seen == Seen::NotCovered && row.writes.is_none();
        let named = |row: &&Row| self.all || !silent(row);
        for row in answer.processes.iter().filter(named) {
            context.say(row.line())?;
        }
        let account = accounted::Account {
            capture: &answer.capture,
            programs: &answer.programs,
            misses: &answer.misses,
            gaps: &answer.gaps,
        };
        context.say(accounted::lines(&account, self.all, shown::now()))?;
        Ok(Exit::Done)
    }
}

fn answer(running: Vec<Process>, heard: Heard) -> Answer {
    let attached = heard.attached.into_iter();
    let attached: HashMap<_, _> = attached
        .map(|attached| ((attached.pid, attached.started_ticks), attached))
        .collect();
    let rows = running.into_iter().map(|process| {
        let heard = attached.get(&(process.pid, process.started_ticks));
        Row {
            seen: seen(&process, heard),
            hints: heard.map_or(0, |heard| heard.hints),
            writes: None,
            process,
        }
    });
    let processes: Vec<Row> = rows.collect();
    let mut counts = BTreeMap::new();
    processes
        .iter()
        .for_each(|row| *counts.entry(row.seen).or_default() += 1);
    Answer {
        counts,
        processes,
        capture: heard.capture,
        programs: heard.programs,
        misses: heard.misses,
        gaps: heard.gaps,
    }
}

impl Answer {
    /// Those that matter most among the ones that are not covered.
    fn look_for_writers(&mut self, roots: &[PathBuf]) {
        let rows = self.processes.iter_mut();
        for row in rows.filter(|row| row.seen == Seen::NotCovered) {
            let found = open_files::writable_below(row.process.pid, roots);
            row.writes = found.map(|path| PathText::from_bytes(path.as_os_str().as_bytes()));
        }
    }
}

/// A segment outlives the program that asked for it when the process becomes another one.
fn seen(process: &Process, heard: Option<&AttachedProcess>) -> Seen {
    match (process.sight.is_in(), heard) {
        (true, Some(AttachedProcess { blind: true, .. })) => Seen::PartlyAttached,
        (true, Some(_)) => Seen::Attached,
        (true, None) if process.switched_off => Seen::SwitchedOff,
        (true, None) if process.filtered => Seen::Filtered,
        (true, None) => Seen::Loaded,
        // Who may not be looked at is known by what it tells.
        (false, Some(_)) if process.sight == Sight::Unknown => Seen::Attached,
        (false, _) => Seen::NotCovered,
    }
}

impl Seen {
    /// `otherwise`: how that is heard which the shim does not tell.
    fn told(self, otherwise: &str) -> String {
        let told = match self {
            Self::Attached => "attached: each change is told at once",
            Self::PartlyAttached => {
                return format!("attached, but not all that they do is seen there: {otherwise}");
            }
            Self::Loaded => "have the shim and changed nothing yet where files are protected",
            Self::Filtered => "have the shim, but a system call filter keeps it from telling",
            Self::SwitchedOff => "have the shim, switched off by EVERWRITE_OFF=1",
            Self::NotCovered => {
                return format!("without the shim: {otherwise} (--all names them)");
            }
        };
        told.to_owned()
    }
}

/// How what the shim does not tell comes to be known.
fn otherwise(capture: &Capture) -> &'static str {
    match (&*capture.ebpf.state, &*capture.names.state) {
        ("on", "on") => "heard by the witness",
        (_, "on") => "heard by the witness, but for stores into mappings",
        _ => "found by scans",
    }
}

impl Row {
    fn line(&self) -> String {
        let Self {
            process,
            seen,
            hints,
            writes,
        } = self;
        let program = shown::path(process.program.as_bytes());
        let told = match seen {
            Seen::Attached => format!("attached, {} hints", shown::count(*hints)),
            Seen::PartlyAttached => format!("partly attached, {} hints", shown::count(*hints)),
            Seen::Loaded => "loaded".to_owned(),
            Seen::Filtered => "loaded, under a system call filter".to_owned(),
            Seen::SwitchedOff => "switched off".to_owned(),
            Seen::NotCovered => {
                format!(
                    "without the shim: {}{}",
                    process.sight.told(),
                    writer(writes.as_ref())
                )
            }
        };
        format!("{:>9}  {program:<16}  {told}", process.pid)
    }
}

/// Behind the reason why a process is not covered.
fn writer(writes: Option<&PathText>) -> String {
    let path = writes.and_then(PathText::to_bytes);
    path.map_or_else(String::new, |path| {
        format!("; has {} open for writing", shown::path(&path))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn process(pid: u32, sight: Sight, filtered: bool) -> Process {
        Process {
            pid,
            program: "p".to_owned(),
            uid: 0,
            sight,
            filtered,
            switched_off: pid == 8,
            started_ticks: 7,
        }
    }

    fn attached(pid: u32, started_ticks: u64, blind: bool) -> AttachedProcess {
        AttachedProcess {
            pid,
            started_ticks,
            uid: 0,
            program: "p".to_owned(),
            executable: String::new(),
            hints: 5,
            blind,
        }
    }

    #[test]
    fn what_the_daemon_knows_and_what_the_process_has_make_the_answer() {
        let running = vec![
            process(1, Sight::Loaded, false),
            process(2, Sight::Loaded, false),
            process(3, Sight::Older, true),
            process(4, Sight::Static, false),
            process(5, Sight::Loaded, true),
            process(6, Sight::Unknown, false),
            process(7, Sight::Loaded, false),
            process(8, Sight::Loaded, false),
        ];
        let heard = Heard {
            attached: vec![
                attached(1, 7, false),
                attached(2, 6, false),
                attached(3, 7, true),
                attached(4, 7, false),
                attached(6, 7, false),
            ],
            ..Heard::default()
        };
        let answer = answer(running, heard);
        let seen: Vec<_> = answer.processes.iter().map(|row| row.seen).collect();
        let expected = [
            Seen::Attached,
            Seen::Loaded,
            Seen::PartlyAttached,
            Seen::NotCovered,
            Seen::Filtered,
            Seen::Attached,
            Seen::Loaded,
            Seen::SwitchedOff,
        ];
        assert_eq!(seen, expected);
        assert_eq!(answer.counts[&Seen::Attached], 2);
        assert_eq!(answer.processes[0].hints, 5);
        assert!(answer.processes[3].line().contains("linked statically"));
    }
}

//! `everwrite preload install`.

use std::io;
use std::path::{Path, PathBuf};

use clap::Args;
use everwrite_protocol::local::RUN_DIRECTORY_DEFAULT;
use serde::Serialize;

use super::{ask_loaders, failed, lines as report_lines, rescue, scratch};
use crate::cli::context::Context;
use crate::cli::exit::{Exit, Failure};
use crate::cli::preloading::line_file::LineFile;
use crate::cli::preloading::root::Root;
use crate::cli::preloading::self_test::{Loaders, Report};
use crate::cli::preloading::{LINE_FILE, lines, place};
use crate::cli::shim_library;

/// Put the shim in place for every program started from now on.
///
/// Copies it to /usr/lib/everwrite/$LIB, where it lies for each kind of program under its own name,
/// runs programs of this machine with it, and if they do what they do without it, adds its line to
/// /etc/ld.so.preload. A library that is there already is replaced. Exit code 4: the self-test failed,
/// nothing has changed.
#[derive(Args, Debug)]
pub(super) struct Install {
    /// Go on although the loader will complain, on standard error of each, about programs for another
    /// kind of processor that this machine also runs (32-bit ones, mostly).
    #[arg(long)]
    without_32_bit: bool,
}

/// What was done.
#[derive(Serialize)]
struct Answer {
    line: String,
    file: PathBuf,
    changed: bool,
    report: Report,
}

impl Install {
    pub(super) fn run(self, context: &Context, root: &Root) -> Result<Exit, Failure> {
        let answer = self.install(root)?;
        tell(context, root, &answer)
    }

    fn install(&self, root: &Root) -> Result<Answer, Failure> {
        let put = |error| failed("put libraries into", &at(root, place::DIRECTORY), &error);
        let (shim, scratch) = (shim_library::sealed()?, scratch(root)?);
        let loaders = ask_loaders(root, &scratch)?;
        let _placeholder = Placeholder::make(root)?;
        let staged = Staged::write(root, &loaders, &shim).map_err(put)?;
        let report = loaders.test(root, &scratch, Path::new(place::STAGED));
        let report = self.judge(report.map_err(put)?)?;
        put_in_place(root, &loaders).map_err(put)?;
        drop(staged);
        add_line(root, report)
    }

    /// Refuses what programs would notice.
    fn judge(&self, report: Report) -> Result<Report, Failure> {
        let mut different: Vec<_> = report.differences().chain(report.problems(true)).collect();
        let others: Vec<_> = report.problems(false).collect();
        let (reasons, hint) = match (different.is_empty(), others.is_empty()) {
            (true, true) => return Ok(report),
            (true, false) if self.without_32_bit => return Ok(report),
            (true, false) => (
                others,
                "--without-32-bit accepts that each of them prints it",
            ),
            (false, _) => {
                different.extend(others);
                (
                    different,
                    "nothing has been changed; `everwrite preload check` tells more",
                )
            }
        };
        Err(Failure::new(
            Exit::Refused,
            format!("the self-test failed: {}", first(&reasons)),
            hint,
        ))
    }
}

/// The first few, and how many there are besides.
fn first(reasons: &[String]) -> String {
    const FEW: usize = 3;
    let more = match reasons.len().saturating_sub(FEW) {
        0 => String::new(),
        more => format!("; and {more} more"),
    };
    let few = &reasons[..reasons.len().min(FEW)];
    format!("{}{more}", few.join("; "))
}

/// The libraries where they are tried.
struct Staged<'a>(&'a Root);

impl<'a> Staged<'a> {
    fn write(root: &'a Root, loaders: &Loaders, shim: &[u8]) -> io::Result<Self> {
        place::clear_staged(root)?;
        let staged = Self(root);
        let directory = Path::new(place::STAGED);
        loaders.layout.write(root, directory, shim)?;
        Ok(staged)
    }
}

impl Drop for Staged<'_> {
    fn drop(&mut self) {
        // What is left has been tried in vain, and nobody looks for it.
        let _ = place::clear_staged(self.0);
    }
}

/// An empty list where there was none, so that another can be put in its place for a trial.
struct Placeholder(Option<PathBuf>);

impl Placeholder {
    fn make(root: &Root) -> Result<Self, Failure> {
        let made = LineFile::of(root).and_then(|file| {
            let made = file.make()?;
            Ok(Self(made.then(|| file.path().to_owned())))
        });
        made.map_err(|error| failed("write", &at(root, LINE_FILE), &error))
    }
}

impl Drop for Placeholder {
    fn drop(&mut self) {
        let empty = |path: &&PathBuf| std::fs::metadata(path).is_ok_and(|facts| facts.len() == 0);
        if let Some(path) = self.0.as_ref().filter(empty) {
            // An empty one does no harm.
            let _ = std::fs::remove_file(path);
        }
    }
}

fn put_in_place(root: &Root, loaders: &Loaders) -> io::Result<()> {
    let directory = Path::new(place::DIRECTORY);
    let script = place::make_directories(root, directory)?.join(rescue::FILE_NAME);
    std::fs::write(script, rescue::SCRIPT)?;
    loaders
        .layout
        .move_all(root, Path::new(place::STAGED), directory)
}

/// The last step: from here on programs have it.
fn add_line(root: &Root, report: Report) -> Result<Answer, Failure> {
    let line = place::line(Path::new(place::DIRECTORY));
    let add = || {
        let file = LineFile::of(root)?;
        let before = file.read()?;
        let after = lines::with(&before, &line);
        let changed = before != after;
        if changed {
            file.replace(&after)?;
        }
        Ok((file.path().to_owned(), changed))
    };
    let added: io::Result<_> = add();
    let (file, changed) =
        added.map_err(|error| failed("add a line to", &at(root, LINE_FILE), &error))?;
    Ok(Answer {
        line,
        file,
        changed,
        report,
    })
}

fn tell(context: &Context, root: &Root, answer: &Answer) -> Result<Exit, Failure> {
    context.answer(answer)?;
    for line in report_lines(&answer.report) {
        context.say(line)?;
    }
    let (file, line) = (answer.file.display(), &answer.line);
    context.say(match answer.changed {
        true => format!("{file} now has {line}: programs started from now on are seen"),
        false => format!("{file} has {line}; the library is new"),
    })?;
    context.say(
        "programs that run already: `everwrite preload status`; back: `everwrite preload remove`",
    )?;
    if root.is_own() && context.paths.run() != Path::new(RUN_DIRECTORY_DEFAULT) {
        context.note(format_args!(
            "everwrite: programs look for the coordinator in {RUN_DIRECTORY_DEFAULT} and will not find the \
             one in {}: run one without --home and EVERWRITE_HOME",
            context.paths.run().display()
        ));
    }
    Ok(Exit::Done)
}

fn at(root: &Root, path: &str) -> PathBuf {
    PathBuf::from(root.shown(Path::new(path)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::preloading::canary::Tried;
    use crate::cli::preloading::self_test::{LoaderReport, Way};

    fn report(difference: Option<&str>, seen: bool, problem: Option<&str>) -> Report {
        Report {
            way: Way::Line,
            programs: vec![Tried {
                program: "true",
                difference: difference.map(str::to_owned),
            }],
            hooks: None,
            loaders: vec![LoaderReport {
                programs: "32-bit",
                path: "/lib/ld.so",
                seen,
                problem: problem.map(str::to_owned),
            }],
        }
    }

    #[test]
    fn what_programs_would_notice_is_refused() {
        let judged = |without_32_bit, report| Install { without_32_bit }.judge(report).is_ok();
        assert!(judged(false, report(None, true, None)));
        assert!(!judged(true, report(Some("it hangs"), true, None)));
        assert!(!judged(true, report(None, true, Some("it complains"))));
        assert!(!judged(false, report(None, false, Some("it complains"))));
        assert!(judged(true, report(None, false, Some("it complains"))));
    }

    #[test]
    fn a_long_list_is_cut() {
        let reasons = ["a", "b", "c", "d", "e"].map(str::to_owned);
        assert_eq!(first(&reasons), "a; b; c; and 2 more");
        assert_eq!(first(&reasons[..1]), "a");
    }
}

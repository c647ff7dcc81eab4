//! The self-test: every loader takes what is meant for it, and no program is different for it.

use std::io;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::canary::{self, Tried};
use super::hooks::Hooks;
use super::line_file::LineFile;
use super::lines;
use super::loaders::{self, Loader};
use super::object;
use super::place::{self, Layout, make_directories};
use super::root::Root;
use super::scratch::Scratch;
use super::trial::{self, How};
use crate::cli::shim_library::FILE_NAME;
use crate::cli::shown;

/// What came of it.
#[derive(Debug, Serialize)]
pub(in crate::cli) struct Report {
    /// How the library got into the programs.
    pub(in crate::cli) way: Way,
    /// The programs that were run.
    pub(in crate::cli) programs: Vec<Tried>,
    /// The functions that it stands in front of; `None`: there is no telling, of it or of libc.
    pub(in crate::cli) hooks: Option<Hooks>,
    /// What the loaders of this machine make of it.
    pub(in crate::cli) loaders: Vec<LoaderReport>,
}

/// How the library got into the programs.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(in crate::cli) enum Way {
    /// By the line itself, in a private mount namespace.
    Line,
    /// By `LD_PRELOAD`, for this reason.
    Environment(String),
}

/// What a loader makes of it.
#[derive(Debug, Serialize)]
pub(in crate::cli) struct LoaderReport {
    /// What its programs are called.
    pub(in crate::cli) programs: &'static str,
    /// Where it lies.
    pub(in crate::cli) path: &'static str,
    /// Whether its programs are seen: the shim is made for them.
    pub(in crate::cli) seen: bool,
    /// What is wrong; `None`: it takes its library without a word.
    pub(in crate::cli) problem: Option<String>,
}

impl Report {
    /// Functions that nobody expected this libc to lack.
    pub(in crate::cli) fn unexplained(&self) -> &[String] {
        self.hooks.as_ref().map_or(&[], |hooks| &hooks.unexplained)
    }

    /// What programs took amiss.
    pub(in crate::cli) fn differences(&self) -> impl Iterator<Item = String> {
        self.programs.iter().filter_map(|tried| {
            let difference = tried.difference.as_ref()?;
            Some(format!("{}: {difference}", tried.program))
        })
    }

    /// What is wrong with programs that the shim is for, or with others.
    pub(in crate::cli) fn problems(&self, seen: bool) -> impl Iterator<Item = String> {
        let concerned = self
            .loaders
            .iter()
            .filter(move |loader| loader.seen == seen);
        concerned.filter_map(|loader| {
            let problem = loader.problem.as_ref()?;
            Some(format!("{} programs: {problem}", loader.programs))
        })
    }
}

/// The loaders of a root, and what they put for `$LIB`.
#[derive(Debug)]
pub(in crate::cli) struct Loaders {
    /// Which library goes where.
    pub(in crate::cli) layout: Layout,
    known: Vec<(&'static Loader, &'static str)>,
    unknown: Vec<&'static Loader>,
}

impl Loaders {
    /// Asks them; `None` when there is none that could load the shim.
    pub(in crate::cli) fn ask(root: &Root, scratch: &Scratch) -> io::Result<Option<Self>> {
        let (mut known, mut unknown) = (Vec::new(), Vec::new());
        for loader in loaders::others().filter(|loader| loader.is_in(root)) {
            match library_directory(root, scratch, loader)? {
                Asked::Puts(directory) => known.push((loader, directory)),
                Asked::Unclear => unknown.push(loader),
                // Then there is no program that it could load.
                Asked::CannotRun => {}
            }
        }
        let Asked::Puts(shim) = library_directory(root, scratch, loaders::own())? else {
            return Ok(None);
        };
        Ok(Some(Self {
            layout: Layout::new(shim, &known),
            known,
            unknown,
        }))
    }

    /// Tries the libraries below `directory`.
    pub(in crate::cli) fn test(
        &self,
        root: &Root,
        scratch: &Scratch,
        directory: &Path,
    ) -> io::Result<Report> {
        let line = place::line(directory);
        let list = scratch.real().join("list");
        let file = LineFile::of(root)?;
        std::fs::write(&list, lines::with(&file.read()?, &line))?;
        let listed = How::Listed {
            list: &list,
            target: file.path(),
        };
        let (way, how) = match obstacle(root, listed, file.path()) {
            None => (Way::Line, listed),
            Some(reason) => (Way::Environment(reason), How::Preloaded(&line)),
        };
        make_directories(root, &scratch.within().join("work"))?;
        Ok(Report {
            way,
            hooks: self.hooks(root, directory)?,
            loaders: self.reports(root, how, directory)?,
            programs: canary::try_all(root, how, &scratch.within().join("work"), directory)?,
        })
    }

    /// The functions of the shim below `directory`, and of the libc that the loader takes.
    fn hooks(&self, root: &Root, directory: &Path) -> io::Result<Option<Hooks>> {
        let listed = ["--list", "/bin/sh"];
        let ran = trial::run(
            root,
            How::AsItIs,
            Path::new("/"),
            loaders::own().path,
            &listed,
        )?;
        let Some(libc) = libc_of(&String::from_utf8_lossy(&ran.output)) else {
            return Ok(None);
        };
        let read = |path: &Path| std::fs::read(root.existing(path)?);
        let shim = read(&directory.join(self.layout.shim).join(FILE_NAME))?;
        Ok(Hooks::of(&shim, &read(&libc)?))
    }

    fn reports(
        &self,
        root: &Root,
        how: How<'_>,
        directory: &Path,
    ) -> io::Result<Vec<LoaderReport>> {
        let own = (loaders::own(), self.layout.shim);
        let mut reports = Vec::new();
        for (loader, library) in [own].iter().chain(&self.known) {
            let problem = taken(root, how, loader, directory, library)?;
            reports.push(report(loader, problem));
        }
        let unclear = "there is no telling where their loader looks for libraries: it would print an \
                       error in each of them";
        let unclear = self
            .unknown
            .iter()
            .map(|loader| report(loader, Some(unclear.to_owned())));
        reports.extend(unclear);
        Ok(reports)
    }
}

/// `libc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x00007f0000000000)`
fn libc_of(listing: &str) -> Option<PathBuf> {
    let lines = listing.lines().map(str::trim);
    let mut places = lines.filter_map(|line| line.strip_prefix("libc.so.6 => "));
    Some(places.next()?.rsplit_once(" (")?.0.into())
}

fn report(loader: &Loader, problem: Option<String>) -> LoaderReport {
    LoaderReport {
        programs: loader.programs,
        path: loader.path,
        seen: loader == loaders::own(),
        problem,
    }
}

/// Why the line itself can't be tried.
fn obstacle(root: &Root, listed: How<'_>, target: &Path) -> Option<String> {
    if !target.exists() {
        return Some(format!(
            "there is no {} to put another one in place of",
            target.display()
        ));
    }
    let tried = trial::run(root, listed, Path::new("/"), "/bin/sh", &["-c", ":"]);
    let error = tried.err()?;
    Some(format!(
        "a mount namespace of its own can't be had: {error}"
    ))
}

/// What is wrong with what `loader` is to take below `directory`, for which it puts `library`.
fn taken(
    root: &Root,
    how: How<'_>,
    loader: &Loader,
    directory: &Path,
    library: &str,
) -> io::Result<Option<String>> {
    let top = Path::new("/");
    let path = directory.join(library).join(FILE_NAME);
    let path = path.display().to_string();
    // The shim has to be found in a program; for others it is enough that nothing is said.
    let is_own = loader == loaders::own();
    let program = if is_own { "/bin/sh" } else { path.as_str() };
    let ran = trial::run(root, how, top, loader.path, &["--list", program])?;
    let errors = String::from_utf8_lossy(&ran.errors);
    let mut lines = errors.lines();
    if let Some(complaint) = lines.find(|line| canary::is_about(line, directory)) {
        return Ok(Some(shown::path(complaint.as_bytes())));
    }
    let found = !is_own || String::from_utf8_lossy(&ran.output).contains(&path);
    Ok((!found).then(|| format!("{} does not load {path}", loader.path)))
}

/// What a loader says when asked what it puts for `$LIB`.
enum Asked {
    Puts(&'static str),
    Unclear,
    /// This machine can't run it.
    CannotRun,
}

/// Puts a library with nothing in it into one directory after the other until the loader finds it:
/// older ones do not tell otherwise.
fn library_directory(root: &Root, scratch: &Scratch, loader: &Loader) -> io::Result<Asked> {
    for directory in loader.directories {
        let top = scratch.within().join("asked");
        let real = make_directories(root, &top.join(directory))?.join(FILE_NAME);
        std::fs::write(&real, object::empty(loader.kind))?;
        let path = top.join(directory).join(FILE_NAME);
        let found = finds(root, loader, &top, &path);
        std::fs::remove_dir_all(scratch.real().join("asked"))?;
        match found {
            Ok(true) => return Ok(Asked::Puts(directory)),
            Ok(false) => {}
            Err(_) => return Ok(Asked::CannotRun),
        }
    }
    Ok(Asked::Unclear)
}

fn finds(root: &Root, loader: &Loader, directory: &Path, library: &Path) -> io::Result<bool> {
    let line = place::line(directory);
    let arguments = ["--list", &library.to_string_lossy()];
    let how = How::Preloaded(&line);
    let ran = trial::run(root, how, Path::new("/"), loader.path, &arguments)?;
    Ok(!String::from_utf8_lossy(&ran.errors).contains(&line))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_libc_that_a_loader_names() {
        let listing =
            "\tlinux-vdso.so.1 (0x1)\n\tlibc.so.6 => /lib/libc.so.6 (0x2)\n\t/lib64/ld.so (0x3)\n";
        assert_eq!(libc_of(listing), Some("/lib/libc.so.6".into()));
        assert_eq!(libc_of("\tstatically linked\n"), None);
    }

    fn own_machine() -> (Root, Scratch) {
        let root = Root::at(Path::new("/")).unwrap();
        let scratch = Scratch::new(&root).unwrap();
        (root, scratch)
    }

    #[test]
    fn a_library_with_nothing_in_it_makes_no_difference() {
        let (root, scratch) = own_machine();
        let loaders = Loaders::ask(&root, &scratch).unwrap().unwrap();
        let directory = scratch.within().join("libraries");
        let library = object::empty(loaders::own().kind);
        loaders.layout.write(&root, &directory, &library).unwrap();
        let report = loaders.test(&root, &scratch, &directory).unwrap();
        assert_eq!(
            report.differences().collect::<Vec<_>>(),
            Vec::<String>::new()
        );
        assert_eq!(report.problems(true).count(), 0, "{report:?}");

        std::fs::write(
            scratch
                .real()
                .join("libraries")
                .join(loaders.layout.shim)
                .join(FILE_NAME),
            "",
        )
        .unwrap();
        let report = loaders.test(&root, &scratch, &directory).unwrap();
        assert_eq!(report.problems(true).count(), 1, "{report:?}");
        assert!(report.differences().count() > 3, "{report:?}");
    }
}

//! `everwrite preload`.

mod check;
mod install;
mod remove;
mod rescue;
mod status;

use std::io;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};

use crate::cli::context::Context;
use crate::cli::exit::{Exit, Failure};
use crate::cli::preloading::hooks::Hooks;
use crate::cli::preloading::root::Root;
use crate::cli::preloading::scratch::Scratch;
use crate::cli::preloading::self_test::{Loaders, Report, Way};

/// The shim in every program of this machine, by /etc/ld.so.preload.
///
/// Programs that run already get it when they are started the next time. Statically linked programs
/// and those with another C library never do.
#[derive(Args, Debug)]
#[command(after_help = "If programs no longer start:\n  \
    everwrite preload remove                     while the library is only missing or cut short\n  \
    . /usr/lib/everwrite/rescue.sh               in a root shell that is open: starts no program\n  \
    busybox sh /usr/lib/everwrite/rescue.sh      by a statically linked busybox\n  \
    everwrite preload remove --root /mnt         from another system, with the disk at /mnt")]
pub(crate) struct Preload {
    /// Work on the file system below this directory: a chroot, a mounted disk.
    #[arg(long, global = true, value_name = "DIR", default_value = "/")]
    root: PathBuf,
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand, Debug)]
enum Action {
    Check(check::Check),
    Install(install::Install),
    Remove(remove::Remove),
    Status(status::PreloadStatus),
}

impl Preload {
    pub(crate) async fn run(self, context: &Context) -> Result<Exit, Failure> {
        let root = Root::at(&self.root)?;
        match self.action {
            Action::Check(command) => command.run(context, &root),
            Action::Install(command) => command.run(context, &root),
            Action::Remove(command) => command.run(context, &root),
            Action::Status(command) => command.run(context, &root),
        }
    }
}

/// Asks the loaders of `root` where they look for libraries.
fn ask_loaders(root: &Root, scratch: &Scratch) -> Result<Loaders, Failure> {
    let asked = Loaders::ask(root, scratch);
    let asked = asked.map_err(|error| failed("try the loaders of", root.directory(), &error))?;
    asked.ok_or_else(|| {
        Failure::negative(
            format!(
                "{}: there is no loader that takes the shim",
                root.directory().display()
            ),
            "the shim is for programs with the GNU C library, made for this processor",
        )
    })
}

fn scratch(root: &Root) -> Result<Scratch, Failure> {
    let made = Scratch::new(root);
    made.map_err(|error| failed("make a temporary directory in", root.directory(), &error))
}

/// What the self-test found, for people.
fn lines(report: &Report) -> Vec<String> {
    let way = match &report.way {
        Way::Line => "with the line in place, in a private mount namespace".to_owned(),
        Way::Environment(reason) => format!("by LD_PRELOAD ({reason})"),
    };
    let names: Vec<_> = report.programs.iter().map(|tried| tried.program).collect();
    let mut lines = vec![format!("tried {way}: {}", names.join(", "))];
    lines.extend(report.loaders.iter().map(|loader| {
        let found = match (&loader.problem, loader.seen) {
            (Some(problem), _) => format!("PROBLEM: {problem}"),
            (None, true) => "take the shim".to_owned(),
            (None, false) => "are not seen; they get a library with nothing in it".to_owned(),
        };
        format!("{} programs ({}): {found}", loader.programs, loader.path)
    }));
    lines.extend(report.hooks.as_ref().map(Hooks::line));
    lines.extend(
        report
            .differences()
            .map(|difference| format!("DIFFERENT {difference}")),
    );
    lines
}

fn failed(what: &str, path: &Path, error: &io::Error) -> Failure {
    let hint = match error.kind() {
        io::ErrorKind::PermissionDenied => "do it as root",
        io::ErrorKind::ReadOnlyFilesystem => "make it writable: `mount -o remount,rw`",
        io::ErrorKind::ResourceBusy => "something is mounted there: unmount it",
        _ => "",
    };
    Failure::negative(format!("{what} {}: {error}", path.display()), hint)
}

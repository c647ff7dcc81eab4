//! The machine's own programs in a file system that nobody else sees.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::thread::{UnshareFlags, unshare_unsafe};

use crate::{Place, run};

/// All of this machine under another root. What is changed below it is changed nowhere else, and gone
/// with the thread that made it.
#[derive(Debug)]
pub struct PrivateRoot(PathBuf);

impl PrivateRoot {
    /// Runs `test` with one, in a thread and a mount namespace of its own; the error says why there
    /// can't be one here.
    #[track_caller]
    pub fn with(place: &Place, test: impl FnOnce(&Self) + Send) -> Result<(), String> {
        let made = std::thread::scope(|scope| {
            let thread = scope.spawn(|| Self::make(place).map(|root| test(&root)));
            thread.join()
        });
        made.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }

    fn make(place: &Place) -> Result<Self, String> {
        // SAFETY: the thread is this test's alone; it shares its working directory with nobody then.
        let apart = unsafe { unshare_unsafe(UnshareFlags::NEWNS) };
        apart.map_err(|error| format!("a mount namespace needs root: {error}"))?;
        let private = place.directory("private");
        mount(&["--make-rprivate", "/"], None)?;
        mount(&["-t", "tmpfs", "tmpfs"], Some(&private))?;
        for name in ["changes", "work", "root"] {
            place.directory(&format!("private/{name}"));
        }
        let layers = format!(
            "lowerdir=/,upperdir={0}/changes,workdir={0}/work",
            private.display()
        );
        let root = Self(private.join("root"));
        mount(&["-t", "overlay", "-o", &layers, "overlay"], Some(&root.0))?;
        for directory in ["/proc", "/dev"] {
            root.show(Path::new(directory), Path::new(directory));
        }
        Ok(root)
    }

    /// Its directory.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Where `path` of it lies.
    pub fn at(&self, path: &Path) -> PathBuf {
        self.0.join(path.strip_prefix("/").unwrap_or(path))
    }

    /// Makes a directory (or file) of the machine the same in it, at `at`.
    #[track_caller]
    pub fn show(&self, directory: &Path, at: &Path) {
        let target = self.at(at);
        if !target.exists() {
            std::fs::create_dir_all(&target)
                .unwrap_or_else(|error| panic!("{}: {error}", target.display()));
        }
        let source = directory.display().to_string();
        mount(&["--rbind", &source], Some(&target)).unwrap_or_else(|error| panic!("{error}"));
    }

    /// A program of it.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new("chroot");
        command.arg(&self.0).arg(program);
        command
    }

    /// A shell script in it, in `directory`.
    pub fn script(&self, directory: &Path, script: &str) -> Command {
        let mut command = self.command("sh");
        let script = format!("cd '{}'\n{script}", directory.display());
        command.args(["-ec", &script]);
        command
    }
}

fn mount(arguments: &[&str], at: Option<&Path>) -> Result<(), String> {
    let mounted = run(Command::new("mount").args(arguments).args(at));
    match mounted.code {
        Some(0) => Ok(()),
        _ => Err(format!("{}: {}", mounted.command, mounted.stderr.trim())),
    }
}

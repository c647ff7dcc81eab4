//! A tree, a recorder that watches it, and C programs to change it.

use std::path::{Path, PathBuf};
use std::process::Command;

use harness::Place;
use harness::recorder::{Record, Recorder, Snapshot};

/// What every test here has.
pub(crate) struct Scene {
    /// Listens.
    pub(crate) recorder: Recorder,
    /// The tree that is watched.
    pub(crate) tree: PathBuf,
    place: Place,
}

impl Scene {
    pub(crate) fn new() -> Self {
        let place = Place::new();
        let (run, tree) = (place.directory("run"), place.directory("tree"));
        let recorder = Recorder::start(&run, &tree);
        Self {
            recorder,
            tree,
            place,
        }
    }

    /// Where things lie that are not looked at.
    pub(crate) fn path(&self) -> &Path {
        self.place.path()
    }

    /// Runs `script` in the tree without the shim.
    pub(crate) fn prepare(&self, script: &str) {
        harness::shell(&self.tree, script);
    }

    /// A program under the shim, in the tree.
    pub(crate) fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = self.recorder.command(program);
        command.current_dir(&self.tree);
        command
    }

    /// A shell script under the shim, in the tree, that has to succeed.
    #[track_caller]
    pub(crate) fn shell(&self, script: &str) {
        harness::run(self.command("bash").arg("-ec").arg(script)).success();
    }

    /// Runs `change`, and checks that all that it changed was told.
    #[track_caller]
    pub(crate) fn check(&self, change: impl FnOnce(&Self)) -> Record {
        let before = Snapshot::of(&self.tree);
        change(self);
        let record = self.recorder.take();
        before.check(&record);
        record
    }

    /// Compiles a C program; its path.
    #[track_caller]
    pub(crate) fn compile(&self, name: &str, source: &str) -> PathBuf {
        self.compile_with(name, source, &[])
    }

    /// The same with more arguments for the compiler.
    #[track_caller]
    pub(crate) fn compile_with(&self, name: &str, source: &str, arguments: &[&str]) -> PathBuf {
        let (code, program) = (
            self.path().join(format!("{name}.c")),
            self.path().join(name),
        );
        std::fs::write(&code, source).expect("write the program");
        let mut cc = Command::new("cc");
        cc.args(["-O1", "-w", "-D_GNU_SOURCE", "-pthread", "-o"]);
        harness::run(cc.arg(&program).arg(&code).args(arguments)).success();
        program
    }
}

/// Whether a program is there; if not, says that the test is skipped.
pub(crate) fn has(test: &str, program: &str) -> bool {
    let found = Command::new("sh")
        .arg("-c")
        .arg(format!("command -v {program}"))
        .output();
    let there = found.is_ok_and(|output| output.status.success());
    if !there {
        harness::skip(test, &format!("{program} is not installed"));
    }
    there
}

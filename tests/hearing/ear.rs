//! An intake, a protected tree, and programs under the shim.

use std::ffi::OsStr;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

use everwrite_coordinatord::front::places_of;
use everwrite_coordinatord::intake::{Hint, Intake, What};
use everwrite_protocol::local::{Inode, RUN_DIRECTORY_VARIABLE};
use harness::{Outcome, Place, run};
use tokio::runtime::Runtime;
use tokio::sync::mpsc::{self, Receiver};

use crate::difference::missed;
use crate::replica::Replica;
use crate::snapshot::Snapshot;

/// An intake that hears of one tree.
pub(crate) struct Ear {
    /// Where everything lies.
    pub(crate) place: Place,
    /// The tree.
    pub(crate) tree: PathBuf,
    /// The ear itself; `None` while it is stopped.
    pub(crate) intake: Option<Intake>,
    hints: Receiver<Vec<Hint>>,
    runtime: Runtime,
}

impl Ear {
    /// A listening intake and an empty tree.
    pub(crate) fn new() -> Self {
        let place = Place::new();
        let tree = place.directory("tree");
        let (_, hints) = mpsc::channel(1);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .unwrap();
        let mut ear = Self {
            place,
            tree,
            intake: None,
            hints,
            runtime,
        };
        // The switch is on already: no look for programs that came too early.
        ear.start();
        ear.stop();
        ear.start();
        ear
    }

    /// Lets programs of other users in.
    pub(crate) fn open_to_all(&self) {
        for directory in [self.place.path(), &self.tree, &self.run_directory()] {
            std::fs::set_permissions(directory, PermissionsExt::from_mode(0o755)).unwrap();
        }
    }

    /// Starts (again).
    pub(crate) fn start(&mut self) {
        let (sender, hints) = mpsc::channel(64);
        let intake = Intake::start(&self.run_directory(), sender).unwrap();
        intake.set_devices(&[self.device()]).unwrap();
        intake.set_places(places_of([self.tree.as_path()]).as_ref());
        intake.set_switch(true);
        (self.intake, self.hints) = (Some(intake), hints);
    }

    /// Stops, as a coordinator that ends.
    pub(crate) fn stop(&mut self) {
        self.intake = None;
    }

    /// Device of the tree.
    pub(crate) fn device(&self) -> u64 {
        std::fs::metadata(&self.tree).unwrap().dev()
    }

    fn run_directory(&self) -> PathBuf {
        self.place.path().join("run")
    }

    /// A command in the tree, under the shim.
    pub(crate) fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        command
            .current_dir(&self.tree)
            .env("LD_PRELOAD", shim())
            .env(RUN_DIRECTORY_VARIABLE, self.run_directory())
            .env("HOME", self.place.path());
        command
    }

    /// Runs a shell script in the tree, under the shim.
    #[track_caller]
    pub(crate) fn shell(&self, script: &str) -> Outcome {
        run(self.command("sh").arg("-ec").arg(script)).success()
    }

    /// Everything heard of calls that have returned.
    pub(crate) fn heard(&mut self) -> Vec<Hint> {
        let intake = self.intake.as_ref().unwrap();
        let hints = &mut self.hints;
        let mut heard = self.runtime.block_on(async {
            let mut heard = Vec::new();
            let mut barrier = std::pin::pin!(intake.barrier());
            loop {
                tokio::select! {
                    () = &mut barrier => break,
                    hints = hints.recv() => heard.extend(hints.unwrap()),
                }
            }
            heard
        });
        while let Ok(more) = self.hints.try_recv() {
            heard.extend(more);
        }
        heard
    }

    /// What comes next, without asking for anything; nothing when nothing comes for a while.
    pub(crate) fn heard_so_far(&mut self) -> Vec<Hint> {
        let hints = &mut self.hints;
        let heard = self.runtime.block_on(async {
            tokio::time::timeout(Duration::from_millis(20), hints.recv()).await
        });
        heard.ok().flatten().unwrap_or_default()
    }

    /// The same without who and when.
    pub(crate) fn said(&mut self) -> Vec<What> {
        self.heard().into_iter().map(|hint| hint.what).collect()
    }

    /// The same, of the tree only: not of the marks that a test has programs set beside it.
    pub(crate) fn said_of_tree(&mut self) -> Vec<What> {
        let nodes = self.snapshot().nodes;
        let mut said = self.said();
        said.retain(|what| place_of(what).is_none_or(|inode| nodes.contains_key(&inode)));
        said
    }

    /// The tree as it is.
    pub(crate) fn snapshot(&self) -> Snapshot {
        Snapshot::of(&self.tree)
    }

    /// Runs `work` and panics unless everything that it changed was heard, without any loss, and is enough
    /// to bring a second tree up to date.
    #[track_caller]
    pub(crate) fn hears_all_of(&mut self, work: impl FnOnce(&Self)) -> Vec<What> {
        self.said();
        let before = self.snapshot();
        let lost = self.lost();
        work(self);
        let said = self.said();
        let after = self.snapshot();
        let missed = missed(&before, &after, &said);
        assert!(missed.is_empty(), "missed: {missed:#?}\nheard: {said:#?}");
        let replica = Replica::new(&before, &after, &said);
        replica.assert_is(&self.tree, &self.place.path().join("replica"));
        assert_eq!(self.lost(), lost, "had to look everywhere: {said:#?}");
        said
    }

    /// How often everything had to be looked at.
    pub(crate) fn lost(&self) -> u64 {
        self.intake.as_ref().unwrap().statistics().lost
    }
}

/// The file or directory that a hint points at; none: everywhere.
fn place_of(what: &What) -> Option<Inode> {
    match what {
        What::Write { file, .. }
        | What::Append { file, .. }
        | What::Whole { file, .. }
        | What::Attributes { file, .. }
        | What::Mapped { file, .. }
        | What::Unmapped { file, .. }
        | What::Flush { file }
        | What::Sync { file } => Some(*file),
        What::Name { directory, .. } | What::Names { directory } => Some(*directory),
        What::Rename { new_directory, .. } => Some(*new_directory),
        What::Everything => None,
    }
}

/// Where a hint of a write points.
pub(crate) fn offset_of_write(hint: &Hint) -> Option<u64> {
    match hint.what {
        What::Write { offset, .. } => Some(offset),
        _ => None,
    }
}

/// The shim.
pub(crate) fn shim() -> &'static Path {
    static SHIM: OnceLock<PathBuf> = OnceLock::new();
    SHIM.get_or_init(|| match std::env::var_os("EVERWRITE_SHIM") {
        Some(given) => given.into(),
        None => harness::artifacts::artifacts().shim.clone(),
    })
}

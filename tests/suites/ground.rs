//! Two directories for one script: one that nobody looks at, and a protected one, where it runs under the shim.

use std::path::{Path, PathBuf};
use std::process::Command;

use everwrite_protocol::control::{Coverage, Miss, MissCause};
use harness::{Outcome, Pair, Place, Receiver, Seed, artifacts::shim, run, skip};

/// A protected tree with a live coordinator and receiver, and a directory beside it.
pub(crate) struct Ground {
    pair: Pair,
    bare: PathBuf,
}

impl Ground {
    pub(crate) fn new() -> Self {
        let place = Place::new();
        let receiver = Receiver::start(&place, "store");
        // What the shim does not tell of is not to be told by the witness.
        let pair = Pair::start_between(place, receiver, Pair::NO_WITNESS, |tree| {
            // A root that becomes empty altogether would be halted.
            std::fs::write(tree.join("anchor"), "").expect("write a file");
        });
        let bare = pair.place.directory("bare");
        Self { pair, bare }
    }

    /// What is left to chance.
    pub(crate) fn seed(&self) -> &Seed {
        &self.pair.place.seed
    }

    /// Where things lie that are not protected.
    pub(crate) fn path(&self) -> &Path {
        self.pair.place.path()
    }

    /// The directory that nobody looks at.
    pub(crate) fn bare(&self) -> &Path {
        &self.bare
    }

    /// The protected tree.
    pub(crate) fn tree(&self) -> &Path {
        &self.pair.tree
    }

    /// Runs `script` without the shim and with it, at the same time.
    pub(crate) fn both(&self, script: &str) -> [Outcome; 2] {
        std::thread::scope(|scope| {
            let bare = scope.spawn(|| run(&mut self.without(script)));
            let ours = run(&mut self.with(script));
            [bare.join().expect("run it without the shim"), ours]
        })
    }

    /// The same, and both have to succeed.
    #[track_caller]
    pub(crate) fn both_succeed(&self, script: &str) {
        for ended in self.both(script) {
            ended.success();
        }
    }

    fn without(&self, script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-ec", script]).current_dir(&self.bare);
        command
    }

    /// `script`, to be run in the protected tree, under the shim.
    pub(crate) fn with(&self, script: &str) -> Command {
        let mut command = self.pair.source.command();
        command
            .args(["run", "--", "sh", "-ec", script])
            .current_dir(&self.pair.tree);
        command
    }

    /// Panics unless the mirror is as the tree is.
    #[track_caller]
    pub(crate) fn assert_mirrored(&self) {
        self.pair.assert_mirrored();
    }

    /// Panics unless the mirror and what is restored are as the tree is, and no scan had to find it.
    #[track_caller]
    pub(crate) fn assert_stored(&self) {
        self.pair.assert_mirrored();
        let found = self.pair.source.everwrite(["reconcile"]);
        assert_eq!(found.code, Some(0), "not heard of: {}", found.text());
        let misses = self.pair.source.status().capture.scan.misses;
        assert_eq!(
            misses, 0,
            "a scan in the background found what was not heard of"
        );
        self.assert_restores();
    }

    /// The same where programs store into mappings, which no shim hears: that, and only that, is missed, by name.
    #[track_caller]
    pub(crate) fn assert_stored_but_for_mappings(&self) {
        self.pair.assert_mirrored();
        self.pair.source.everwrite(["reconcile"]);
        let coverage = self.pair.source.everwrite(["coverage", "--json"]);
        let coverage: Coverage = coverage.success().json();
        let mapped = |miss: &&Miss| miss.cause == MissCause::Mapped;
        let others: Vec<_> = coverage
            .misses
            .iter()
            .filter(|miss| !mapped(miss))
            .collect();
        assert!(others.is_empty(), "not heard of: {others:?}");
        self.assert_restores();
    }

    #[track_caller]
    fn assert_restores(&self) {
        let name = format!("point-{}", self.seed().next());
        self.pair.source.everwrite(["checkpoint", &name]).success();
        self.pair.source.settle();
        self.pair.assert_restores(&name, &self.pair.tree);
    }
}

/// Whether tests may take their time.
pub(crate) fn at_length() -> bool {
    std::env::var_os("EVERWRITE_SUITES").is_some()
}

/// The path of a program that scripts/setup brings; `None`, and said so, when it is not there.
pub(crate) fn find(test: &str, program: &str) -> Option<String> {
    let tools = shim().ancestors().nth(2)?.join("tools/bin");
    let paths = std::env::var_os("PATH").unwrap_or_default();
    let system = ["/usr/sbin", "/sbin"].map(PathBuf::from);
    let found = std::env::split_paths(&paths)
        .chain(system)
        .chain([tools])
        .map(|directory| directory.join(program))
        .find(|path| path.is_file());
    if found.is_none() {
        skip(
            test,
            &format!("{program} is not installed (scripts/setup --for-tests)"),
        );
    }
    Some(found?.display().to_string())
}

//! The usual world of a test: a receiver, a source paired with it, and one protected tree.

use std::path::{Path, PathBuf};

use crate::{Destination, Outcome, Place, Receiver, Source, tree};

/// A source, a receiver and a tree. Fields are dropped in this order: daemons before their files.
#[derive(Debug)]
pub struct Pair {
    /// The source.
    pub source: Source,
    /// The receiver.
    pub receiver: Receiver,
    /// The protected directory, under the name [`Pair::ROOT`].
    pub tree: PathBuf,
    /// All files, and the seed.
    pub place: Place,
}

impl Pair {
    /// Name of the root.
    pub const ROOT: &'static str = "tree";
    /// Settings that turn the witness off.
    pub const NO_WITNESS: &'static str = "witness.enabled = false\n";

    /// With an empty tree.
    #[track_caller]
    pub fn start() -> Self {
        Self::start_with(|_| {})
    }

    /// With a tree that `fill` fills before it is protected.
    #[track_caller]
    pub fn start_with(fill: impl FnOnce(&Path)) -> Self {
        let place = Place::new();
        let receiver = Receiver::start(&place, "store");
        Self::start_between(place, receiver, "", fill)
    }

    /// With these settings of the source (`config.toml`).
    #[track_caller]
    pub fn start_configured(settings: &str, fill: impl FnOnce(&Path)) -> Self {
        let place = Place::new();
        let receiver = Receiver::start(&place, "store");
        Self::start_between(place, receiver, settings, fill)
    }

    /// Without the witness: nobody announces what programs without the shim do.
    #[track_caller]
    pub fn start_without_witness(fill: impl FnOnce(&Path)) -> Self {
        Self::start_configured(Self::NO_WITNESS, fill)
    }

    /// With a receiver that was started before, in the same place, and these settings of the source.
    #[track_caller]
    pub fn start_between(
        place: Place,
        receiver: Receiver,
        settings: &str,
        fill: impl FnOnce(&Path),
    ) -> Self {
        let source = Source::start_configured(&place, "home", settings);
        Self::protect(place, receiver, source, fill)
    }

    #[track_caller]
    fn protect(place: Place, receiver: Receiver, source: Source, fill: impl FnOnce(&Path)) -> Self {
        let tree = place.directory("tree");
        fill(&tree);
        source.protect(&tree, Self::ROOT, &Destination::Receiver(&receiver));
        Self {
            source,
            receiver,
            tree,
            place,
        }
    }

    /// A shell script under the shim, in the tree.
    #[track_caller]
    pub fn run(&self, script: &str) -> Outcome {
        self.source.run(&self.tree, script)
    }

    /// The mirror's directory.
    #[track_caller]
    pub fn mirror(&self) -> PathBuf {
        self.receiver.store().mirror(&self.source_id(), Self::ROOT)
    }

    /// The source's id, as the receiver names it.
    #[track_caller]
    pub fn source_id(&self) -> String {
        self.source.id_in(&self.receiver.store())
    }

    /// Waits until all is stored and applied; panics unless tree and mirror are the same to rsync, to
    /// our own eyes and to `verify` on both sides.
    #[track_caller]
    pub fn assert_mirrored(&self) {
        self.source.wait_continuous();
        self.source.settle();
        tree::assert_equal(&self.tree, &self.mirror());
        self.source.everwrite(["verify"]).success();
        self.receiver.store().verify(&self.source_id());
    }

    /// Panics unless the whole root as of `at`, restored from the receiver alone, equals `expected`.
    #[track_caller]
    pub fn assert_restores(&self, at: &str, expected: &Path) {
        let to = self
            .place
            .directory(&format!("restored-{}", self.place.seed.next()));
        let store = self.receiver.store();
        store
            .restore(&self.source_id(), Self::ROOT, at, &to)
            .success();
        tree::assert_equal(expected, &to.join(Self::ROOT));
    }
}

//! A receiver under attack, with an honest source beside the attacker.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use everwrite_protocol::ids::SourceId;
use harness::Pair;

use crate::attacker::Attacker;
use crate::history;

/// What an honest source changes is stored so soon, whatever is done to the receiver meanwhile.
const HONEST_WAITS_MAX: Duration = Duration::from_secs(8);
/// Most memory of a receiver that is attacked, in bytes.
const MEMORY_BYTES_MAX: u64 = 96 << 20;

/// One receiver, two sources of it.
pub(crate) struct Scene {
    pub(crate) pair: Pair,
    pub(crate) attacker: Attacker,
    around: BTreeSet<String>,
}

impl Scene {
    /// An honest source with a tree, and an attacker with a history.
    pub(crate) async fn start() -> Self {
        let pair = Pair::start_without_witness(|tree| {
            std::fs::write(tree.join("first"), "there from the start").unwrap();
        });
        let attacker = Attacker::paired(&pair.receiver, 7).await;
        history::store(&attacker).await;
        let around = names_around(&pair);
        Self {
            pair,
            attacker,
            around,
        }
    }

    /// The honest source is served as if nothing were.
    pub(crate) fn honest_source_is_served(&self) {
        let began = Instant::now();
        self.pair.run(&format!(
            "echo {:?} >> honest; mkdir -p d; echo x > d/y",
            began
        ));
        self.pair
            .source
            .everwrite(["sync", "--timeout", "60s"])
            .success();
        let took = began.elapsed();
        assert!(took < HONEST_WAITS_MAX, "an honest source waited {took:?}");
    }

    /// Nothing came of the attack: the receiver lives within bounds, has all that it had, nothing
    /// stands beside the sources' directories, and both histories are whole.
    pub(crate) async fn unharmed(mut self) {
        self.pair.receiver.daemon().assert_alive();
        history::check(&self.attacker).await;
        self.honest_source_is_served();
        let peak = self.pair.receiver.daemon().peak_memory_bytes();
        println!("receiver's peak: {} MiB", peak >> 20);
        assert!(peak < MEMORY_BYTES_MAX, "{} MiB", peak >> 20);
        assert_eq!(names_around(&self.pair), self.around);
        self.honest_tree_is_whole();
        let id = self.attacker.id.to_string();
        self.pair.receiver.daemon().terminate();
        self.pair.receiver.start_again();
        history::check(&self.attacker).await;
        self.pair.receiver.store().verify(&id);
    }

    fn honest_tree_is_whole(&self) {
        let store = self.pair.receiver.store();
        self.pair.source.wait_continuous();
        self.pair.source.settle();
        let id = self.honest_id().to_string();
        let mirror = store.mirror(&id, Pair::ROOT);
        harness::tree::assert_equal(&self.pair.tree, &mirror);
        store.verify(&id);
    }

    /// Who the honest source is.
    pub(crate) fn honest_id(&self) -> SourceId {
        let sources = self.pair.receiver.store().sources();
        let ids = sources.iter().map(|id| id.parse().unwrap());
        let honest: Vec<SourceId> = ids.filter(|id| *id != self.attacker.id).collect();
        assert_eq!(honest.len(), 1);
        honest[0]
    }
}

/// What stands in the place and in the store, down to the sources' directories.
fn names_around(pair: &Pair) -> BTreeSet<String> {
    let store = pair.receiver.store().path().to_owned();
    [
        pair.place.path().to_owned(),
        store.clone(),
        store.join("src"),
    ]
    .iter()
    .flat_map(|directory| std::fs::read_dir(directory).unwrap())
    .map(|entry| entry.unwrap().path().display().to_string())
    .collect()
}

//! A receiver that lies, with the right key or a wrong one, against a coordinator.
//!
//! Whatever it says: the coordinator lives, its memory is bounded, its state says that something is
//! wrong, and once the honest receiver is back everything is stored there and equal.

use everwrite_coordinatord::network_backup::Identity;
use everwrite_protocol::control::{State, Status};
use everwrite_protocol::ids::{FileId, SequenceNumber};
use everwrite_protocol::wire::frame::FrameType;
use everwrite_protocol::wire::{Answer, Kind, Query, Reply, TreeEntry, Welcome};
use everwrite_receiver::transport::Frame;
use harness::{Pair, wait_until};

use crate::fake::{Fake, Lies, answer, reply, welcome};
use crate::history::{attributes, name};

/// Most memory of a coordinator that is lied to, in bytes.
const MEMORY_BYTES_MAX: u64 = 160 << 20;

/// A pair whose receiver has ended, with something stored in it.
struct Scene {
    pair: Pair,
    stored: u64,
}

impl Scene {
    fn start() -> Self {
        let mut pair = Pair::start_without_witness(|tree| {
            std::fs::write(tree.join("first"), "there from the start").unwrap();
        });
        pair.run("mkdir d; seq 50000 > d/large; echo a > d/small");
        pair.assert_mirrored();
        let stored = pair.source.status().uplink.stored.0;
        pair.receiver.daemon().terminate();
        Self { pair, stored }
    }

    async fn lied_to(&self, lies: Lies) -> Fake {
        let store = self.pair.receiver.store();
        Fake::start(self.pair.receiver.address(), store.path(), lies).await
    }

    /// Something to be sent.
    fn change(&self) {
        self.pair
            .run("echo more >> d/small; seq 60000 > d/large; mkdir -p e; echo n > e/new");
    }

    fn wait(&self, what: &str, wanted: impl Fn(&Status) -> bool) {
        wait_until(what, || {
            self.pair
                .source
                .try_status()
                .is_some_and(|status| wanted(&status))
        });
    }

    /// The state says that not all is well, and why.
    fn waits_for_word(&self, state: State, why: &str) {
        self.wait(why, |status| {
            let reason = format!("{} {}", status.roots[0].reason, status.uplink.error);
            status.state == state && reason.contains(why)
        });
    }

    /// What is not acknowledged is not called stored.
    fn waits_for_lag(&self) {
        self.wait("a lag is shown", |status| {
            status.state != State::Continuous && status.roots[0].oldest_unstored_ms > 2000
        });
    }

    /// The honest receiver is back, and nothing came of the lies.
    async fn recovers(mut self, fake: Fake) {
        fake.end().await;
        self.pair.source.daemon().assert_alive();
        self.pair.receiver.start_again();
        self.pair.assert_mirrored();
        let peak = self.pair.source.daemon().peak_memory_bytes();
        println!("coordinator's peak: {} MiB", peak >> 20);
        assert!(peak < MEMORY_BYTES_MAX, "{} MiB", peak >> 20);
        let uplink = self.pair.source.status().uplink;
        assert!(uplink.stored.0 < 1 << 40, "stored {}", uplink.stored.0);
        self.pair.run("echo goes on >> d/small");
        self.pair.assert_mirrored();
    }
}

/// An impostor has not the key: it is told nothing, and believed nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_impostor_is_not_spoken_with() {
    let scene = Scene::start();
    let lies = Lies {
        to_cut: |cut| Some(Reply::Stored(cut.sequence)),
        ..Lies::none(scene.stored)
    };
    let identity = Identity::ephemeral().unwrap();
    let address = scene.pair.receiver.address();
    let fake = Fake::start_as(&identity, address, lies).await;
    scene.change();
    scene.waits_for_word(State::Disconnected, "another certificate");
    assert_eq!(fake.hellos(), 0);
    scene.recovers(fake).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_welcome_from_the_future() {
    for stored in [u64::MAX, i64::MAX as u64, (1 << 62) + 1] {
        let scene = Scene::start();
        let fake = scene.lied_to(Lies::none(stored)).await;
        scene.change();
        scene.waits_for_word(State::Disconnected, "nonsense");
        scene.recovers(fake).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mirror_ahead_of_the_log() {
    let scene = Scene::start();
    let lies = Lies {
        welcome: Some(welcome(scene.stored, u64::MAX, 1 << 20)),
        ..Lies::none(0)
    };
    let fake = scene.lied_to(lies).await;
    scene.change();
    scene.waits_for_word(State::Disconnected, "nonsense");
    scene.recovers(fake).await;
}

async fn acknowledged_too_much(to_cut: fn(&everwrite_protocol::wire::Cut) -> Option<Reply>) {
    let scene = Scene::start();
    let lies = Lies {
        to_cut,
        ..Lies::none(scene.stored)
    };
    let fake = scene.lied_to(lies).await;
    scene.change();
    scene.waits_for_word(State::Disconnected, "nonsense");
    assert!(fake.cuts() > 0);
    scene.recovers(fake).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stored_is_said_of_what_was_never_sent() {
    acknowledged_too_much(|_| Some(Reply::Stored(SequenceNumber(u64::MAX)))).await;
    acknowledged_too_much(|cut| Some(Reply::Stored(SequenceNumber(cut.sequence.0 + 1)))).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn applied_is_said_of_what_is_not_stored() {
    acknowledged_too_much(|cut| Some(Reply::Applied(cut.sequence))).await;
}

/// With the key, a lie about what was sent can't be told from the truth; when the receiver is honest
/// again, it shows.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stored_is_said_of_what_is_thrown_away() {
    let scene = Scene::start();
    let lies = Lies {
        to_cut: |cut| Some(Reply::Stored(cut.sequence)),
        ..Lies::none(scene.stored)
    };
    let fake = scene.lied_to(lies).await;
    scene.change();
    wait_until("batches are thrown away", || fake.cuts() > 0);
    scene.pair.source.everwrite(["sync"]).success();
    scene.recovers(fake).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn numbers_go_backwards() {
    let scene = Scene::start();
    let lies = Lies {
        at_once: [0, 2, 1]
            .map(|number| reply(&Reply::Stored(SequenceNumber(number))))
            .to_vec(),
        to_cut: |_| Some(Reply::Stored(SequenceNumber(1))),
        ..Lies::none(scene.stored)
    };
    let fake = scene.lied_to(lies).await;
    scene.change();
    wait_until("a batch comes", || fake.cuts() > 0);
    scene.waits_for_lag();
    scene.recovers(fake).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn windows_of_nothing_and_of_everything() {
    for window_bytes in [0, u64::MAX] {
        let scene = Scene::start();
        let lies = Lies {
            welcome: Some(welcome(scene.stored, scene.stored, window_bytes)),
            ..Lies::none(0)
        };
        let fake = scene.lied_to(lies).await;
        scene.change();
        scene.pair.run("head -c 100M /dev/zero | tr '\\0' x > big");
        scene.waits_for_lag();
        scene.recovers(fake).await;
    }
}

async fn insists_on(frame: Frame<'static>, state: State, why: &str) {
    let scene = Scene::start();
    let lies = Lies {
        for_ever: Some(frame),
        ..Lies::none(scene.stored)
    };
    let fake = scene.lied_to(lies).await;
    scene.change();
    scene.waits_for_word(state, why);
    scene.recovers(fake).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_to_questions_that_nobody_asked() {
    let nobody = answer(&Answer::Signature, vec![0; 1 << 20]);
    insists_on(nobody, State::Disconnected, "out of turn").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stall_that_is_told_without_end() {
    let stalled = Reply::Stalled {
        reason: "\u{1b}]0;full\u{7}".repeat(50_000),
    };
    insists_on(reply(&stalled), State::Stalled, "full").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn silence() {
    let scene = Scene::start();
    let lies = Lies {
        welcome: None,
        ..Lies::none(0)
    };
    let fake = scene.lied_to(lies).await;
    scene.change();
    scene.waits_for_word(State::Disconnected, "does not answer");
    scene.recovers(fake).await;
}

/// What a receiver of another kind of lie says to questions: numbers of digests, block sizes and types
/// that nobody asked for.
fn absurd(query: &Query) -> Option<Frame<'static>> {
    let signature = |block: u32| {
        let words = [0x7273_0136, block, 16u32].map(u32::to_be_bytes).concat();
        answer(&Answer::Signature, words)
    };
    Some(match query {
        Query::Digests { block, .. } if block.is_multiple_of(8192) => {
            let blocks = u32::MAX;
            answer(
                &Answer::Digests {
                    size: u64::MAX,
                    blocks,
                },
                vec![0; 17],
            )
        }
        Query::Digests { .. } => signature(0),
        Query::Signature { .. } => signature(0),
        _ => answer(&Answer::Stat(entry(0, 0, "..x")), Vec::new()),
    })
}

/// The receiver was asked about a file, for its changes are not known.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn absurd_answers_about_content() {
    let scene = Scene::start();
    let lies = Lies {
        to_query: absurd,
        ..Lies::none(scene.stored)
    };
    let fake = scene.lied_to(lies).await;
    harness::shell(&scene.pair.tree, "seq 2 60000 > d/large");
    scene
        .pair
        .source
        .everwrite(["reconcile", "--timeout", "1s"]);
    wait_until("a question comes", || fake.questions() > 0);
    scene.wait("not called stored", |status| {
        status.state != State::Continuous
    });
    scene.recovers(fake).await;
}

fn entry(file: u64, parent: u64, called: &str) -> TreeEntry {
    TreeEntry {
        file: FileId(file),
        parent: FileId(parent),
        name: name(called),
        attributes: attributes(Kind::Directory, 0),
        changed: SequenceNumber(1),
    }
}

fn tree(entries: Vec<TreeEntry>, highest: u64, more: bool) -> Option<Frame<'static>> {
    let tree = Answer::Tree {
        entries,
        cursor: more.then(|| vec![1]),
        highest_file: FileId(highest),
    };
    Some(answer(&tree, Vec::new()))
}

/// A receiver that says it has lost everything is asked for its tree.
async fn shows_tree(to_query: fn(&Query) -> Option<Frame<'static>>) {
    let scene = Scene::start();
    let lies = Lies {
        to_query,
        ..Lies::none(0)
    };
    let fake = scene.lied_to(lies).await;
    scene.change();
    wait_until("the tree is asked for", || fake.questions() > 0);
    scene.waits_for_word(State::Error, "rebuild the index");
    scene.recovers(fake).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tree_with_a_circle() {
    shows_tree(|_| {
        let entries = vec![entry(1, 0, "tree"), entry(2, 3, "a"), entry(3, 2, "b")];
        tree(entries, 3, false)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_directory_below_itself() {
    shows_tree(|_| {
        let entries = vec![entry(1, 0, "tree"), entry(2, 1, "a"), entry(1, 2, "b")];
        tree(entries, 3, false)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tree_that_leaves_no_numbers() {
    shows_tree(|_| tree(vec![entry(1, 0, "tree")], u64::MAX, false)).await;
    shows_tree(|_| tree(vec![entry(1, 0, "tree")], i64::MAX as u64, false)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tree_without_end() {
    shows_tree(|_| tree(vec![entry(1, 0, "tree")], 9, true)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn batches_are_rejected_without_end() {
    let mut scene = Scene::start();
    let lies = Lies {
        to_cut: |cut| {
            Some(Reply::Rejected {
                sequence: cut.sequence,
                reason: "because".to_owned(),
            })
        },
        to_query: |_| tree(vec![entry(1, 0, "tree")], 9, false),
        ..Lies::none(scene.stored)
    };
    let fake = scene.lied_to(lies).await;
    scene.change();
    scene.waits_for_word(State::Error, "because");
    // Halted for a person, who has it start again.
    fake.end().await;
    scene.pair.source.daemon().terminate();
    scene.pair.receiver.start_again();
    scene.pair.source.start_again();
    scene.pair.assert_mirrored();
}

/// A frame of another type is as good as none.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_welcome_that_is_none() {
    let scene = Scene::start();
    let lies = Lies {
        welcome: Some(Welcome::Refused(everwrite_protocol::wire::Refusal::Version)),
        for_ever: Some(Frame::empty(FrameType::Pong)),
        ..Lies::none(0)
    };
    let fake = scene.lied_to(lies).await;
    scene.change();
    scene.waits_for_word(State::Disconnected, "version");
    scene.recovers(fake).await;
}

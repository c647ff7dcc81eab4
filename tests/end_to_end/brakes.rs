//! A root that is missing or suddenly empty is a fault, not a wish: halt, say so, delete nothing.

use everwrite_protocol::control::State;
use harness::{DEADLINE, Pair, shell, tree, wait_for};
use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit};

fn with_files() -> Pair {
    let pair = Pair::start_with(|tree| {
        shell(
            tree,
            "mkdir d; for i in $(seq 50); do echo $i > d/$i; done; echo top > top",
        );
    });
    pair.assert_mirrored();
    pair
}

/// Moves the root out of the way, as an unmounted disk would be.
fn take_away(pair: &Pair) {
    std::fs::rename(&pair.tree, pair.place.path().join("elsewhere")).expect("move the root away");
}

fn bring_back(pair: &Pair) {
    // What stands in its place is empty, or not there at all.
    let _ = std::fs::remove_dir(&pair.tree);
    std::fs::rename(pair.place.path().join("elsewhere"), &pair.tree).expect("move the root back");
}

fn assert_halted(pair: &Pair) {
    let status = pair.source.wait_state(State::Error);
    let reason = &status.roots[0].reason;
    assert!(!reason.is_empty(), "the reason is shown");
    pair.source.everwrite(["status"]).exits(1);
    let kept = pair.place.path().join("elsewhere");
    tree::assert_equal(&kept, &pair.mirror());
}

#[test]
fn missing_at_the_start() {
    let mut pair = with_files();
    pair.source.kill();
    take_away(&pair);
    pair.source.start_again();
    assert_halted(&pair);
    bring_back(&pair);
    pair.assert_mirrored();
}

#[test]
fn empty_at_the_start() {
    let mut pair = with_files();
    pair.source.kill();
    take_away(&pair);
    std::fs::create_dir(&pair.tree).expect("an empty directory");
    pair.source.start_again();
    assert_halted(&pair);
    bring_back(&pair);
    pair.assert_mirrored();
}

#[test]
fn missing_while_running() {
    let pair = with_files();
    take_away(&pair);
    // Whoever asks finds out; the background scan would, later.
    pair.source.everwrite(["reconcile"]);
    assert_halted(&pair);
    bring_back(&pair);
    pair.assert_mirrored();
}

#[test]
fn empty_while_running() {
    let pair = with_files();
    take_away(&pair);
    std::fs::create_dir(&pair.tree).expect("an empty directory");
    pair.source.everwrite(["reconcile"]);
    assert_halted(&pair);
    bring_back(&pair);
    pair.assert_mirrored();
}

/// Somebody who empties a root on purpose, under the shim, is heard file by file.
#[test]
fn emptied_on_purpose() {
    let pair = with_files();
    pair.run("rm -r d top");
    pair.assert_mirrored();
    assert!(
        pair.mirror()
            .read_dir()
            .expect("the mirror")
            .next()
            .is_none()
    );
}

/// A root that can't be opened for want of descriptors is not missing: it is tried again, and nothing is halted.
#[test]
fn too_few_descriptors() {
    let mut pair = with_files();
    let daemon = pair.source.daemon();
    let process = Pid::from_raw(daemon.pid().cast_signed());
    let few = Rlimit {
        current: Some(1),
        ..getrlimit(Resource::Nofile)
    };
    let before = prlimit(process, Resource::Nofile, few).expect("limit the coordinator");
    pair.run("echo more > more");
    wait_for("it says what it lacks", DEADLINE, || {
        let log = pair.source.daemon().log();
        log.contains("open a root: Too many open files")
            .then_some(())
    });
    prlimit(process, Resource::Nofile, before).expect("the limit as it was");
    pair.assert_mirrored();
    let log = pair.source.daemon().log();
    assert!(!log.contains("halted"), "{log}");
}

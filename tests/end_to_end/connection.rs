//! The network between the two: cut, silent, cut in the middle of a batch.

use everwrite_protocol::control::State;
use harness::{Destination, Pair, Place, Proxy, Receiver, Source, wait_until};

/// A pair with a proxy between.
fn far_apart() -> (Pair, Proxy) {
    let place = Place::new();
    let receiver = Receiver::start(&place, "store");
    let proxy = Proxy::start(receiver.address());
    let source = Source::start(&place, "home");
    let tree = place.directory("tree");
    source.pair(
        &receiver
            .pairing_code()
            .replace(receiver.address(), &proxy.address()),
    );
    source.protect(&tree, Pair::ROOT, &Destination::Receiver(&receiver));
    (
        Pair {
            source,
            receiver,
            tree,
            place,
        },
        proxy,
    )
}

#[test]
fn cut_and_back() {
    let (pair, proxy) = far_apart();
    pair.run("echo before > a");
    pair.assert_mirrored();
    proxy.cut();
    pair.source.wait_state(State::Disconnected);
    pair.run("echo while cut > b; echo more >> a; mkdir d; mv a d");
    pair.source
        .everwrite(["sync", "--timeout", "300ms"])
        .exits(1);
    assert!(
        pair.source.status().roots[0].backlog_files > 0,
        "a backlog is shown"
    );
    proxy.resume();
    pair.assert_mirrored();
}

#[test]
fn silent_and_back() {
    let (pair, proxy) = far_apart();
    proxy.hold();
    pair.run("seq 100000 > a; cp a b");
    pair.source
        .everwrite(["sync", "--timeout", "300ms"])
        .exits(1);
    proxy.resume();
    pair.assert_mirrored();
}

#[test]
fn cut_in_the_middle_of_batches() {
    let (pair, proxy) = far_apart();
    for round in 0..12 {
        proxy.cut_after(pair.place.seed.below(3 << 20));
        pair.run(&format!(
            "head -c 2M /dev/urandom > f{round}; seq 20000 >> log; rm -f f{}",
            round - 3
        ));
        wait_until("the line is cut", || {
            pair.run("head -c 200k /dev/urandom > filler");
            proxy.is_cut()
        });
        proxy.resume();
    }
    pair.assert_mirrored();
}

#[test]
fn both_restarted() {
    let (mut pair, _proxy) = far_apart();
    pair.run("seq 1000 > a");
    pair.assert_mirrored();
    pair.source.daemon().terminate();
    pair.receiver.daemon().terminate();
    harness::shell(&pair.tree, "seq 2000 > a; mkdir d; touch d/new");
    pair.receiver.start_again();
    pair.source.start_again();
    pair.assert_mirrored();
    pair.run("echo goes on >> a");
    pair.assert_mirrored();
}

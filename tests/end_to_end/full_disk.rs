//! The receiver's disk is full: STALLED, nothing acknowledged is lost, and on it goes with more space.

use everwrite_protocol::control::State;
use harness::{Pair, Place, Receiver, SmallDisk, skip, tree};

#[test]
fn full_and_not_full_any_more() {
    let place = Place::new();
    let disk = match SmallDisk::mount(&place, 48) {
        Ok(disk) => disk,
        Err(reason) => return skip("full_disk::full_and_not_full_any_more", &reason),
    };
    let receiver = Receiver::start_in(&place, "receiver", &disk.path().join("store"));
    let mut pair = Pair::start_between(place, receiver, "", |_| {});
    pair.run("head -c 4M /dev/urandom > stored; echo kept > kept");
    pair.source.everwrite(["checkpoint", "before"]).success();
    let before = tree::copy_of(&pair.tree, &pair.place.path().join("before"));

    pair.run("for i in $(seq 30); do head -c 2M /dev/urandom > large-$i; done; rm kept");
    let status = pair.source.wait_state(State::Stalled);
    assert!(!status.roots[0].reason.is_empty(), "the reason is shown");
    pair.source
        .everwrite(["sync", "--timeout", "300ms"])
        .exits(1);

    disk.grow(400);
    pair.assert_mirrored();
    pair.assert_restores("before", &before);
    pair.receiver.daemon().assert_alive();
}

#[test]
fn full_and_killed() {
    let place = Place::new();
    let disk = match SmallDisk::mount(&place, 48) {
        Ok(disk) => disk,
        Err(reason) => return skip("full_disk::full_and_killed", &reason),
    };
    let receiver = Receiver::start_in(&place, "receiver", &disk.path().join("store"));
    let mut pair = Pair::start_between(place, receiver, "", |_| {});
    pair.run("for i in $(seq 40); do head -c 2M /dev/urandom > large-$i; done");
    pair.source.wait_state(State::Stalled);
    pair.receiver.kill();
    disk.grow(400);
    pair.receiver.start_again();
    pair.assert_mirrored();
}

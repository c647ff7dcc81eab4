//! kill -9 at moments that nobody chose, while real programs work: of the coordinator, of the receiver,
//! of the programs. Programs never notice that a daemon died; nothing is lost.

use std::time::Duration;

use harness::{Pair, Place, Receiver};

use crate::workload::{Material, assert_undisturbed, kill_group, shuffled};

/// Longest time from a workload's start to the blow. Most take 50 to 500 ms under the shim.
const BLOW_MAX: Duration = Duration::from_millis(300);

fn pair_and_material() -> (Pair, Material) {
    let place = Place::new();
    let material = Material::make(&place);
    let receiver = Receiver::start(&place, "store");
    (Pair::start_between(place, receiver, "", |_| {}), material)
}

#[test]
fn coordinator_killed() {
    let (mut pair, material) = pair_and_material();
    for (number, workload) in shuffled(&pair.place.seed).into_iter().enumerate() {
        let child = material.start(&pair, workload, number as u64);
        pair.place.seed.moment(BLOW_MAX);
        pair.source.kill();
        pair.place.seed.moment(BLOW_MAX);
        pair.source.start_again();
        assert_undisturbed(workload, child, &pair.tree);
    }
    pair.assert_mirrored();
}

#[test]
fn receiver_killed() {
    let (mut pair, material) = pair_and_material();
    for (number, workload) in shuffled(&pair.place.seed).into_iter().enumerate() {
        let child = material.start(&pair, workload, number as u64);
        pair.place.seed.moment(BLOW_MAX);
        pair.receiver.kill();
        pair.place.seed.moment(BLOW_MAX);
        pair.receiver.start_again();
        assert_undisturbed(workload, child, &pair.tree);
    }
    pair.assert_mirrored();
}

#[test]
fn program_killed() {
    let (pair, material) = pair_and_material();
    for (number, workload) in shuffled(&pair.place.seed).into_iter().enumerate() {
        let child = material.start(&pair, workload, number as u64);
        pair.place.seed.moment(BLOW_MAX);
        kill_group(child);
        // What a killed program had just begun is known without a scan: the shim tells before it acts.
        pair.assert_mirrored();
    }
}

#[test]
fn all_killed_in_turn() {
    let (mut pair, material) = pair_and_material();
    for (number, workload) in shuffled(&pair.place.seed).into_iter().enumerate() {
        let child = material.start(&pair, workload, number as u64);
        pair.place.seed.moment(BLOW_MAX);
        pair.receiver.kill();
        pair.source.kill();
        pair.place.seed.moment(BLOW_MAX);
        kill_group(child);
        pair.source.start_again();
        pair.place.seed.moment(BLOW_MAX);
        pair.receiver.start_again();
    }
    pair.assert_mirrored();
}

/// What was acknowledged is there after any death, in the history too.
#[test]
fn checkpoints_survive() {
    let (mut pair, material) = pair_and_material();
    let mut copies = Vec::new();
    for (number, workload) in shuffled(&pair.place.seed).into_iter().take(3).enumerate() {
        pair.run(&material.script(workload, number as u64));
        let name = format!("after-{number}");
        pair.source.everwrite(["checkpoint", &name]).success();
        let copy = harness::tree::copy_of(&pair.tree, &pair.place.path().join(&name));
        copies.push((name, copy));
        pair.receiver.kill();
        pair.source.kill();
        pair.receiver.start_again();
        pair.source.start_again();
    }
    pair.assert_mirrored();
    for (name, copy) in &copies {
        pair.assert_restores(name, copy);
    }
}

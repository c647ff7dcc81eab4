//! Everything at once, for as long as one likes: programs change a tree, with the shim and without, while daemons
//! are killed, the line between them is cut, slowed and held, the receiver's disk fills up, the switch is turned.
//!
//! A world lives for a few rounds. At the end of each its programs are stopped, all faults are mended, and tree and
//! mirror have to be equal; a checkpoint is made and the tree copied. At the end of the world every checkpoint has
//! to be what was copied then, and points between them have to be restorable, with the source dead.
//!
//! `EVERWRITE_SOAK=MINUTES` has one world after the other, each with a seed of its own, which it prints.
//!
//! Worlds that have failed, and what came of them (moments of faults depend on the machine, so the seed alone may
//! not do):
//! - 1795410581112779560: files written in a gap, and again before the scan: `gaps::written_while_*`.

mod faults;
mod world;
mod writers;

use std::time::{Duration, Instant};

use harness::Seed;

use world::World;

/// Rounds of a world. More would make its history long, and a failure hard to read.
const ROUNDS: u32 = 3;
/// Faults of a round: at least one, and up to so many more.
const FAULTS_MORE: u64 = 4;
/// Longest time between two faults.
const QUIET_MAX: Duration = Duration::from_millis(900);

fn live_and_die(seed: u64) {
    let mut world = World::begin(seed);
    println!("this world: EVERWRITE_SEED={seed}");
    for round in 0..ROUNDS {
        let mut writers = writers::start(&world);
        for _ in 0..=world.seed().below(FAULTS_MORE + 1) {
            world.seed().moment(QUIET_MAX);
            faults::next(world.seed()).happen(&mut world, &mut writers);
        }
        world.seed().moment(QUIET_MAX);
        drop(writers);
        world.judge(round);
    }
    world.end();
}

/// How long to go on; one world when nothing is said.
fn time_wanted() -> Duration {
    let minutes = std::env::var("EVERWRITE_SOAK").map_or(0, |minutes| {
        minutes
            .parse::<u64>()
            .expect("EVERWRITE_SOAK is a number of minutes")
    });
    Duration::from_secs(60 * minutes)
}

#[test]
fn soak() {
    let end = Instant::now() + time_wanted();
    let first = Seed::number();
    live_and_die(first);
    let chance = Seed::new(first);
    while Instant::now() < end {
        live_and_die(chance.next());
    }
}

//! A store whose process is killed at any moment loses nothing that it acknowledged, and its mirror and
//! history are whole once it is opened again.
//!
//! The test runs itself as a child, which stores and applies batches as fast as it can and tells what
//! was acknowledged; it is killed in the middle of that, again and again, on the same store.

mod support;

use support::child::{self, Checker, Manner, ROUNDS, Random, SEED, setting};
use support::{SOURCE, scratch};

/// Not a test of its own.
#[test]
fn child() {
    child::work();
}

#[test]
fn nothing_acknowledged_is_lost() {
    let directory = scratch();
    let lock = directory
        .path()
        .join("src")
        .join(SOURCE.to_string())
        .join("apply.lock");
    let (rounds, mut random) = (setting(ROUNDS), Random(setting(SEED)));
    let mut checker = Checker::new(Manner::USUAL.content);
    let mut in_between = 0;
    for round in 0..rounds {
        println!("round {round}");
        let acknowledged =
            child::run_and_kill(directory.path(), Manner::USUAL, &mut random, |_, _| {});
        in_between += u64::from(std::fs::read(&lock).unwrap() == [1]);
        checker.check(directory.path(), acknowledged, &mut random);
    }
    println!(
        "{in_between} of {rounds} kills in the middle of the mirror, {} batches",
        checker.batches()
    );
}

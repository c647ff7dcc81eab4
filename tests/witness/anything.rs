//! Programs that do anything to the same few names, with the shim and without: whoever hears what, nothing is missed.

use std::process::{Child, Command};

use harness::{Pair, wait_until};

use crate::scene::{all_was_heard, witnessed};

const PROGRAM: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/witness/anything.py");
const OPERATIONS: &str = "2000";

fn start(pair: &Pair, mut command: Command) -> Child {
    let seed = pair.place.seed.next().to_string();
    let arguments = ["python3", PROGRAM, &seed, OPERATIONS];
    let command = command.args(arguments).current_dir(&pair.tree);
    command.spawn().expect("start a program")
}

#[test]
fn two_programs_do_anything_to_the_same_names() {
    let test = "two_programs_do_anything_to_the_same_names";
    let Some(pair) = witnessed(test, "echo > anchor") else {
        return;
    };
    let mut with_shim = pair.source.command();
    with_shim.args(["run", "--"]);
    let programs = [start(&pair, with_shim), start(&pair, Command::new("env"))];
    for mut program in programs {
        assert!(program.wait().expect("its end").success());
    }
    all_was_heard(&pair);
    wait_until("the last point is one that the disk had", || {
        let root = pair.source.status().roots.remove(0);
        root.consistent_point == root.recovery_point
    });
}

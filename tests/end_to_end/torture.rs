//! Programs of one to eight threads are killed, and the coordinator beneath them, again and again, at
//! moments that nobody chose.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use harness::{Pair, Place, kills, run, shell};

use crate::workload::kill_group;

const TORTURE: &str = include_str!("../conformance/c/torture.c");
const MODES: [&str; 5] = ["write", "pwrite", "append", "stdio", "names"];
/// Longest time between two blows. They write fast.
const BLOW_MAX: Duration = Duration::from_millis(40);
/// Every so often the tree is looked at, and emptied.
const ROUNDS_BETWEEN_LOOKS: u32 = 8;

fn compile(place: &Place) -> PathBuf {
    let (code, program) = (place.path().join("torture.c"), place.path().join("torture"));
    std::fs::write(&code, TORTURE).expect("write the program");
    let mut cc = Command::new("cc");
    cc.args(["-O1", "-w", "-D_GNU_SOURCE", "-pthread", "-o"]);
    run(cc.arg(&program).arg(code)).success();
    program
}

/// One program to its end. `true`: the coordinator died in between.
fn round(pair: &mut Pair, program: &str) -> bool {
    let seed = &pair.place.seed;
    let mode = MODES[seed.below(MODES.len() as u64) as usize];
    let threads = 1 + seed.below(8);
    println!("{mode} {threads}");
    let script = format!("exec {program} {mode} {threads}");
    let child = pair.source.spawn(&pair.tree, &script);
    pair.place.seed.moment(BLOW_MAX);
    match pair.place.seed.below(4) {
        0 => {
            pair.source.kill();
            pair.place.seed.moment(BLOW_MAX);
            kill_group(child);
            pair.source.start_again();
        }
        1 => {
            pair.source.kill();
            pair.place.seed.moment(BLOW_MAX);
            pair.source.start_again();
            pair.place.seed.moment(BLOW_MAX);
            kill_group(child);
        }
        _ => {
            kill_group(child);
            return false;
        }
    }
    true
}

#[test]
fn killed_while_the_coordinator_dies() {
    let mut pair = Pair::start_with(|tree| {
        shell(tree, "echo anchor > anchor");
    });
    let program = compile(&pair.place).display().to_string();
    let (rounds, mut deaths) = (kills() / 12, 0);
    for number in 1..=rounds {
        deaths += u32::from(round(&mut pair, &program));
        if number % ROUNDS_BETWEEN_LOOKS == 0 {
            pair.assert_mirrored();
            pair.run("rm -rf file-* name-* other-* d");
        }
    }
    pair.assert_mirrored();
    assert!(deaths > rounds / 8, "the coordinator died {deaths} times");
}

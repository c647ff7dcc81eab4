//! Programs that are killed at any moment: what they did must have been told all the same.

use std::io::Read;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use harness::recorder::Snapshot;
use harness::{Seed, kills};

use crate::scene::Scene;

const TORTURE: &str = include_str!("c/torture.c");

/// Waits for a moment that the seed chose, without giving the processor away.
fn wait_some(seed: &mut Seed) {
    let until = Instant::now() + Duration::from_micros(seed.below(3000));
    while Instant::now() < until {
        std::hint::spin_loop();
    }
}

/// `false`: it was killed before it was heard.
fn kill_once(scene: &Scene, program: &Path, mode: &str, threads: &str, seed: &mut Seed) -> bool {
    let before = Snapshot::of(&scene.tree);
    let mut command = scene.command(program);
    let mut child = command
        .args([mode, threads])
        .stdout(Stdio::piped())
        .spawn()
        .expect("run the program");
    let mut ready = [0; 6];
    child
        .stdout
        .as_mut()
        .expect("piped")
        .read_exact(&mut ready)
        .expect("it is ready");
    wait_some(seed);
    child.kill().expect("kill it");
    child.wait().expect("its end");
    let record = scene.recorder.take();
    let (missed, _) = before.missed(&record);
    assert!(
        missed.is_empty(),
        "{mode}: not told:\n{}\n{record:#?}",
        missed.join("\n")
    );
    assert_eq!(record.everything, 0, "{record:#?}");
    record.slots + record.messages > 0 && record.in_vain == 0
}

/// Many threads change much, and to look at it takes its time: then fewer die.
fn rounds(threads: &str) -> u32 {
    let threads: u32 = threads.parse().expect("a number");
    kills() * 2 / (threads + 1)
}

fn torture(mode: &str, threads: &str) {
    let scene = Scene::new();
    let mut seed = Seed::from_environment();
    let program = scene.compile("torture", TORTURE);
    let rounds = rounds(threads);
    let (mut heard, enough) = (0, rounds / 4);
    // On a busy machine many are killed before they are heard: then more have to die.
    for round in 0..rounds * 4 {
        if round >= rounds && heard > enough {
            break;
        }
        if round % 20 == 0 {
            scene.prepare(
                "rm -rf ./*; for i in 0 1; do head -c 300000 /dev/zero | tr '\\0' . >file-$i; done",
            );
        }
        heard += u32::from(kill_once(&scene, &program, mode, threads, &mut seed));
    }
    assert!(heard > enough, "{heard} heard: too few to say anything");
}

#[test]
fn killed_in_write() {
    torture("write", "1");
}

#[test]
fn killed_in_pwrite() {
    torture("pwrite", "1");
}

#[test]
fn killed_in_pwrite_of_two_threads() {
    torture("pwrite", "2");
}

#[test]
fn killed_in_write_of_two_threads() {
    torture("write", "2");
}

#[test]
fn killed_in_write_of_four_threads() {
    torture("write", "4");
}

#[test]
fn killed_in_pwrite_of_eight_threads() {
    torture("pwrite", "8");
}

#[test]
fn killed_in_append() {
    torture("append", "1");
}

#[test]
fn killed_in_stdio() {
    torture("stdio", "1");
}

#[test]
fn killed_in_calls_of_names() {
    torture("names", "2");
}

#[test]
fn killed_in_calls_of_names_of_eight_threads() {
    torture("names", "8");
}

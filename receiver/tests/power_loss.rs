//! A store whose machine loses power at any moment loses nothing that it acknowledged.
//!
//! The store is on a file system in an image. The child that writes to it is killed, and before the
//! kernel writes anything more of its own accord, the image is copied: the copy holds what was synced
//! and what the kernel happened to have written, as a disk does after a power cut. The journal of the
//! file system (ext4) is replayed when the copy is mounted, and the store is checked on it.
//!
//! Needs root, loop devices and mkfs.ext4. The test runs itself once more within mounts of its own, so
//! that nothing stays mounted however it ends.

mod support;

use std::io::Write;
use std::path::Path;
use std::process::Command;

use support::child::{self, Checker, Manner, Random, SEED, setting};
use support::{SOURCE, compare};

const IMAGE_BYTES: u64 = 768 << 20;
/// How many times the power goes; another number by this variable.
const ROUNDS: (&str, u64) = ("EVERWRITE_TEST_POWER_CUTS", 30);
/// Set for the test within mounts of its own.
const APART: &str = "EVERWRITE_TEST_MOUNTS_APART";

/// What the program said, if it did not work.
fn tried(program: &str, arguments: &[&Path]) -> Result<(), String> {
    let output = Command::new(program).args(arguments).output();
    let output = output.map_err(|error| format!("{program}: {error}"))?;
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    output.status.success().then_some(()).ok_or(said)
}

fn run(program: &str, arguments: &[&Path]) {
    tried(program, arguments).unwrap_or_else(|said| panic!("{program} {arguments:?}: {said}"));
}

/// A mounted image; unmounted when dropped.
struct Mounted<'p>(&'p Path);

impl<'p> Mounted<'p> {
    /// The kernel commits nothing by the clock for five minutes: what is on the disk was asked for.
    fn new(image: &Path, at: &'p Path) -> Result<Self, String> {
        let options = Path::new("loop,commit=300,noatime");
        tried("mount", &["-o".as_ref(), options, image, at])?;
        Ok(Self(at))
    }
}

impl Drop for Mounted<'_> {
    fn drop(&mut self) {
        run("umount", &[self.0]);
    }
}

/// Not a test of its own.
#[test]
fn child() {
    child::work();
}

#[test]
fn nothing_acknowledged_is_lost_with_the_power() {
    if std::env::var_os(APART).is_some() {
        return power_goes();
    }
    let this = std::env::current_exe().unwrap();
    let name = "nothing_acknowledged_is_lost_with_the_power";
    let mut apart = Command::new("unshare");
    apart.arg("--mount").arg(this).args([name, "--exact"]);
    apart.args(["--nocapture", "--test-threads=1"]);
    match mountable() {
        Ok(()) => {
            let output = apart.env(APART, "1").output().unwrap();
            print!("{}", String::from_utf8_lossy(&output.stdout));
            eprint!("{}", String::from_utf8_lossy(&output.stderr));
            assert!(output.status.success(), "{}", output.status);
        }
        // Past the capture of libtest, for scripts/test to count.
        Err(why) => drop(writeln!(std::io::stderr(), "SKIPPED {name}: {why}")),
    }
}

/// Why images can't be mounted here, if they can't.
fn mountable() -> Result<(), String> {
    let work = tempfile::tempdir().unwrap();
    let image = work.path().join("image");
    make_image(&image).map_err(|why| format!("needs mkfs.ext4: {why}"))?;
    let script = "mount -o loop \"$0\" \"$1\"".as_ref();
    let arguments = ["--mount", "sh", "-c"].map(Path::new);
    let arguments = [&arguments[..], &[script, &image, work.path()]].concat();
    tried("unshare", &arguments).map_err(|why| format!("needs root and loop devices: {why}"))
}

fn make_image(image: &Path) -> Result<(), String> {
    let file = std::fs::File::create(image).unwrap();
    file.set_len(IMAGE_BYTES).unwrap();
    tried("mkfs.ext4", &["-q".as_ref(), "-F".as_ref(), image])
}

fn power_goes() {
    let work = support::scratch();
    let [image, after, mount] = ["image", "after", "mount"].map(|name| work.path().join(name));
    std::fs::create_dir(&mount).unwrap();
    make_image(&image).unwrap();
    let (rounds, mut random) = (setting(ROUNDS), Random(setting(SEED)));
    let mut checker = Checker::new(Manner::USUAL.content);
    for round in 0..rounds {
        let acknowledged = {
            let mounted = Mounted::new(&image, &mount).unwrap();
            let acknowledged =
                child::run_and_kill(mounted.0, Manner::USUAL, &mut random, |_, _| {});
            run("cp", &["--sparse=always".as_ref(), &image, &after]);
            acknowledged
        };
        std::fs::rename(&after, &image).unwrap();
        let mounted = Mounted::new(&image, &mount).unwrap();
        println!("round {round}: {acknowledged} acknowledged");
        checker.check(mounted.0, acknowledged, &mut random);
    }
    println!("{} batches", checker.batches());
}

/// The mark that the mirror is being changed is not synced: it may come back with the power.
#[test]
fn a_mark_that_outlived_its_window_is_taken_away() {
    let directory = support::scratch();
    let store = support::open(directory.path());
    let mut batches = child::Batches::new(Manner::USUAL.content);
    for sequence in 1..=8 {
        support::send(&store, sequence, &batches.next().1);
    }
    support::catch_up(&store, 8);
    drop(store);
    let source = directory.path().join("src").join(SOURCE.to_string());
    std::fs::write(source.join("apply.lock"), [1]).unwrap();
    let store = support::open(directory.path());
    compare::history(&store, 8, &batches.tree());
}

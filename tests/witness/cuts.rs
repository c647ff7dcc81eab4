//! Which recovery points are states that the disk really had.
//!
//! A program writes one number after the other, each first into `first` and then into `second`. At any
//! moment the disk has the same number in both, or in `first` the next. A point that says that it is
//! crash-consistent must have that, too, and no number that was written after its time, and every one before.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use harness::{DEADLINE, Pair, wait_for};
use serde::Deserialize;

use crate::scene::{witnessed, witnessed_with};

/// Consistent points that a test waits for.
const WANTED: usize = 12;

/// As `everwrite points --json` tells it.
#[derive(Deserialize, Debug, Clone)]
struct Point {
    point: u64,
    time: String,
    kind: String,
    #[serde(default)]
    why: String,
}

impl Point {
    fn is_consistent(&self) -> bool {
        ["crash-consistent", "fsync-point"].contains(&&*self.kind)
    }

    fn at(&self) -> i64 {
        let time: jiff::Timestamp = self.time.parse().unwrap();
        i64::try_from(time.as_nanosecond()).unwrap()
    }
}

/// All points, the oldest first.
fn points(pair: &Pair) -> Vec<Point> {
    let told = pair.source.everwrite(["points", "--json", "-n", "100000"]);
    let mut points: Vec<Point> = told.success().json();
    points.reverse();
    points
}

/// Writes numbers as fast as it can, and notes when each was in both files. Each so-manieth is synced, if that is
/// asked, and followed by a rest.
const WRITER: &str = r#"
import os, sys, time
first, second = (os.open(name, os.O_RDWR | os.O_CREAT) for name in ("first", "second"))
notes = open(sys.argv[1], "w")
syncs = int(sys.argv[2]) if sys.argv[2:] else 0
number = 0
while True:
    number += 1
    for file in (first, second): os.pwrite(file, b"%016d" % number * 64, 0)
    if syncs and number % syncs == 0:
        for file in (first, second): os.fdatasync(file)
        time.sleep(0.05)
    notes.write(f"{number} {time.time_ns()}\n")
    if number % 16 == 0: notes.flush()
"#;

/// The program at work, with the shim or without; ends with this.
struct Writer(Child);

impl Writer {
    fn start(pair: &Pair, command: Command) -> Self {
        Self::start_with(pair, command, &[])
    }

    fn start_with(pair: &Pair, mut command: Command, more: &[&str]) -> Self {
        let command = command.args(["-c", WRITER]).arg(notes(pair));
        Self(
            command
                .args(more)
                .current_dir(&pair.tree)
                .stdout(Stdio::null())
                .spawn()
                .unwrap(),
        )
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn notes(pair: &Pair) -> PathBuf {
    pair.place.path().join("notes")
}

fn shimmed(pair: &Pair) -> Command {
    let mut command = pair.source.command();
    command.args(["run", "--", "python3"]);
    command
}

/// Number and time of all that was noted, as far as the lines are whole.
fn noted(pair: &Pair) -> Vec<(u64, i64)> {
    let notes = std::fs::read_to_string(notes(pair)).unwrap_or_default();
    let whole = notes.rsplit_once('\n').map_or("", |(whole, _)| whole);
    let number = |line: &str| {
        let (number, time) = line.split_once(' ').unwrap();
        (number.parse().unwrap(), time.parse().unwrap())
    };
    whole.lines().map(number).collect()
}

/// The number in a file; `None`: not one number.
fn number(file: &Path) -> Option<u64> {
    let bytes = std::fs::read(file).ok()?;
    let first = bytes.get(..16)?.to_vec();
    let same = bytes.len() == 1024 && bytes.chunks(16).all(|chunk| chunk == first);
    String::from_utf8(first).ok()?.parse().ok().filter(|_| same)
}

/// The tree as of a point.
fn restored(pair: &Pair, point: &Point) -> PathBuf {
    let to = pair.place.path().join(format!("restored-{}", point.point));
    if !to.exists() {
        let at = format!("@{}", point.point);
        let tree = pair.tree.to_str().unwrap();
        let arguments = ["restore", tree, "--at", &at, "--to", to.to_str().unwrap()];
        pair.source.everwrite(arguments).success();
    }
    to.join("tree")
}

/// Why the restored point is no state that the disk had.
fn fault(pair: &Pair, point: &Point, noted: &[(u64, i64)]) -> Option<String> {
    let files = restored(pair, point);
    let files = ["first", "second"].map(|name| number(&files.join(name)));
    let [Some(first), Some(second)] = files else {
        return Some(format!("torn: {files:?}"));
    };
    let before = noted.iter().rev().find(|(_, time)| *time <= point.at());
    let after = noted.iter().find(|(_, time)| *time > point.at());
    let least = before.map_or(0, |(number, _)| *number);
    let most = after.map_or(u64::MAX, |(number, _)| *number);
    let good = first - second <= 1 && second >= least && first <= most;
    (!good).then(|| format!("{first} and {second}, where it was {least} to {most}"))
}

fn consistent(points: &[Point]) -> Vec<Point> {
    let consistent = points.iter().filter(|point| point.is_consistent());
    consistent.cloned().collect()
}

#[test]
fn what_a_program_changes_in_peace_is_consistent() {
    let Some(pair) = witnessed("what_a_program_changes_in_peace_is_consistent", "") else {
        return;
    };
    for command in ["echo a > a", "mkdir d; mv a d/b", "rm -r d"] {
        pair.run(command);
        pair.assert_mirrored();
        wait_for("the last point is consistent", DEADLINE, || {
            points(&pair)
                .last()
                .filter(|point| point.is_consistent())
                .cloned()
        });
    }
}

#[test]
fn points_under_load_are_states_that_the_disk_had() {
    let Some(pair) = witnessed("points_under_load_are_states_that_the_disk_had", "") else {
        return;
    };
    let before = points(&pair).len();
    let writer = Writer::start(&pair, shimmed(&pair));
    let all = wait_for("there are consistent points", DEADLINE, || {
        let points = points(&pair).split_off(before);
        (consistent(&points).len() > WANTED).then_some(points)
    });
    drop(writer);
    let (noted, judged) = (noted(&pair), consistent(&all).split_off(1));
    let faults: Vec<_> = judged
        .iter()
        .filter_map(|point| Some((point.clone(), fault(&pair, point, &noted)?)))
        .collect();
    assert!(faults.is_empty(), "{faults:#?}");
    let figures = pair.source.status().uplink.cuts;
    println!("{} points judged, {figures:?}", judged.len());

    // A moment between two of them: the one before it is taken, unless told otherwise.
    let fuzzy = all
        .iter()
        .rev()
        .find(|point| !point.is_consistent())
        .unwrap();
    let at = jiff::Timestamp::from_nanosecond(fuzzy.at().into()).unwrap();
    let restored = |more: &[&str]| {
        let (at, tree) = (at.to_string(), pair.tree.to_str().unwrap());
        let mut arguments = vec!["restore", tree, "--at", &at, "--dry-run", "--json"];
        arguments.extend(more);
        let answer: serde_json::Value = pair.source.everwrite(arguments).success().json();
        (
            answer["kind"].as_str().unwrap().to_owned(),
            answer["point"].as_u64().unwrap(),
        )
    };
    assert_eq!(restored(&["--exact"]), ("fuzzy".to_owned(), fuzzy.point));
    let (kind, point) = restored(&[]);
    assert!(kind != "fuzzy" && point < fuzzy.point, "{kind} @{point}");
}

/// One number in so many is synced.
const SYNCED: u64 = 1000;

/// An fsync point has a number that was synced, and none that was written since.
fn fsync_points_are_synced(test: &str, command: fn(&Pair) -> Command) {
    let Some(pair) = witnessed(test, "") else {
        return;
    };
    let writer = Writer::start_with(&pair, command(&pair), &[&SYNCED.to_string()]);
    let named = wait_for("there are fsync points", DEADLINE, || {
        let mut named = points(&pair);
        named.retain(|point| point.kind == "fsync-point");
        (named.len() > WANTED).then_some(named)
    });
    drop(writer);
    let noted = noted(&pair);
    for point in &named {
        assert_eq!(fault(&pair, point, &noted), None, "{point:?}");
        let files = ["first", "second"].map(|name| number(&restored(&pair, point).join(name)));
        let synced = files[0].is_some_and(|number| number % SYNCED == 0);
        assert!(synced && files[0] == files[1], "{files:?}: {point:?}");
    }
    println!(
        "{} of {} points are fsync points",
        named.len(),
        points(&pair).len()
    );
}

#[test]
fn fsync_points_of_a_program_with_the_shim() {
    fsync_points_are_synced("fsync_points_of_a_program_with_the_shim", shimmed);
}

/// It can't be made to wait, but it rests.
#[test]
fn fsync_points_of_a_program_without_the_shim() {
    let test = "fsync_points_of_a_program_without_the_shim";
    fsync_points_are_synced(test, |_| Command::new("python3"));
}

/// One that syncs what it wrote and goes on with something else: the point has its name, and only once.
#[test]
fn the_point_after_a_sync_is_one() {
    let Some(pair) = witnessed("the_point_after_a_sync_is_one", "") else {
        return;
    };
    let script = "import os; f = os.open('a', os.O_RDWR | os.O_CREAT); os.write(f, b'1'); os.fsync(f); open(0).read()";
    let mut program = shimmed(&pair);
    program
        .args(["-c", script])
        .current_dir(&pair.tree)
        .stdin(Stdio::piped());
    let mut program = program.spawn().unwrap();
    let named = || {
        let mut named = points(&pair);
        named.retain(|point| point.kind == "fsync-point");
        named
    };
    wait_for("an fsync point", DEADLINE, || {
        (!named().is_empty()).then_some(())
    });
    drop(program.stdin.take());
    assert!(program.wait().is_ok());
    pair.run("echo b > b");
    pair.assert_mirrored();
    assert_eq!(named().len(), 1, "{:#?}", points(&pair));
}

/// Who has no shim can't be made to wait. It is said who it was.
#[test]
fn who_does_not_wait_is_named() {
    let Some(pair) = witnessed("who_does_not_wait_is_named", "") else {
        return;
    };
    let _writer = Writer::start(&pair, Command::new("python3"));
    let why = "without the shim, was writing";
    wait_for("a point says why it is fuzzy", DEADLINE, || {
        let points = points(&pair);
        let fuzzy = points.iter().find(|point| point.why.contains(why))?;
        assert!(
            fuzzy.why.contains("python") && fuzzy.kind == "fuzzy",
            "{fuzzy:?}"
        );
        Some(())
    });
}

#[test]
fn without_a_witness_nothing_is_claimed() {
    let pair = Pair::start_without_witness(|_| {});
    pair.run("echo a > a; echo b > b");
    pair.assert_mirrored();
    let points = points(&pair);
    assert!(consistent(&points).is_empty(), "{points:#?}");
    let told = points
        .iter()
        .any(|point| point.why.contains("everwrite doctor"));
    assert!(told, "{points:#?}");
}

/// A checkpoint is worth a wait.
#[test]
fn a_checkpoint_under_load_is_consistent() {
    // However slow the machine is that tests it.
    let settings = "cuts.hold_ms_max = 1000\n";
    let test = "a_checkpoint_under_load_is_consistent";
    let Some(pair) = witnessed_with(test, settings, "") else {
        return;
    };
    let _writer = Writer::start(&pair, shimmed(&pair));
    wait_for("it writes", DEADLINE, || {
        noted(&pair).len().gt(&100).then_some(())
    });
    for name in ["one", "two", "three"] {
        pair.source.everwrite(["checkpoint", name]).success();
    }
    let told = pair.source.everwrite(["points", "--json", "--checkpoints"]);
    let named: Vec<Point> = told.success().json();
    assert_eq!(named.len(), 3);
    assert!(named.iter().all(Point::is_consistent), "{named:#?}");
}

//! A store whose disk forgets, at any instant, what it was not told to keep.
//!
//! A child stores and applies batches on ext4 on a disk that remembers every write (`support/disk.rs`).
//! From each such run, power is lost at many instants: what was flushed is there, of the rest any block
//! in any version since. The file system's journal is replayed, the store is opened: everything
//! acknowledged before that instant is there, mirror and history are what the model says.
//!
//! Needs root, loop devices, FUSE and mkfs.ext4.

mod support;

use std::time::{Duration, Instant};

use support::child::{self, Checker, Random, SEED, setting};
use support::disk::{Event, Image, after_power_loss};
use support::place::{Place, apart, run};

/// How many times the power goes, as far as there is time for it; by this variable, so many in any case.
const LOSSES: (&str, u64) = ("EVERWRITE_POWER_LOSSES", 1000);
const TIME: Duration = Duration::from_secs(18);
/// Disks at once: one waits more than it works.
const WORKERS: u64 = 4;
/// Instants of one run.
const INSTANTS: u64 = 20;
const NAME: &str = "nothing_acknowledged_is_lost_by_a_forgetful_disk";

/// Not a test of its own.
#[test]
fn child() {
    child::work();
}

#[test]
fn nothing_acknowledged_is_lost_by_a_forgetful_disk() {
    apart(NAME, power_goes);
}

/// A disk, and the last batch that is stored on it.
struct Known {
    image: Image,
    stored: u64,
}

fn power_goes() {
    let (losses, seed) = (setting(LOSSES), setting(SEED));
    std::thread::scope(|scope| {
        for worker in 0..WORKERS {
            let random = Random(seed * WORKERS + worker);
            scope.spawn(move || lose_power(losses.div_ceil(WORKERS), random));
        }
    });
}

fn lose_power(losses: u64, mut random: Random) {
    let place = Place::new().unwrap();
    let image = place.formatted().unwrap();
    let mut start = Known { image, stored: 0 };
    let (mut done, mut checker) = (0, Checker::new());
    let until = std::env::var_os(LOSSES.0).is_none();
    let until = until.then(|| Instant::now() + TIME);
    let in_time = || until.is_none_or(|until| Instant::now() < until);
    while done < losses && in_time() {
        let instants = INSTANTS.min(losses - done);
        let (next, happened) = a_run(&place, start, instants, &mut checker, &mut random, in_time);
        start = next;
        done += happened;
    }
    println!("{done} losses of power, {} batches", checker.batches());
}

/// One child on one disk, and power lost at so many instants of it; gives the disk after the last, and how many
/// they were.
fn a_run(
    place: &Place,
    before: Known,
    instants: u64,
    checker: &mut Checker,
    random: &mut Random,
    in_time: impl Fn() -> bool,
) -> (Known, u64) {
    let told = place.disk.clone();
    let tell = move |batch| {
        if batch > 0 {
            told.stored(batch);
        }
    };
    let events = place.on(before.image.clone(), |mount| {
        // Killed, and started again with the power on: what it found then it says is stored, and has to keep.
        for _ in 0..=random.below(4) {
            child::run_and_kill(mount, random, tell.clone());
        }
        place.disk.take_events()
    });
    let events = events.unwrap();
    assert!(events.iter().any(|event| matches!(event, Event::Flush)));
    for done in 1..=instants {
        let (image, told) = lose_at_random(&before.image, &events, random);
        let acknowledged = told.max(before.stored);
        if done == instants || !in_time() {
            return (recovered(place, image, acknowledged, checker, random), done);
        }
        if random.below(5) == 0 {
            lose_again(place, image, acknowledged, checker, random);
        } else {
            check_copy(place, image, acknowledged, checker, random);
        }
    }
    (before, 0)
}

fn lose_at_random(before: &Image, events: &[Event], random: &mut Random) -> (Image, u64) {
    let at = instant(events, random);
    let (image, told) = after_power_loss(before, events, at, random);
    println!("{at} of {} events, {told} acknowledged", events.len());
    (image, told)
}

/// Any; or right after somebody was told that something is stored, often what a restart has found.
fn instant(events: &[Event], random: &mut Random) -> usize {
    let told = |(at, event): (usize, &Event)| matches!(event, Event::Stored(_)).then_some(at + 1);
    let told: Vec<usize> = events.iter().enumerate().filter_map(told).collect();
    if told.is_empty() || random.below(3) > 0 {
        return random.below(events.len() as u64 + 1) as usize;
    }
    told[random.below(told.len() as u64) as usize]
}

/// The store is recovered on the disk, and power is lost in the middle of that: the file system's recovery, the
/// store's, or what it applies then.
fn lose_again(
    place: &Place,
    image: Image,
    acknowledged: u64,
    checker: &mut Checker,
    random: &mut Random,
) {
    let recovery = place.on(image.clone(), |mount| {
        checker.check(mount, acknowledged, random);
        place.disk.take_events()
    });
    let (again, _) = lose_at_random(&image, &recovery.unwrap(), random);
    check_copy(place, again, acknowledged, checker, random);
}

/// Opening a store writes and syncs much: that is done on a copy in memory, which takes a tenth of the
/// time.
fn check_copy(
    place: &Place,
    image: Image,
    acknowledged: u64,
    checker: &mut Checker,
    random: &mut Random,
) {
    let copy = support::scratch();
    let to = copy.path().display().to_string();
    let copied = place.on(image, |mount| {
        run("cp", &["-a", &format!("{}/.", mount.display()), &to])
    });
    copied.unwrap().unwrap();
    checker.check(copy.path(), acknowledged, random);
}

/// On the disk itself, which is the next run's.
fn recovered(
    place: &Place,
    image: Image,
    acknowledged: u64,
    checker: &mut Checker,
    random: &mut Random,
) -> Known {
    let checked = place.on(image, |mount| checker.check(mount, acknowledged, random));
    let stored = checked.unwrap();
    let image = place.disk.image();
    Known { image, stored }
}

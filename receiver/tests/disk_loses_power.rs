//! A store whose disk forgets, at any instant, what it was not told to keep.
//!
//! A child stores and applies batches on ext4 on a disk that remembers every write (`support/disk.rs`).
//! From each such run, power is lost at many instants: what was flushed is there, of the rest any block
//! in any version since. The file system's journal is replayed, the store is opened: everything
//! acknowledged before that instant is there, mirror and history are what the model says.
//!
//! Needs root, loop devices, FUSE and mkfs.ext4.

mod support;

use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use support::child::{self, Checker, Manner, Random, SEED, setting};
use support::disk::{Event, Image, after_power_loss};
use support::place::{DISK_BYTES, Place, apart, run};
use support::plain::Plain;

/// How many times the power goes; another number by this variable.
const LOSSES: (&str, u64) = ("EVERWRITE_POWER_LOSSES", 1000);
/// So long may that take on any machine, as long as nobody says how many.
const PATIENCE: Duration = Duration::from_secs(400);
/// Disks at once: one waits as much as it works.
const WORKERS: u64 = 4;
/// Instants of one run.
const INSTANTS: u64 = 40;
/// Of so many instants of a run, one is followed by another loss, while the store recovers.
const RECOVERIES: u64 = 12;
/// Instants of one recovery.
const INSTANTS_OF_RECOVERY: u64 = 4;
/// With so many batches a store has become slow to look at: another one begins, on another disk.
const BATCHES_MAX: u64 = 250;
/// Only this disk is looked at, which an earlier run has kept.
const DISK: &str = "EVERWRITE_TEST_DISK";
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

fn power_goes() {
    if let Some(kept) = std::env::var_os(DISK) {
        let image = Image::load(&File::open(kept).unwrap()).unwrap();
        return Worker::new(&Count::new(), Random(setting(SEED))).check_copy(&image, 0);
    }
    let (count, seed) = (Count::new(), setting(SEED));
    std::thread::scope(|scope| {
        for worker in 0..WORKERS {
            let count = &count;
            let random = Random(seed * WORKERS + worker);
            scope.spawn(move || Worker::new(count, random).work());
        }
    });
    let [losses, kills, batches] = [&count.losses, &count.kills, &count.batches].map(count_of);
    println!("{losses} losses of power, {kills} kills, {batches} batches");
    assert!(
        losses >= count.wanted,
        "{losses} losses of {} in {PATIENCE:?}",
        count.wanted
    );
}

fn count_of(count: &AtomicU64) -> u64 {
    count.load(Relaxed)
}

/// What has happened so far, to all disks.
struct Count {
    wanted: u64,
    until: Option<Instant>,
    losses: AtomicU64,
    kills: AtomicU64,
    batches: AtomicU64,
}

impl Count {
    fn new() -> Self {
        let usual = std::env::var_os(LOSSES.0).is_none();
        Self {
            wanted: setting(LOSSES),
            until: usual.then(|| Instant::now() + PATIENCE),
            losses: AtomicU64::new(0),
            kills: AtomicU64::new(0),
            batches: AtomicU64::new(0),
        }
    }

    fn goes_on(&self) -> bool {
        let in_time = self.until.is_none_or(|until| Instant::now() < until);
        in_time && count_of(&self.losses) < self.wanted
    }
}

/// A disk, and the last batch that is stored on it.
struct Known {
    image: Image,
    stored: u64,
}

struct Worker<'c> {
    count: &'c Count,
    random: Random,
    /// Where everything that happens is remembered.
    place: Place,
    /// Where what is left is looked at.
    plain: Plain,
    manner: Manner,
    checker: Checker,
}

impl<'c> Worker<'c> {
    fn new(count: &'c Count, random: Random) -> Self {
        let manner = Manner::of_environment();
        Self {
            count,
            random,
            place: Place::new().unwrap(),
            plain: Plain::new().unwrap(),
            manner,
            checker: Checker::new(manner.content),
        }
    }

    fn work(&mut self) {
        let formatted = self.place.formatted().unwrap();
        while self.count.goes_on() {
            self.manner.content = self.random.below(1 << 20);
            self.checker = Checker::new(self.manner.content);
            let image = formatted.clone();
            let mut known = Known { image, stored: 0 };
            while self.count.goes_on() && known.stored < BATCHES_MAX {
                known = self.a_run(known);
            }
            self.count.batches.fetch_add(known.stored, Relaxed);
        }
    }

    /// Children on one disk, and power lost at many instants of that; gives the disk after the last.
    fn a_run(&mut self, before: Known) -> Known {
        // Now and then much is written that nobody has asked to be kept.
        self.manner.settles = [1, 8, 8, 100][self.random.below(4) as usize];
        let events = self.children(&before);
        for _ in 1..INSTANTS {
            if !self.count.goes_on() {
                return before;
            }
            let (image, acknowledged) = self.lose(&before, &events);
            if self.random.below(RECOVERIES) == 0 {
                self.lose_while_recovering(image, acknowledged);
            } else {
                self.check_copy(&image, acknowledged);
            }
        }
        let (image, acknowledged) = self.lose(&before, &events);
        self.recovered(image, acknowledged)
    }

    /// Killed, and started again with the power on: what one found then it says is stored, and has to keep.
    fn children(&mut self, before: &Known) -> Vec<Event> {
        let Self {
            place,
            random,
            manner,
            ..
        } = self;
        let kills = 1 + random.below(4);
        let events = place.on(before.image.clone(), |mount| {
            for _ in 0..kills {
                let sudden = random.below(2) * (1 + random.below(12));
                manner.dies = (sudden, random.below(500));
                let told = place.disk.clone();
                let tell = move |batch, found| {
                    if batch > 0 {
                        told.stored(batch, found);
                    }
                };
                child::run_and_kill(mount, *manner, random, tell);
            }
            place.disk.take_events()
        });
        self.count.kills.fetch_add(kills, Relaxed);
        let events = events.unwrap();
        assert!(events.iter().any(|event| matches!(event, Event::Flush)));
        events
    }

    /// Some instant; gives what the disk has then, and what was acknowledged.
    fn lose(&mut self, before: &Known, events: &[Event]) -> (Image, u64) {
        let at = instant(events, &mut self.random);
        let (image, told) = after_power_loss(&before.image, events, at, &mut self.random);
        let acknowledged = told.max(before.stored);
        println!(
            "{at} of {} events, {acknowledged} acknowledged",
            events.len()
        );
        self.count.losses.fetch_add(1, Relaxed);
        (image, acknowledged)
    }

    /// The store is recovered on the disk, and power is lost in the middle of that: the file system's recovery,
    /// the store's, or what it applies then.
    fn lose_while_recovering(&mut self, image: Image, acknowledged: u64) {
        let before = Known {
            image,
            stored: acknowledged,
        };
        self.check_in_place(&before.image, acknowledged);
        let recovery = self.place.disk.take_events();
        for _ in 0..INSTANTS_OF_RECOVERY {
            let (again, acknowledged) = self.lose(&before, &recovery);
            self.check_copy(&again, acknowledged);
        }
    }

    /// On the disk itself, which is the next run's.
    fn recovered(&mut self, image: Image, acknowledged: u64) -> Known {
        let stored = self.check_in_place(&image, acknowledged);
        let image = self.place.disk.image();
        Known { image, stored }
    }

    fn check_in_place(&mut self, image: &Image, acknowledged: u64) -> u64 {
        let Self {
            place,
            checker,
            random,
            manner,
            ..
        } = self;
        judged(image, *manner, || {
            let checked = place.on(image.clone(), |mount| {
                checker.check(mount, acknowledged, random)
            });
            checked.unwrap()
        })
    }

    /// Opening a store writes and syncs much: that is done on a copy in memory.
    fn check_copy(&mut self, image: &Image, acknowledged: u64) {
        let copy = support::scratch();
        let to = copy.path().display().to_string();
        judged(image, self.manner, || {
            let copied = self.plain.on(image, |mount| {
                run("cp", &["-a", &format!("{}/.", mount.display()), &to])
            });
            copied.unwrap().unwrap();
            let random = &mut self.random;
            self.checker.check(copy.path(), acknowledged, random);
        });
    }
}

/// If that fails, the disk is kept.
fn judged<T>(image: &Image, manner: Manner, check: impl FnOnce() -> T) -> T {
    catch_unwind(AssertUnwindSafe(check)).unwrap_or_else(|why| {
        let (_, kept) = tempfile::Builder::new()
            .prefix("everwrite-disk-")
            .tempfile()
            .and_then(|file| {
                file.as_file().set_len(DISK_BYTES)?;
                image.save(file.as_file())?;
                Ok(file.keep()?)
            })
            .unwrap();
        let (kept, content) = (kept.display(), manner.content);
        eprintln!("this disk again: {DISK}={kept} EVERWRITE_TEST_CONTENT={content}");
        resume_unwind(why)
    })
}

/// Any; or right after somebody was told that something is stored; or that a restart has found it.
fn instant(events: &[Event], random: &mut Random) -> usize {
    let kind = random.below(6);
    let wanted = |event: &Event| match event {
        Event::Stored { found, .. } => kind == 0 || kind == 1 && *found,
        _ => false,
    };
    let at = |(at, event): (usize, &Event)| wanted(event).then_some(at + 1);
    let wanted: Vec<usize> = events.iter().enumerate().filter_map(at).collect();
    match wanted.is_empty() {
        true => random.below(events.len() as u64 + 1) as usize,
        false => wanted[random.below(wanted.len() as u64) as usize],
    }
}

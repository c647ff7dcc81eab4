//! A store whose disk forgets, at any instant, what it was not told to keep.
//!
//! A child stores and applies batches on ext4 on a disk that remembers every write (`support/disk.rs`).
//! From each such run, power is lost at many instants: what was flushed is there, of the rest any block
//! in any version since. The file system's journal is replayed, the store is opened: everything
//! acknowledged before that instant is there, mirror and history are what the model says.
//!
//! Needs root, loop devices, FUSE and mkfs.ext4.

mod support;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use rustix::mount::{MountFlags, UnmountFlags};
use support::child::{self, Checker, Random, SEED, setting};
use support::disk::{Disk, Event, Image, Served, after_power_loss};

const DISK_BYTES: u64 = 96 << 20;
/// How many times the power goes, as far as there is time for it; by this variable, so many in any case.
const LOSSES: (&str, u64) = ("EVERWRITE_POWER_LOSSES", 1000);
const TIME: Duration = Duration::from_secs(12);
/// Instants of one run.
const INSTANTS: u64 = 20;
/// Set for the test within mounts of its own.
const APART: &str = "EVERWRITE_TEST_MOUNTS_APART";
const NAME: &str = "nothing_acknowledged_is_lost_by_a_forgetful_disk";

/// Not a test of its own.
#[test]
fn child() {
    child::work();
}

fn run(program: &str, arguments: &[&str]) -> Result<(), String> {
    let output = Command::new(program).args(arguments).output();
    let output = output.map_err(|error| format!("{program}: {error}"))?;
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    output.status.success().then_some(()).ok_or(said)
}

/// Where a disk is served and mounted.
struct Place {
    disk: Disk,
    device: Loop,
    mount: PathBuf,
    _served: Served,
    _work: tempfile::TempDir,
}

/// A loop device over the disk. (One for all mounts: a new one each time takes as long as a check.)
struct Loop(String);

impl Loop {
    fn over(image: &Path) -> Result<Self, String> {
        let found = Command::new("losetup")
            .args(["-f", "--show"])
            .arg(image)
            .output();
        let found = found.map_err(|error| format!("losetup: {error}"))?;
        let device = String::from_utf8_lossy(&found.stdout).trim().to_owned();
        let why = String::from_utf8_lossy(&found.stderr).into_owned();
        if device.is_empty() {
            Err(why)
        } else {
            Ok(Self(device))
        }
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        if let Err(why) = run("losetup", &["-d", &self.0]) {
            eprintln!("{why}");
        }
    }
}

impl Place {
    fn new() -> Result<Self, String> {
        let work = support::scratch();
        let [disk_at, mount] = ["disk", "mount"].map(|name| work.path().join(name));
        std::fs::create_dir(&disk_at).unwrap();
        std::fs::create_dir(&mount).unwrap();
        let disk = Disk::new(DISK_BYTES);
        let served = Served::new(&disk, &disk_at).map_err(|error| format!("FUSE: {error}"))?;
        Ok(Self {
            disk,
            device: Loop::over(&disk_at.join("image"))?,
            mount,
            _served: served,
            _work: work,
        })
    }

    /// Does `work` on a disk, mounted; the kernel commits nothing by the clock meanwhile.
    fn on<T>(&self, image: Image, work: impl FnOnce(&Path) -> T) -> Result<T, String> {
        // While anybody else looks at the device, the kernel keeps what it read of the disk before.
        run("blockdev", &["--flushbufs", &self.device.0])?;
        self.disk.replace(image);
        let (flags, options) = (MountFlags::NOATIME, c"commit=300");
        let mounted = rustix::mount::mount(&self.device.0, &self.mount, "ext4", flags, options);
        mounted.map_err(|error| format!("mount: {error}"))?;
        let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| work(&self.mount)));
        let unmounted = rustix::mount::unmount(&self.mount, UnmountFlags::empty());
        unmounted.map_err(|error| format!("unmount: {error}"))?;
        done.map_err(|_| "a check failed".to_owned())
    }

    /// A new file system.
    fn formatted(&self) -> Result<Image, String> {
        run("mkfs.ext4", &["-q", "-F", "-J", "size=4", &self.device.0])?;
        let image = self.disk.image();
        self.on(image.clone(), |_| ())?;
        Ok(image)
    }
}

#[test]
fn nothing_acknowledged_is_lost_by_a_forgetful_disk() {
    if std::env::var_os(APART).is_some() {
        return power_goes();
    }
    let this = std::env::current_exe().unwrap();
    let mut apart = Command::new("unshare");
    apart.arg("--mount").arg(this).args([NAME, "--exact"]);
    apart
        .args(["--nocapture", "--test-threads=1"])
        .env(APART, "1");
    let output = apart.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    print!("{}", String::from_utf8_lossy(&output.stdout));
    if said.contains("SKIPPED") || said.contains("unshare") {
        let why = said.lines().last().unwrap_or_default();
        // Past the capture of libtest, for scripts/test to count.
        drop(writeln!(std::io::stderr(), "SKIPPED {NAME}: {why}"));
    } else {
        eprint!("{said}");
        assert!(output.status.success(), "{}", output.status);
    }
}

/// A disk, and the last batch that is stored on it.
struct Known {
    image: Image,
    stored: u64,
}

/// Two at once: a disk waits more than it works.
fn power_goes() {
    let started = Place::new().and_then(|place| place.formatted().map(drop));
    if let Err(why) = started {
        return eprintln!("SKIPPED {NAME}: needs root, loop devices, FUSE: {why}");
    }
    let (losses, seed) = (setting(LOSSES), setting(SEED));
    std::thread::scope(|scope| {
        for worker in 0..2 {
            scope.spawn(move || lose_power(losses.div_ceil(2), Random(seed * 2 + worker)));
        }
    });
}

fn lose_power(losses: u64, mut random: Random) {
    let place = Place::new().unwrap();
    let image = place.formatted().unwrap();
    let mut start = Known { image, stored: 0 };
    let (mut done, mut checker) = (0, Checker::new());
    let until = Instant::now() + TIME;
    let in_any_case = std::env::var_os(LOSSES.0).is_some();
    while done < losses && (in_any_case || Instant::now() < until) {
        let instants = INSTANTS.min(losses - done);
        start = a_run(&place, start, instants, &mut checker, &mut random);
        done += instants;
    }
    println!("{done} losses of power, {} batches", checker.batches());
}

/// One child on one disk, and power lost at so many instants of it; gives the disk after the last.
fn a_run(
    place: &Place,
    before: Known,
    instants: u64,
    checker: &mut Checker,
    random: &mut Random,
) -> Known {
    let told = place.disk.clone();
    let tell = move |batch| {
        if batch > 0 {
            told.stored(batch)
        }
    };
    let events = place.on(before.image.clone(), |mount| {
        child::run_and_kill(mount, random, tell);
        place.disk.take_events()
    });
    let events = events.unwrap();
    assert!(events.iter().any(|event| matches!(event, Event::Flush)));
    for left in (0..instants).rev() {
        let at = random.below(events.len() as u64 + 1) as usize;
        let (image, told) = after_power_loss(&before.image, &events, at, random);
        let acknowledged = told.max(before.stored);
        println!(
            "{at} of {} events, {acknowledged} acknowledged",
            events.len()
        );
        if left == 0 {
            return recovered(place, image, acknowledged, checker, random);
        }
        check_copy(place, image, acknowledged, checker, random);
    }
    before
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

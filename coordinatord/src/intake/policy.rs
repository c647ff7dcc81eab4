//! The policy page: the one thing that every shim may know without asking.
//!
//! Programs map the page once and keep it for life. So a page that exists and is sound is used
//! again *in place* at the next start (a new file would leave running programs looking at a dead
//! one), and a new page appears under its name only when it is whole.
//!
//! A coordinator that ends or starts leaves the switch and the devices as they are: a call that a
//! program began in between finds afterwards that the epoch has changed, and is told once more.
//!
//! Every change keeps a reader in the middle of it on the safe side: a device that stays watched is
//! never missing from the list for a moment, and a device that is added raises the epoch. What shims
//! remember to be outside holds for one generation, which changes with all that could bring it in.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read};
use std::mem::offset_of;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};
use std::sync::atomic::fence;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use everwrite_protocol::local::{
    HEARTBEAT_STALE_SECONDS, LOCAL_VERSION, POLICY_BYTES, POLICY_DEVICES_MAX, POLICY_FILE_NAME,
    POLICY_MAGIC, PolicyPage,
};
use rustix::thread::futex;
use rustix::time::ClockId;

use super::durable::DurableFsync;
use super::error::{IntakeError, TooManyDevices};
use super::memory::Shared;
use super::places::{self, Places};

/// The page of this coordinator, mapped.
pub(super) struct Policy {
    page: Shared<PolicyPage>,
    /// Held while the page is rewritten; what was last written of places.
    writing: Mutex<Option<Places>>,
    /// How many want programs to wait.
    holding: Mutex<u32>,
}

impl Policy {
    /// Takes over the page in `run_directory`, or makes one: a new epoch, alive. A new page has the
    /// switch off and watches no device.
    pub(super) fn open(run_directory: &Path) -> Result<Self, IntakeError> {
        let path = run_directory.join(POLICY_FILE_NAME);
        Self::begin(&path).map_err(|source| IntakeError::Policy { path, source })
    }

    fn begin(path: &Path) -> io::Result<Self> {
        let page = match reuse(path)? {
            Some(page) => page,
            None => create(path)?,
        };
        let policy = Self {
            page,
            writing: Mutex::new(None),
            holding: Mutex::new(0),
        };
        policy.page.hold.store(0, Release);
        policy.page.hold_until_ns.store(0, Release);
        policy.begin_outside()?;
        policy.beat();
        policy.renew_epoch()?;
        Ok(policy)
    }

    /// Tells every shim that this coordinator lives.
    pub(super) fn beat(&self) {
        self.page.heartbeat_s.store(monotonic_s(), Release);
    }

    /// The epoch under which shims attach now.
    pub(super) fn epoch(&self) -> u64 {
        self.page.epoch.load(Acquire)
    }

    /// Off: every hook passes straight through. True when the switch was off until now and is on.
    pub(super) fn set_switch(&self, on: bool) -> bool {
        let was_on = self.page.switch_on.swap(u32::from(on), AcqRel) != 0;
        on && !was_on
    }

    /// Watches exactly `devices` (`st_dev`), or as many of them as there is room for.
    pub(super) fn set_devices(&self, devices: &[u64]) -> Result<(), TooManyDevices> {
        let _writing = self.lock();
        let old = self.devices();
        let list = rearranged(&old, devices);
        let places = list.iter().zip(&self.page.devices);
        places.for_each(|(device, place)| place.store(*device, Release));
        self.page.device_count.store(list.len() as u32, Release);
        if list
            .iter()
            .any(|device| *device != 0 && !old.contains(device))
        {
            // Without random numbers the next number does as well: it only has to differ.
            let next = random().unwrap_or_else(|_| self.epoch().wrapping_add(1));
            self.page.epoch.store(next, Release);
        }
        self.page.outside.fetch_add(2, AcqRel);
        match devices.len() {
            wanted if wanted > POLICY_DEVICES_MAX => Err(TooManyDevices { wanted }),
            _ => Ok(()),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Places>> {
        self.writing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A generation that no program remembers, with no places: until it is known where the roots are,
    /// nothing is outside.
    fn begin_outside(&self) -> io::Result<()> {
        let places = self.lock();
        self.write_places(places.as_ref(), random()? & !1);
        Ok(())
    }

    /// Has writers wait until [`Self::release`], or for `longest`. Several may want that at once.
    pub(super) fn hold(&self, longest: Duration) {
        let mut holding = self.holding.lock().unwrap_or_else(PoisonError::into_inner);
        let longest = u64::try_from(longest.as_nanos()).unwrap_or(u64::MAX);
        let until = monotonic_ns().saturating_add(longest);
        let before = match *holding {
            0 => 0,
            _ => self.page.hold_until_ns.load(Relaxed),
        };
        *holding += 1;
        self.page.hold_until_ns.store(until.max(before), Relaxed);
        self.page.hold.store(1, Release);
    }

    /// One of those who wanted it does not any more.
    pub(super) fn release(&self) {
        let mut holding = self.holding.lock().unwrap_or_else(PoisonError::into_inner);
        *holding = holding.saturating_sub(1);
        if *holding == 0 {
            self.page.hold.store(0, Release);
            // Can't fail: the word is mapped. And if it did, everybody has a time limit.
            let _ = futex::wake(&self.page.hold, futex::Flags::empty(), u32::MAX >> 1);
        }
    }

    /// Are writers to wait?
    pub(super) fn is_holding(&self) -> bool {
        self.page.hold.load(Acquire) != 0
    }

    /// Has `fsync` wait for the receiver, or not.
    pub(super) fn set_durable(&self, durable: Option<DurableFsync>) {
        let longest = durable.map_or(0, |durable| durable.longest.as_millis());
        let longest = u32::try_from(longest).unwrap_or(u32::MAX);
        let fails = durable.is_some_and(|durable| durable.fails);
        self.page.durable_fails.store(u32::from(fails), Release);
        self.page.durable_ms_max.store(longest, Release);
    }

    /// How long `fsync` waits for the receiver.
    pub(super) fn durable_longest(&self) -> Duration {
        Duration::from_millis(self.page.durable_ms_max.load(Relaxed).into())
    }

    /// Does `fsync` wait for the receiver?
    pub(super) fn is_durable(&self) -> bool {
        self.page.durable_ms_max.load(Relaxed) != 0
    }

    /// Says where the roots are; true when something that was outside is inside now.
    pub(super) fn set_places(&self, places: Option<&Places>) -> bool {
        let mut known = self.lock();
        if known.as_ref() == places {
            return false;
        }
        let next = (self.page.outside.load(Acquire) | 1).wrapping_add(1);
        self.write_places(places, next);
        let before = std::mem::replace(&mut *known, places.cloned());
        before.is_some_and(|before| places.is_none_or(|places| !before.covers(places)))
    }

    /// Something outside may have come inside.
    pub(super) fn renew_outside(&self) {
        let _writing = self.lock();
        self.page.outside.fetch_add(2, AcqRel);
    }

    /// Odd while it is written, and then `generation`: readers of the middle take nothing from it.
    fn write_places(&self, places: Option<&Places>, generation: u64) {
        let page = &self.page;
        page.outside.store(generation.wrapping_sub(1), Relaxed);
        fence(Release);
        places::write(page, places);
        page.outside.store(generation, Release);
    }

    /// Says that nobody is alive any more, without waiting for the heartbeat to grow stale.
    pub(super) fn farewell(&self) {
        self.page.heartbeat_s.store(0, Release);
    }

    fn devices(&self) -> Vec<u64> {
        let count = self.page.device_count.load(Acquire) as usize;
        self.page
            .devices
            .iter()
            .take(count)
            .map(|device| device.load(Acquire))
            .collect()
    }

    #[cfg(test)]
    pub(super) fn named_roots(&self) -> u64 {
        self.page.root_count.load(Acquire)
    }

    fn renew_epoch(&self) -> io::Result<()> {
        self.page.epoch.store(random()?, Release);
        Ok(())
    }
}

/// `wanted` in an order in which what was watched and stays keeps its place, so that a reader who
/// looks while the list is written never misses it. What is new takes the places that become free;
/// a place that stays free holds 0, which is no file system.
fn rearranged(old: &[u64], wanted: &[u64]) -> Vec<u64> {
    let mut unique: Vec<u64> = Vec::new();
    for device in wanted {
        if !unique.contains(device) && unique.len() < POLICY_DEVICES_MAX {
            unique.push(*device);
        }
    }
    let mut new = unique
        .iter()
        .copied()
        .filter(|device| !old.contains(device));
    let mut list = Vec::with_capacity(POLICY_DEVICES_MAX);
    for device in old {
        list.push(if unique.contains(device) {
            *device
        } else {
            new.next().unwrap_or(0)
        });
    }
    list.extend(new);
    let used = list
        .iter()
        .rposition(|device| *device != 0)
        .map_or(0, |last| last + 1);
    list.truncate(used);
    list
}

/// Maps the page at `path` if it is one of ours that running programs can go on using.
fn reuse(path: &Path) -> io::Result<Option<Shared<PolicyPage>>> {
    let no_follow = rustix::fs::OFlags::NOFOLLOW.bits() as i32;
    let opened = OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(no_follow)
        .open(path);
    let file = match opened {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        // A link in its place (ELOOP) is not ours; it is replaced as any other strange thing.
        Err(error) if error.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error()) => {
            return Ok(None);
        }
        Err(error) => return Err(error),
    };
    if !is_ours(&file)? {
        return Ok(None);
    }
    file.set_permissions(fs::Permissions::from_mode(0o644))?;
    let page = Shared::<PolicyPage>::map(&file)?;
    let sound = page.magic.load(Acquire) == POLICY_MAGIC
        && page.version.load(Acquire) == LOCAL_VERSION
        && page.device_count.load(Acquire) as usize <= POLICY_DEVICES_MAX;
    Ok(sound.then_some(page))
}

/// A plain file of the right size, of this user, under one name only.
fn is_ours(file: &File) -> io::Result<bool> {
    let facts = file.metadata()?;
    Ok(facts.is_file()
        && facts.len() == POLICY_BYTES as u64
        && facts.uid() == rustix::process::geteuid().as_raw()
        && facts.nlink() == 1)
}

/// Makes a page beside `path`, and gives it its name when it is whole.
fn create(path: &Path) -> io::Result<Shared<PolicyPage>> {
    let new = path.with_extension("new");
    match fs::remove_file(&new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create_new(true)
        .open(&new)?;
    file.set_permissions(fs::Permissions::from_mode(0o644))?;
    // Blocks are had now: a store into a hole of a full disk would be SIGBUS.
    rustix::fs::fallocate(
        &file,
        rustix::fs::FallocateFlags::empty(),
        0,
        POLICY_BYTES as u64,
    )?;
    let page = Shared::<PolicyPage>::map(&file)?;
    page.version.store(LOCAL_VERSION, Relaxed);
    page.magic.store(POLICY_MAGIC, Release);
    fs::rename(&new, path)?;
    Ok(page)
}

/// Has the coordinator of `run_directory` given a sign of life lately? Reads the page as any program
/// may; no page means no.
pub fn coordinator_is_alive(run_directory: &Path) -> bool {
    let page = fs::read(run_directory.join(POLICY_FILE_NAME)).unwrap_or_default();
    let word = |at: usize| {
        let bytes = page.get(at..at + size_of::<u64>())?;
        Some(u64::from_ne_bytes(bytes.try_into().ok()?))
    };
    let beat = word(offset_of!(PolicyPage, heartbeat_s)).unwrap_or(0);
    word(offset_of!(PolicyPage, magic)) == Some(POLICY_MAGIC)
        && monotonic_s().saturating_sub(beat) <= HEARTBEAT_STALE_SECONDS
}

/// Seconds of `CLOCK_MONOTONIC`, the heartbeat's clock: the same in every process of the machine.
fn monotonic_s() -> u64 {
    u64::try_from(rustix::time::clock_gettime(ClockId::Monotonic).tv_sec).unwrap_or(0)
}

fn monotonic_ns() -> u64 {
    let time = rustix::time::clock_gettime(ClockId::Monotonic);
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    seconds * 1_000_000_000 + u64::try_from(time.tv_nsec).unwrap_or(0)
}

fn random() -> io::Result<u64> {
    let mut bytes = [0u8; 8];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    // 0 stays free for "never attached".
    Ok(u64::from_le_bytes(bytes).max(1))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn watched(policy: &Policy) -> Vec<u64> {
        let mut devices = policy.devices();
        devices.retain(|device| *device != 0);
        devices.sort_unstable();
        devices
    }

    #[test]
    fn a_restart_keeps_the_file_and_changes_the_epoch() {
        let home = tempfile::tempdir().unwrap();
        let first = Policy::open(home.path()).unwrap();
        first.set_devices(&[1, 2]).unwrap();
        first.set_switch(true);
        let epoch = first.epoch();
        let second = Policy::open(home.path()).unwrap();
        assert_ne!(second.epoch(), epoch);
        assert_eq!(
            first.epoch(),
            second.epoch(),
            "a program that mapped the old page sees it"
        );
        assert!(!second.set_switch(true), "it was on all the time");
        assert_eq!(watched(&second), [1, 2]);
    }

    #[test]
    fn what_is_no_page_is_replaced() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join(POLICY_FILE_NAME);
        fs::write(&path, [1; POLICY_BYTES]).unwrap();
        assert!(Policy::open(home.path()).is_ok());
        fs::write(&path, "short").unwrap();
        assert!(Policy::open(home.path()).is_ok());
        fs::remove_file(&path).unwrap();
        let elsewhere = home.path().join("elsewhere");
        fs::write(&elsewhere, "untouched").unwrap();
        std::os::unix::fs::symlink(&elsewhere, &path).unwrap();
        assert!(Policy::open(home.path()).is_ok());
        assert_eq!(fs::read(&elsewhere).unwrap(), b"untouched");
        let facts = fs::symlink_metadata(&path).unwrap();
        assert!(facts.is_file() && facts.permissions().mode() & 0o777 == 0o644);
    }

    #[test]
    fn an_added_device_raises_the_epoch_and_a_removed_one_does_not() {
        let home = tempfile::tempdir().unwrap();
        let policy = Policy::open(home.path()).unwrap();
        let epochs = [&[5u64, 6][..], &[6], &[6], &[6, 5]].map(|devices| {
            policy.set_devices(devices).unwrap();
            policy.epoch()
        });
        assert_eq!(epochs[0], epochs[1]);
        assert_eq!(epochs[1], epochs[2]);
        assert_ne!(epochs[2], epochs[3]);
    }

    #[test]
    fn too_many_devices_are_said() {
        let home = tempfile::tempdir().unwrap();
        let policy = Policy::open(home.path()).unwrap();
        let devices: Vec<u64> = (1..=65).collect();
        assert_eq!(
            policy.set_devices(&devices),
            Err(TooManyDevices { wanted: 65 })
        );
        assert_eq!(watched(&policy).len(), POLICY_DEVICES_MAX);
    }

    proptest! {
        /// Whatever the lists, what stays is in the same place before and after.
        #[test]
        fn what_stays_is_never_missing(
            old in proptest::collection::vec(1u64..90, 0..64),
            wanted in proptest::collection::vec(1u64..90, 0..80),
        ) {
            let old = rearranged(&[], &old);
            let new = rearranged(&old, &wanted);
            prop_assert!(new.len() <= POLICY_DEVICES_MAX);
            for (at, device) in old.iter().enumerate().filter(|(_, device)| new.contains(device)) {
                prop_assert_eq!(new[at], *device);
            }
            let mut unique = wanted.clone();
            unique.sort_unstable();
            unique.dedup();
            let missing = unique.iter().filter(|device| !new.contains(device)).count();
            prop_assert_eq!(missing, unique.len().saturating_sub(POLICY_DEVICES_MAX));
            prop_assert!(new.iter().all(|device| *device == 0 || unique.contains(device)));
        }
    }
}

//! The shared memory that a recorder makes.

use std::fs::File;
use std::marker::PhantomData;
use std::ops::Deref;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::ptr::NonNull;
use std::sync::atomic::Ordering::{Relaxed, Release};
use std::time::Duration;

use everwrite_protocol::local::segment::{ASLEEP, AWAKE, Doorbell};
use everwrite_protocol::local::{LOCAL_VERSION, POLICY_BYTES, POLICY_MAGIC, PolicyPage};
use rustix::fs::{MemfdFlags, SealFlags};
use rustix::mm::{MapFlags, ProtFlags};
use rustix::time::ClockId;

/// A shared mapping of a `T`, which is one of the local language's layouts: nothing but atomics.
pub(super) struct Shared<T> {
    address: NonNull<T>,
    file: Option<OwnedFd>,
    owns: PhantomData<T>,
}

// SAFETY: the mapping belongs to the process, and `T` is made of atomics.
unsafe impl<T> Send for Shared<T> {}
// SAFETY: as above.
unsafe impl<T> Sync for Shared<T> {}

impl<T> Shared<T> {
    /// New, zeroed, sealed memory.
    pub(super) fn anonymous(name: &str) -> Self {
        let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
        let file = rustix::fs::memfd_create(name, flags).expect("memory");
        rustix::fs::ftruncate(&file, size_of::<T>() as u64).expect("size memory");
        let seals = SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL;
        rustix::fs::fcntl_add_seals(&file, seals).expect("seal memory");
        let mut shared = Self::map(&file);
        shared.file = Some(file);
        shared
    }

    fn map(file: impl AsFd) -> Self {
        let protection = ProtFlags::READ | ProtFlags::WRITE;
        let (bytes, null) = (size_of::<T>(), std::ptr::null_mut());
        // SAFETY: a new mapping overlaps nothing; the file has room for a `T`.
        let address =
            unsafe { rustix::mm::mmap(null, bytes, protection, MapFlags::SHARED, file, 0) };
        let address = NonNull::new(address.expect("map memory").cast()).expect("not null");
        Self {
            address,
            file: None,
            owns: PhantomData,
        }
    }

    /// The descriptor to hand out.
    pub(super) fn file(&self) -> &OwnedFd {
        self.file
            .as_ref()
            .expect("anonymous memory keeps its descriptor")
    }
}

impl<T> Deref for Shared<T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: mapped and whole as long as `self`; any bytes are a `T`.
        unsafe { self.address.as_ref() }
    }
}

impl<T> Drop for Shared<T> {
    fn drop(&mut self) {
        // SAFETY: mapped by `map`; no reference outlives `self`.
        let _ = unsafe { rustix::mm::munmap(self.address.as_ptr().cast(), size_of::<T>()) };
    }
}

/// Makes a policy page that is on.
pub(super) fn make_policy(path: &Path, devices: &[u64]) -> Shared<PolicyPage> {
    let file = File::options()
        .read(true)
        .write(true)
        .create_new(true)
        .open(path);
    let file = file.expect("make the policy page");
    file.set_len(POLICY_BYTES as u64)
        .expect("size the policy page");
    let page = Shared::<PolicyPage>::map(&file);
    page.version.store(LOCAL_VERSION, Relaxed);
    page.epoch.store(1, Relaxed);
    page.device_count.store(devices.len() as u32, Relaxed);
    let places = page.devices.iter().zip(devices);
    places.for_each(|(place, device)| place.store(*device, Relaxed));
    beat(&page);
    page.switch_on.store(1, Relaxed);
    page.magic.store(POLICY_MAGIC, Release);
    page
}

/// A sign of life.
pub(super) fn beat(page: &PolicyPage) {
    let seconds = rustix::time::clock_gettime(ClockId::Monotonic).tv_sec;
    page.heartbeat_s
        .store(u64::try_from(seconds).unwrap_or(0), Relaxed);
}

/// Sleeps until a shim rings, or for `limit`.
pub(super) fn wait(doorbell: &Doorbell, limit: Duration) {
    use rustix::thread::futex;
    doorbell.reader.store(ASLEEP, Relaxed);
    let limit = futex::Timespec {
        tv_sec: 0,
        tv_nsec: i64::from(limit.subsec_nanos()),
    };
    // Rung, over, or cut short: in every case it is time to look.
    let _ = futex::wait(
        &doorbell.reader,
        futex::Flags::empty(),
        ASLEEP,
        Some(&limit),
    );
    doorbell.reader.store(AWAKE, Relaxed);
}

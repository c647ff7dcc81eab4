//! The policy page: what every shim may know without asking.

use core::mem::size_of;
use core::sync::atomic::{AtomicU32, AtomicU64};

/// First word of a policy page: `EWpolicy`, little endian.
pub const POLICY_MAGIC: u64 = u64::from_le_bytes(*b"EWpolicy");
/// Size of the page and of the file that holds it, in bytes.
pub const POLICY_BYTES: usize = 4096;
/// Devices that can be watched at once.
pub const POLICY_DEVICES_MAX: usize = 64;
/// Roots that a page can name.
pub const POLICY_ROOTS_MAX: usize = 12;
/// Longest path of a root that a page can hold, in bytes.
pub const POLICY_ROOT_BYTES_MAX: usize = 232;
/// Longest that anybody is held, whatever the page says, in milliseconds.
pub const HOLD_MS_MAX: u64 = 1000;
/// Longest that an `fsync` is made to wait for the receiver, whatever the page says, in milliseconds.
pub const DURABLE_MS_MAX: u64 = 60_000;
/// A heartbeat older than this, in seconds, means that no coordinator is alive.
pub const HEARTBEAT_STALE_SECONDS: u64 = 10;

/// One page, written by the coordinator only, mapped read-only by every shim.
///
/// A shim that finds a wrong magic or another [`LOCAL_VERSION`](super::LOCAL_VERSION) leaves its
/// program alone.
#[repr(C, align(4096))]
pub struct PolicyPage {
    /// [`POLICY_MAGIC`]; written last when the page is made.
    pub magic: AtomicU64,
    /// [`LOCAL_VERSION`](super::LOCAL_VERSION).
    pub version: AtomicU32,
    /// 1: the switch is on. 0: every hook passes straight through.
    pub switch_on: AtomicU32,
    /// Changes at each start of the coordinator. A shim attached under another epoch attaches anew.
    pub epoch: AtomicU64,
    /// `CLOCK_MONOTONIC` seconds of the coordinator's last sign of life.
    pub heartbeat_s: AtomicU64,
    /// Not 0: shimmed writers wait while a cut is finished, until it is 0 again (a futex, see `futex(2)`)
    /// or the time is [`Self::hold_until_ns`].
    pub hold: AtomicU32,
    /// Zero.
    pub reserved_hold: AtomicU32,
    /// How many of [`Self::devices`] are valid.
    pub device_count: AtomicU32,
    /// Zero.
    pub reserved: AtomicU32,
    /// `st_dev` of the file systems that hold protected files, as `stat(2)` gives it.
    pub devices: [AtomicU64; POLICY_DEVICES_MAX],
    /// Generation of what lies outside the roots: changes whenever something outside may have come
    /// inside, so that what was remembered of it is asked again. Odd: what follows is being written.
    pub outside: AtomicU64,
    /// How many of [`Self::roots`] are valid. 0: what lies outside can't be told by its path, and
    /// everything on a watched device counts as inside.
    pub root_count: AtomicU64,
    /// The directory `/` as the coordinator sees it: `stx_mnt_id` and `stx_ino` of `statx(2)`. Paths
    /// mean the same only to those who see the same.
    pub top: [AtomicU64; 2],
    /// Where the roots are.
    pub roots: [PolicyRoot; POLICY_ROOTS_MAX],
    /// `CLOCK_MONOTONIC` in nanoseconds beyond which nobody is held: a coordinator that dies in the middle
    /// of a cut holds nobody for longer.
    pub hold_until_ns: AtomicU64,
    /// Not 0: a program's `fsync` returns when the receiver has stored what it covers, or after so many
    /// milliseconds.
    pub durable_ms_max: AtomicU32,
    /// Not 0: an `fsync` for which that was too long fails with `EIO`. Otherwise it succeeds, and is counted.
    pub durable_fails: AtomicU32,
}

/// Where a root is.
#[repr(C)]
pub struct PolicyRoot {
    /// `st_dev` of its directory.
    pub device: AtomicU64,
    /// The mount it is on, `stx_mnt_id` of `statx(2)` (Linux 5.8).
    pub mount: AtomicU64,
    /// Length of [`Self::path`] in bytes.
    pub length: AtomicU64,
    /// Absolute path without links, as `/proc/self/fd` shows it; in words, the first byte lowest.
    pub path: [AtomicU64; POLICY_ROOT_BYTES_MAX / 8],
}

const _: () = assert!(size_of::<PolicyPage>() == POLICY_BYTES);

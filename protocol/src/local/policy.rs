//! The policy page: what every shim may know without asking.

use core::mem::size_of;
use core::sync::atomic::{AtomicU32, AtomicU64};

/// First word of a policy page: `EWpolicy`, little endian.
pub const POLICY_MAGIC: u64 = u64::from_le_bytes(*b"EWpolicy");
/// Size of the page and of the file that holds it, in bytes.
pub const POLICY_BYTES: usize = 4096;
/// Devices that can be watched at once.
pub const POLICY_DEVICES_MAX: usize = 64;
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
    /// Not 0: shimmed writers wait (bounded by [`Self::hold_us_max`]) while a cut is finished.
    pub hold: AtomicU32,
    /// Longest that a hook may wait for [`Self::hold`] to clear, in microseconds.
    pub hold_us_max: AtomicU32,
    /// How many of [`Self::devices`] are valid.
    pub device_count: AtomicU32,
    /// Zero.
    pub reserved: AtomicU32,
    /// `st_dev` of the file systems that hold protected files, as `stat(2)` gives it.
    pub devices: [AtomicU64; POLICY_DEVICES_MAX],
}

const _: () = assert!(size_of::<PolicyPage>() == POLICY_BYTES);

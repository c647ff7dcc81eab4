//! The wall clock.

use std::time::{SystemTime, UNIX_EPOCH};

use everwrite_protocol::ids::Timestamp;
use rustix::time::{ClockId, clock_gettime};

/// Now, as file times tell it.
pub fn wall_clock() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    Timestamp(since.map_or(0, |since| {
        i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)
    }))
}

/// Now, by the coarse clock that file systems set times by: it moves with each tick.
pub fn file_clock() -> Timestamp {
    let now = clock_gettime(ClockId::RealtimeCoarse);
    Timestamp::from_parts(now.tv_sec, now.tv_nsec as u32)
}

/// Names this boot of the machine: another number after each. 0 where it can't be told.
pub fn boot() -> u64 {
    let id = std::fs::read("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    blake3::hash(&id)
        .as_bytes()
        .first_chunk()
        .map_or(0, |bytes| u64::from_le_bytes(*bytes))
}

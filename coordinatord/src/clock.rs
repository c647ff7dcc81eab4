//! The clocks: what the daemon knows of time, it knows from here, so that a simulation can drive it.

use std::cell::Cell;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use everwrite_protocol::ids::Timestamp;
use rustix::time::{ClockId, clock_gettime};

/// Now, by the clock that only goes on. It is tokio's, which stands still in a runtime whose clock is paused.
pub fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

/// What has passed since.
pub fn since(then: Instant) -> Duration {
    now().saturating_duration_since(then)
}

/// Clocks that a simulation has set, for its own thread.
#[derive(Clone, Copy, Debug)]
pub struct Simulated {
    /// The wall clock showed this …
    pub wall: Timestamp,
    /// … when [`now`] was this.
    pub at: Instant,
    /// What [`file_clock`] shows: the kernel sets files' times by a clock that nobody simulates.
    pub file: Timestamp,
    /// What [`boot`] gives.
    pub boot: u64,
}

thread_local! {
    static SIMULATED: Cell<Option<Simulated>> = const { Cell::new(None) };
}

/// From now on this thread's clocks show this; `None`: the time.
pub fn simulate(clocks: Option<Simulated>) {
    SIMULATED.set(clocks);
}

/// Now, as file times tell it.
pub fn wall_clock() -> Timestamp {
    if let Some(simulated) = SIMULATED.get() {
        let passed = since(simulated.at).as_nanos();
        return Timestamp(simulated.wall.0.saturating_add(nanoseconds(passed)));
    }
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    Timestamp(since.map_or(0, |since| nanoseconds(since.as_nanos())))
}

/// When the wall clock showed this or a little before, unless it was set meanwhile. `None`: not since the computer was
/// started.
pub fn moment(wall: Timestamp) -> Option<Instant> {
    let now = now();
    let ago = wall_clock().0.saturating_sub(wall.0);
    now.checked_sub(Duration::from_nanos(ago.max(0).cast_unsigned()))
}

fn nanoseconds(count: u128) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// Now, by the coarse clock that file systems set times by: it moves with each tick.
pub fn file_clock() -> Timestamp {
    if let Some(simulated) = SIMULATED.get() {
        return simulated.file;
    }
    let now = clock_gettime(ClockId::RealtimeCoarse);
    Timestamp::from_parts(now.tv_sec, now.tv_nsec as u32)
}

/// Names this boot of the machine: another number after each. 0 where it can't be told.
pub fn boot() -> u64 {
    if let Some(simulated) = SIMULATED.get() {
        return simulated.boot;
    }
    let id = std::fs::read("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    blake3::hash(&id)
        .as_bytes()
        .first_chunk()
        .map_or(0, |bytes| u64::from_le_bytes(*bytes))
}

//! The wall clock.

use std::time::{SystemTime, UNIX_EPOCH};

use everwrite_protocol::ids::Timestamp;

/// Now, as file times tell it.
pub fn wall_clock() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    Timestamp(since.map_or(0, |since| {
        i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)
    }))
}

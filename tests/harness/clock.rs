//! A wall clock that a test moves while a daemon looks at it (libfaketime).

use std::ffi::OsString;
use std::path::PathBuf;

use crate::Place;

/// Debian's place for the library, on machines with other processors elsewhere.
const LIBRARY: &str = "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1";

/// One daemon's wall clock. Files keep the machine's time, and so does what measures intervals.
#[derive(Debug)]
pub struct Clock(PathBuf);

impl Clock {
    /// One that goes right. The error says why there can't be one.
    pub fn start(place: &Place, name: &str) -> Result<Self, String> {
        if !std::path::Path::new(LIBRARY).exists() {
            return Err("libfaketime is not installed (scripts/setup --for-tests)".to_owned());
        }
        let clock = Self(place.path().join(format!("{name}.clock")));
        clock.move_by(0);
        Ok(clock)
    }

    /// From now on it is so many seconds ahead of the machine's, or behind.
    pub fn move_by(&self, seconds: i64) {
        // Never half of a number.
        let new = self.0.with_extension("new");
        std::fs::write(&new, format!("{seconds:+}\n")).expect("write a clock");
        std::fs::rename(&new, &self.0).expect("set a clock");
    }

    /// What a daemon is to have in its environment.
    pub fn environment(&self) -> Vec<(&'static str, OsString)> {
        vec![
            ("LD_PRELOAD", LIBRARY.into()),
            ("FAKETIME_TIMESTAMP_FILE", self.0.clone().into()),
            ("FAKETIME_CACHE_DURATION", "1".into()),
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1".into()),
            ("NO_FAKE_STAT", "1".into()),
        ]
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;
    use crate::{run, skip};

    fn year(clock: &Clock) -> String {
        let mut date = Command::new("date");
        run(date.arg("+%Y").envs(clock.environment()))
            .success()
            .text()
    }

    #[test]
    fn moves() {
        let place = Place::new();
        let clock = match Clock::start(&place, "a") {
            Ok(clock) => clock,
            Err(reason) => return skip("clock::moves", &reason),
        };
        let now = year(&clock);
        clock.move_by(-366 * 24 * 3600);
        assert_ne!(year(&clock), now);
    }
}

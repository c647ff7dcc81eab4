//! Waiting for a condition, and saying why a test can't run. The one place of the tests that sleeps.

use std::io::Write;
use std::time::{Duration, Instant};

/// How long anything may take that does not say otherwise. Long, for slow machines: a test that passes
/// never waits for it.
pub const DEADLINE: Duration = Duration::from_secs(60);

/// Asks until there is an answer; panics with `what` when there is none within `limit`.
#[track_caller]
pub fn wait_for<T>(what: &str, limit: Duration, ask: impl FnMut() -> Option<T>) -> T {
    try_wait_for(limit, ask).unwrap_or_else(|| panic!("not within {limit:?}: {what}"))
}

/// Asks until there is an answer, or until `limit` is over.
pub fn try_wait_for<T>(limit: Duration, mut ask: impl FnMut() -> Option<T>) -> Option<T> {
    let end = Instant::now() + limit;
    loop {
        let answer = ask();
        if answer.is_some() || Instant::now() >= end {
            return answer;
        }
        pause(Duration::from_millis(5));
    }
}

/// Waits until `condition` holds, for at most [`DEADLINE`].
#[track_caller]
pub fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    wait_for(what, DEADLINE, || condition().then_some(()));
}

/// Lets time pass: between two looks at a condition, or until a moment that a seed chose.
pub(crate) fn pause(time: Duration) {
    std::thread::sleep(time);
}

/// Whether measurements are wanted (`EVERWRITE_MEASURE` is set); says so where they are not.
pub fn measuring(test: &str) -> bool {
    let wanted = std::env::var_os("EVERWRITE_MEASURE").is_some();
    if !wanted {
        skip(test, "a measurement; EVERWRITE_MEASURE=1 runs it");
    }
    wanted
}

/// Says on the real standard error (libtest keeps what `eprintln!` prints) that the calling test can't
/// run here, and why. `scripts/test` counts these lines.
pub fn skip(test: &str, reason: &str) {
    // Nothing is lost when standard error is closed but the remark itself.
    let _ = writeln!(std::io::stderr(), "SKIPPED {test}: {reason}");
}

//! The account: who told of each change, what was missed, and what looked like a disaster.
//!
//! Three sources grade each other: shim, kernel witness and scan. A round says what it found and who
//! had announced it; some hints arrive only after the look. So a change that not all have told of
//! stays open until every hint of its time is in, and is counted then. What a scan alone found is a
//! miss.
//!
//! ```text
//! round ── changes ──▶ tally ── closed ──▶ periods, programs, misses ──▶ file
//!          hints ──────▲                                                  ▲
//! round ── losses ───▶ bursts ── a process that deletes or overwrites much ┘
//! ```
//!
//! Everything here is bounded and is told the time.

mod book;
mod burst;
mod change;
mod kept;
mod periods;
mod processes;
mod programs;
mod tally;

pub use book::Account;
pub use burst::{Bursts, Limits, Loss, Suspected};
pub use change::{Change, Gap, Look, Suspect, suspected_cause};
pub use kept::Kept;
pub use periods::Periods;
pub use processes::Processes;
pub use programs::Programs;
pub use tally::Tally;

/// Counts one change by the set of sources that told of it.
pub fn count(changes: &mut everwrite_protocol::control::Changes, sources: crate::intake::Sources) {
    use crate::intake::Source::{Kernel, Shim};
    let counter = match (sources.has(Shim), sources.has(Kernel)) {
        (true, true) => &mut changes.both,
        (true, false) => &mut changes.shim,
        (false, true) => &mut changes.kernel,
        (false, false) => &mut changes.missed,
    };
    *counter += 1;
}

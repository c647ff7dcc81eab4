//! Restore: a file or tree as it was, from a store on this machine or through a receiver elsewhere.
//!
//! A [`RestorePlan`] says what will be done, and can be shown; [`carry_out`] does it. Nothing is
//! overwritten unless `in place` was asked for, and nothing that the history does not hold is ever
//! removed. Everything of a file comes back: content, holes, hard links, owner, mode, times to the
//! nanosecond, extended attributes; what this process may not set is listed. What was written is read
//! back from the disk and compared. A restore that was broken off goes on when it is asked for again.

mod carry_out;
mod content;
mod digest;
mod error;
mod history;
mod marker;
mod nodes;
mod piece;
mod place;
mod plan;

pub use carry_out::{Progress, Report, carry_out};
pub use error::RestoreError;
pub use history::{Asked, History, HistoryError};
pub use piece::Piece;
pub use plan::{Action, Destination, RestorePlan, RestoreRequest, Step};

#[cfg(test)]
mod tests;

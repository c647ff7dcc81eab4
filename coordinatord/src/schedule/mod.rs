//! Schedule units: when hints are taken into the queue, and when the queue is turned into backup
//! commands. Both use one pacing rule.

mod manage;
mod process;
mod rule;

pub use manage::ScheduleManager;
pub use process::{ScheduleProcessor, Window};
pub use rule::{PaceLimits, Pacer};

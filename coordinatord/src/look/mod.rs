//! Looking: what the file system says, against what the index says. Hints say where; nothing here
//! believes them.

mod accounts;
mod ahead;
mod attributes;
mod decide;
mod directories;
mod listed;
mod stat;
mod want;

pub use accounts::Accounts;
pub use ahead::{LookAhead, NAMES_BELOW_MAX, NAMES_PER_JOB};
pub use attributes::{attributes_digest, attributes_of, read_attributes};
pub use decide::{NameVerdict, decide_name, is_same};
pub use directories::{Directories, DirectoryGone, OpenDirectory, Place};
pub use listed::Listed;
pub use stat::{Stat, stat_at, stat_descriptor};
pub use want::is_want;

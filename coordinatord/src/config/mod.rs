//! Settings: where a source keeps its files ([`Paths`]), what it protects and how ([`Config`]).
//!
//! Written by people as TOML, read raw, checked once into types that can't be wrong. The commands
//! that change it (pair, protect, unprotect) change the checked form and write the file back
//! atomically; the file is the only place where it is kept.

mod change;
mod check;
mod checked;
mod file;
mod lock;
mod paths;
mod problem;
mod raw;
mod source_id;
mod switch;

pub use change::absolute_destination;
pub use checked::{
    Brakes, Config, Cuts, DurableSettings, Place, RPO_MS_DEFAULT, RPO_MS_MIN, Receiver, Root, Scan,
    Schedule,
};
pub use file::replace;
pub use lock::{HomeLock, LockError};
pub use paths::{HOME_VARIABLE, Paths};
pub use problem::{ConfigError, Problem};
pub use source_id::source_id;
pub use switch::SwitchState;

#[cfg(test)]
mod tests;

//! Real processes on a real disk: what a user does on the first day, and what goes wrong later.
//!
//! Whatever happens, a test ends the same way: tree and mirror are equal to rsync, to a walk that looks
//! at what rsync does not, and to `verify` of both sides ([`harness::Pair::assert_mirrored`]).

mod account;
mod brakes;
mod bursts;
mod commands;
mod connection;
mod durable;
mod embedded;
mod first_day;
mod full_disk;
mod gaps;
mod history;
mod kill;
mod many;
mod metadata;
mod names;
mod preload;
mod programs;
mod short_lived;
mod soak;
mod torture;
mod unreadable;
mod usage;
mod workload;

//! The source of Everwrite: the coordinator daemon and the command line.

pub mod cli;
pub mod config;
pub mod control;
pub mod delta;
pub mod exclude;
pub mod intake;
pub mod network_backup;

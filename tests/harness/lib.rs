//! What the tests with real processes are made of, in the order of a test's life:
//!
//! [`artifacts`] finds or builds the programs; a [`Place`] is a temporary directory with a seed; in it
//! a [`Receiver`] and a [`Source`] run as [`daemon`]s, perhaps with a [`Proxy`] between them; a [`Pair`]
//! is the usual set of all three, with one protected tree; [`tree`] compares what came of it. A
//! [`recorder`] takes a coordinator's place where only the shim is looked at.
//!
//! Helpers panic with what they saw: a test reads as a list of steps. Nothing waits for a fixed time:
//! [`wait_for`] waits for a condition, with a deadline.

pub mod artifacts;
mod clock;
pub mod daemon;
mod pair;
mod place;
mod private_root;
mod proxy;
mod receiver;
pub mod recorder;
mod run;
mod seed;
mod small_disk;
mod source;
mod store;
pub mod tree;
mod wait;

pub use clock::Clock;
pub use pair::Pair;
pub use place::Place;
pub use private_root::PrivateRoot;
pub use proxy::Proxy;
pub use receiver::Receiver;
pub use run::{Outcome, run, shell, text};
pub use seed::{Seed, kills};
pub use small_disk::SmallDisk;
pub use source::{Destination, Source};
pub use store::Store;
pub use wait::{DEADLINE, measuring, skip, try_wait_for, wait_for, wait_until};

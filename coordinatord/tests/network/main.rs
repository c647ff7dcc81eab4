//! The line between a coordinator and a receiver: real TLS on loopback, real sessions, in front of
//! a store in memory that can be made to misbehave, and of the real one.

mod batches;
mod memory;
mod proxy;
mod rig;

mod cuts;
mod hostile;
mod pairing;
mod questions;
mod sessions;
mod stored;

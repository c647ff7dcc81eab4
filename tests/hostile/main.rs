//! Peers that mean harm, or are broken, on the wire against the real daemons: a source against a
//! receiver, a receiver against a coordinator.
//!
//! Required of the one that is attacked: it lives, its memory is bounded, nothing that it had stored
//! changes, nobody else notices.

mod against_coordinator;
mod attacker;
mod batches;
mod connections;
mod fake;
mod frames;
mod history;
mod scene;

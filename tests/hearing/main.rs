//! What the intake hears of real programs under the real shim.
//!
//! The oracle is the disk: every byte and every name that is different afterwards must have been
//! hinted at ([`difference`]), and a second tree that is brought up to date by the hints alone must come out
//! the same ([`replica`]). "Look everywhere" does not count, unless a test provokes it.

mod difference;
mod ear;
mod figures;
mod hold;
mod kills;
mod lives;
mod outside;
mod programs;
mod replica;
mod shell;
mod snapshot;
mod switch;
mod tools;

//! Does the shim tell everything, and leave programs alone?
//!
//! A [`harness::recorder::Recorder`] stands in the coordinator's place; programs change a tree; what
//! differs afterwards must have been told, down to the byte.

mod aarch64;
mod calls;
mod exports;
mod figures;
mod global;
mod guests;
mod libcs;
mod library;
mod programs;
mod scene;
mod surroundings;
mod table;
mod tools;
mod torture;

//! The shim for every program of a machine: `/etc/ld.so.preload`, see `ld.so(8)`.
//!
//! A mistake here stops every program of the machine, so:
//!
//! - the library comes before the line, the line goes before the library;
//! - the copy is made so that one cut short is refused by the loader instead of ending each program
//!   that it is loaded into ([`object::sealed`]);
//! - nothing is put in place before programs ran with it and did what they do without it ([`canary`]);
//! - programs for other processors get a library with nothing in it, since the loader complains on
//!   standard error of each program for which it finds none ([`object::empty`]).

pub(super) mod canary;
pub(super) mod hooks;
pub(super) mod line_file;
pub(super) mod lines;
pub(super) mod loaders;
pub(super) mod maps;
pub(super) mod object;
pub(super) mod open_files;
pub(super) mod place;
pub(super) mod processes;
pub(super) mod root;
pub(super) mod scratch;
pub(super) mod self_test;
pub(super) mod standing;
mod symbols;
pub(super) mod trial;

/// The list of libraries that the loader loads into every program.
pub(super) const LINE_FILE: &str = "/etc/ld.so.preload";

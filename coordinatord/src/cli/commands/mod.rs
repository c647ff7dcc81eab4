//! One command a file: its arguments, what it asks, what it says.

pub(super) mod explain;
pub(super) mod off;
pub(super) mod on;
pub(super) mod protect;
pub(super) mod reconcile;
pub(super) mod run;
pub(super) mod status;
pub(super) mod sync;
pub(super) mod unprotect;

//! One command a file: its arguments, what it asks, what it says.

pub(super) mod acknowledge;
pub(super) mod cat;
pub(super) mod checkpoint;
pub(super) mod coverage;
pub(super) mod deleted;
pub(super) mod diff;
pub(super) mod doctor;
pub(super) mod explain;
pub(super) mod log;
pub(super) mod ls;
pub(super) mod off;
pub(super) mod on;
pub(super) mod pair;
pub(super) mod points;
pub(super) mod preload;
pub(super) mod protect;
pub(super) mod reconcile;
pub(super) mod restore;
pub(super) mod run;
pub(super) mod status;
pub(super) mod sync;
pub(super) mod unprotect;
pub(super) mod verify;

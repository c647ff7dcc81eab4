//! Programs that nobody here wrote, made to find faults: what they find with the shim is what they find
//! without it, and whatever they leave behind is stored.
//!
//! `EVERWRITE_SUITES=1` has them work for longer.

mod ground;
mod load;
mod posix;
mod python;
mod sources;

//! The witness: programs that no shim is in change files, and all of it is stored within moments, without
//! a scan and without a `sync`.
//!
//! Each test ends by comparing tree and mirror, then has a scan look for anything that nobody announced.
//! Where a kernel or a container does not allow eBPF or fanotify the tests say so and are skipped;
//! `EVERWRITE_REQUIRE_EBPF=1` makes that a failure.

mod anything;
mod attribution;
mod calls;
mod cuts;
mod durability;
mod kinds;
mod mapped;
mod moved;
mod overwhelmed;
mod places;
mod programs;
mod scene;
mod unread;

//! `libeverwrite_shim.so`: tells the coordinator what the program that it is loaded into changes.
//!
//! In order of flow:
//! - [`table`] has the functions that are hooked, [`stdio`] and [`decode`] the ways around them;
//! - [`call`] says what a call means: [`content`], [`names`] and [`mapping`] do the rest of the saying,
//!   with [`descriptor`] and [`place`] to tell which file it is, and [`outside`] that it is none of ours;
//! - [`range`], [`run`], [`message`] and [`hull`] put it into the segment, in two phases;
//! - [`attach`] gets the segment, when [`policy`] says that somebody wants to hear.
//!
//! The rules of a guest: never crash, allocate, lock, print, panic, change `errno`, keep a
//! descriptor, or block without bound. When in doubt, say that more may have changed than did.

#![cfg_attr(not(test), no_std)]
#![deny(
    clippy::arithmetic_side_effects,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used
)]
#![cfg_attr(
    test,
    allow(
        clippy::arithmetic_side_effects,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::panic,
        clippy::unwrap_used,
        reason = "tests may fail"
    )
)]
#![cfg_attr(
    test,
    allow(
        dead_code,
        reason = "the test program is not hooked: nothing is exported"
    )
)]

mod accounts;
mod aio;
mod arch;
mod attach;
mod call;
mod claim;
mod content;
mod decode;
mod descriptor;
#[cfg_attr(test, allow(dead_code, reason = "there are no stubs"))]
mod durable;
mod elf;
mod environment;
mod hook;
mod hull;
mod kernel;
mod mapping;
mod memory;
mod message;
mod names;
mod outside;
mod place;
mod policy;
mod process;
mod range;
mod run;
mod socket;
mod spawn;
mod start;
mod stdio;
mod submit;
mod symbols;
mod table;
mod thread;
mod under_way;

/// There is no panicking code in the library (a test looks for it). Should there be, the program
/// ends as it would after `abort`.
#[cfg(not(test))]
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    kernel::exit_group(134)
}

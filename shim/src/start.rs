//! What is done when the program starts and when it ends: next to nothing. Hooks may be called before
//! the one and after the other, and rely on neither.

use core::ffi::{c_char, c_int};

use crate::{attach, descriptor, environment, hull, mapping, policy, process, stdio, symbols};

#[cfg(not(test))]
#[used]
#[unsafe(link_section = ".init_array")]
static AT_START: extern "C" fn(c_int, *const *const c_char, *const *const c_char) = at_start;

#[cfg(not(test))]
#[used]
#[unsafe(link_section = ".fini_array")]
static AT_END: extern "C" fn() = at_end;

/// The loader calls constructors with the arguments of `main`.
extern "C" fn at_start(
    _count: c_int,
    _arguments: *const *const c_char,
    environment: *const *const c_char,
) {
    process::begin();
    symbols::begin();
    environment::read(environment);
    if environment::is_switched_off() {
        policy::turn_off();
    } else {
        stdio::take_over();
    }
}

/// Proves what can be proved while the descriptors are still open, and makes a last attempt to tell
/// what could not be told before: what was remembered, and what is mapped still.
extern "C" fn at_end() {
    descriptor::settle_all();
    if (hull::is_anything_remembered() || mapping::is_any())
        && let Some(page) = policy::active()
    {
        attach::last_attempt(page);
    }
}

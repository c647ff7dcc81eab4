//! What the program's surroundings say: the run directory and the kill switches.
//!
//! In a program with raised rights (`AT_SECURE`) the environment belongs to whoever started it and
//! is not read.

use core::cell::UnsafeCell;
use core::ffi::{CStr, c_char};
use core::mem::transmute;
use core::sync::atomic::{
    AtomicU32,
    Ordering::{AcqRel, Acquire, Release},
};

use everwrite_protocol::local::{
    KILL_SWITCH_VARIABLE, RUN_DIRECTORY_DEFAULT, RUN_DIRECTORY_VARIABLE,
};

use crate::arch::weak_address;
use crate::symbols;

/// Longest run directory in bytes. The socket's path has to fit 107 bytes anyway.
pub(crate) const RUN_DIRECTORY_BYTES_MAX: usize = 200;
/// Longest path of a file in the run directory, with its NUL.
pub(crate) const RUN_PATH_BYTES_MAX: usize = RUN_DIRECTORY_BYTES_MAX + 16;

/// A path with its NUL, in place.
pub(crate) struct RunPath {
    bytes: [u8; RUN_PATH_BYTES_MAX],
    length: usize,
}

impl RunPath {
    pub(crate) const fn new() -> Self {
        Self {
            bytes: [0; RUN_PATH_BYTES_MAX],
            length: 0,
        }
    }

    /// Appends `more` and leaves room for the NUL; says whether it fits.
    pub(crate) fn push(&mut self, more: &[u8]) -> bool {
        let end = self.length.saturating_add(more.len());
        if end >= self.bytes.len() {
            return false;
        }
        let Some(target) = self.bytes.get_mut(self.length..end) else {
            return false;
        };
        copy(more, target);
        self.length = end;
        true
    }

    pub(crate) fn as_c(&self) -> &CStr {
        // SAFETY: `push` leaves room for a NUL, and nothing but NULs behind what it wrote.
        unsafe { CStr::from_ptr(self.bytes.as_ptr().cast()) }
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or(&[])
    }
}

/// Copies what fits. `copy_from_slice` would bring in a panic for lengths that differ.
pub(crate) fn copy(from: &[u8], to: &mut [u8]) {
    to.iter_mut().zip(from).for_each(|(to, from)| *to = *from);
}

/// What the environment said, read once: it may be rewritten later, by any thread.
struct Settings {
    state: AtomicU32,
    run_directory: UnsafeCell<RunPath>,
}

const UNREAD: u32 = 0;
const READING: u32 = 1;
const USABLE: u32 = 2;
const SWITCHED_OFF: u32 = 3;

// SAFETY: the path is written only by the one thread that took `state` from UNREAD to READING, and
// read only after USABLE was seen.
unsafe impl Sync for Settings {}

static SETTINGS: Settings = Settings {
    state: AtomicU32::new(UNREAD),
    run_directory: UnsafeCell::new(RunPath::new()),
};

/// Reads the environment, if nobody has yet. The constructor hands over the block that the program
/// was started with; a hook that runs before it looks for libc's.
pub(crate) fn read(environment: *const *const c_char) {
    if SETTINGS
        .state
        .compare_exchange(UNREAD, READING, AcqRel, Acquire)
        .is_ok()
    {
        let state = if take(environment) {
            USABLE
        } else {
            SWITCHED_OFF
        };
        SETTINGS.state.store(state, Release);
    }
}

/// The path of `name` in the run directory; `None` when the environment switches the shim off.
pub(crate) fn in_run_directory(name: &str) -> Option<RunPath> {
    if SETTINGS.state.load(Acquire) == UNREAD {
        read(environment_of_libc());
    }
    if SETTINGS.state.load(Acquire) != USABLE {
        return None;
    }
    let mut path = RunPath::new();
    // SAFETY: USABLE was seen, nobody writes any more.
    let directory = unsafe { &*SETTINGS.run_directory.get() };
    let whole = path.push(directory.as_bytes()) && path.push(b"/") && path.push(name.as_bytes());
    whole.then_some(path)
}

/// Whether the environment switches the shim off for this program.
pub(crate) fn is_switched_off() -> bool {
    SETTINGS.state.load(Acquire) == SWITCHED_OFF
}

fn environment_of_libc() -> *const *const c_char {
    match weak_address!("environ") as *const *const *const c_char {
        variable if variable.is_null() => core::ptr::null(),
        // SAFETY: `environ` is libc's, of this type.
        variable => unsafe { *variable },
    }
}

/// Fills [`SETTINGS`]; `false` when the shim is to stay off.
fn take(environment: *const *const c_char) -> bool {
    let trusted = !has_raised_rights();
    let off = trusted && value(environment, KILL_SWITCH_VARIABLE).is_some_and(|v| v == b"1");
    let directory = value(environment, RUN_DIRECTORY_VARIABLE)
        .filter(|directory| trusted && directory.first() == Some(&b'/'))
        .unwrap_or(RUN_DIRECTORY_DEFAULT.as_bytes());
    // SAFETY: the only thread in READING.
    let path = unsafe { &mut *SETTINGS.run_directory.get() };
    !off && directory.len() <= RUN_DIRECTORY_BYTES_MAX && path.push(directory)
}

fn has_raised_rights() -> bool {
    const AT_SECURE: usize = 23;
    type Getauxval = unsafe extern "C" fn(usize) -> usize;
    match symbols::next(c"getauxval") {
        // Not to be known: believe nobody.
        0 => true,
        // SAFETY: `getauxval(3)` has this type; it neither allocates nor locks.
        getauxval => unsafe { transmute::<usize, Getauxval>(getauxval)(AT_SECURE) != 0 },
    }
}

/// Value of `name` in an environment block.
fn value<'a>(environment: *const *const c_char, name: &str) -> Option<&'a [u8]> {
    let mut entry = environment;
    // SAFETY: a block ends with a null pointer, its strings with a NUL.
    while let Some(text) = unsafe { entry.as_ref().filter(|text| !text.is_null()) } {
        // SAFETY: as above.
        let text: &'a [u8] = unsafe { CStr::from_ptr(*text) }.to_bytes();
        let rest = text
            .strip_prefix(name.as_bytes())
            .and_then(|rest| rest.strip_prefix(b"="));
        if rest.is_some() {
            return rest;
        }
        entry = entry.wrapping_add(1);
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_belongs_to_the_whole_name() {
        let texts = [c"EVERWRITE_OFFICE=2", c"EVERWRITE_OFF=1", c"X"];
        let mut block: Vec<*const c_char> = texts.iter().map(|text| text.as_ptr()).collect();
        block.push(core::ptr::null());
        assert_eq!(value(block.as_ptr(), "EVERWRITE_OFF"), Some(&b"1"[..]));
        assert_eq!(value(block.as_ptr(), "X"), None);
        assert_eq!(value(core::ptr::null(), "X"), None);
    }

    #[test]
    fn a_path_that_does_not_fit_is_refused() {
        let mut path = RunPath::new();
        assert!(path.push(&[b'a'; RUN_PATH_BYTES_MAX - 1]));
        assert!(!path.push(b"b"));
        assert_eq!(path.as_c().to_bytes().len(), RUN_PATH_BYTES_MAX - 1);
    }
}

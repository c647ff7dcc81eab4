//! The program's memory, as far as it is known to be readable: the heap.
//!
//! A path that a program hands over may be anything, and only the kernel can look at it without being
//! ended for it. But most paths lie in the heap, which is one piece up to its end, and libc says where
//! that is. So the kernel is asked once whether all is mapped from a path that it has read to the end
//! of the heap; from then on what lies between is read without asking.

use core::ffi::c_char;
use core::sync::atomic::{AtomicU32, AtomicUsize, Ordering::Relaxed};

use crate::symbols::Real;
use crate::{kernel, process};

const PAGE: usize = 4096;
/// Longest path with its NUL, as the kernel takes it.
const PATH_MAX: usize = 4096;
/// Times that the kernel is asked in vain: what lies below the heap looks like a part of it.
const FAILURES_MAX: u32 = 8;

/// The piece of the heap that was found to be mapped. It may have become shorter since.
static LOW_INVERTED: AtomicUsize = AtomicUsize::new(0);
static HIGH: AtomicUsize = AtomicUsize::new(0);
static FAILURES: AtomicU32 = AtomicU32::new(0);

/// Where the heap ends; 0 when libc does not say.
fn end_of_heap() -> usize {
    static END: Real = Real::new();
    let end = END.address(c"__curbrk".as_ptr()) as *const AtomicUsize;
    // SAFETY: null, or libc's variable, a word, which its `brk` keeps.
    unsafe { end.as_ref() }.map_or(0, |end| end.load(Relaxed))
}

/// The string, if all of it lies where reading is safe. It may be used until the call returns.
#[inline(never)]
pub(crate) fn text(string: *const c_char) -> Option<&'static [u8]> {
    let start = string as usize;
    let end = HIGH.load(Relaxed).min(end_of_heap());
    if start < !LOW_INVERTED.load(Relaxed) || start >= end {
        return None;
    }
    let room = end.wrapping_sub(start).min(PATH_MAX);
    // SAFETY: mapped, see above; the program does not unmap what a call under way was given.
    let bytes: &'static [u8] = unsafe { core::slice::from_raw_parts(string.cast(), room) };
    let length = bytes.iter().position(|byte| *byte == 0)?;
    bytes.get(..length)
}

/// The kernel has read the string.
#[cold]
#[inline(never)]
pub(crate) fn learn(string: *const c_char) {
    let (page, end) = (string as usize & !(PAGE - 1), end_of_heap());
    let asks = page < end && FAILURES.load(Relaxed) < FAILURES_MAX && process::is_free();
    if !asks {
        return;
    }
    if kernel::is_mapped(page, end.wrapping_sub(page)) {
        LOW_INVERTED.fetch_max(!page, Relaxed);
        HIGH.fetch_max(end, Relaxed);
    } else {
        FAILURES.fetch_add(1, Relaxed);
    }
}

/// The program takes this piece of memory away, or forbids itself to read it. A heap with holes is not read
/// any more.
pub(crate) fn withdrawn(address: usize, length: usize) {
    let (low, high) = (!LOW_INVERTED.load(Relaxed), HIGH.load(Relaxed));
    if address < high && address.saturating_add(length) > low {
        FAILURES.store(FAILURES_MAX, Relaxed);
        LOW_INVERTED.store(0, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::CString;

    use super::*;

    #[test]
    fn what_the_kernel_has_read_is_read_without_it() {
        let _ = process::may_make_calls();
        let strings: Vec<CString> = (0..64)
            .map(|at| CString::new(format!("/a/{at}")).unwrap())
            .collect();
        strings.iter().for_each(|string| learn(string.as_ptr()));
        for string in &strings {
            // The thread's heap may be another one.
            if let Some(text) = text(string.as_ptr()) {
                assert_eq!(text, string.to_bytes());
            }
        }
        assert_eq!(text(core::ptr::null()), None);
        assert_eq!(text(usize::MAX as *const c_char), None);
        assert_eq!(text(c"/in/the/program".as_ptr()), None);
        let known = HIGH.load(Relaxed);
        withdrawn(0, 1);
        withdrawn(known, 1);
        assert!(
            known == 0 || FAILURES.load(Relaxed) < FAILURES_MAX,
            "beside it"
        );
        withdrawn(strings[0].as_ptr() as usize, 1);
        strings.iter().for_each(|string| learn(string.as_ptr()));
        if HIGH.load(Relaxed) != 0 && (strings[0].as_ptr() as usize) < HIGH.load(Relaxed) {
            assert_eq!(text(strings[0].as_ptr()), None, "a heap with a hole");
        }
    }
}

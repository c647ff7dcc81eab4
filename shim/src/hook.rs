//! The way of every hooked call: a stub of two instructions brings its [`Row`] to the dispatcher
//! ([`crate::arch`]), which keeps the arguments, calls [`enter`], the real function, and [`leave`].
//! The dispatcher is the only frame between a program and the real function, and says how to unwind
//! it: cancellation goes through there.
//!
//! The two calls that programs make most have hooks of their own, see [`hot_hooks`].

use core::ffi::{CStr, c_char};
use core::mem::transmute_copy;

use crate::call::{self, Arguments, Call, Pending, Words};
use crate::kernel;
use crate::names::errno_place;
use crate::symbols::{self, Real};

/// How the result of a function is to be read.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// `int`; negative is failure.
    Int,
    /// A word; negative is failure.
    Word,
    /// An address; null is failure.
    Pointer,
    /// Nothing.
    Void,
}

/// One hooked function. Its name follows, with a NUL.
#[repr(C)]
pub(crate) struct Row {
    real: Real,
    call: Call,
    result: Kind,
}

/// A row and its name.
#[repr(C)]
pub(crate) struct NamedRow<const BYTES: usize> {
    row: Row,
    name: [u8; BYTES],
}

impl<const BYTES: usize> NamedRow<BYTES> {
    /// `name` with its NUL.
    pub(crate) const fn new(name: &'static str, call: Call, result: Kind) -> Self {
        let mut copy = [0; BYTES];
        copy.copy_from_slice(name.as_bytes());
        Self {
            row: Row {
                real: Real::new(),
                call,
                result,
            },
            name: copy,
        }
    }
}

/// The name behind a row: every row is the beginning of a [`NamedRow`], and bytes need no padding.
fn name_of(row: *const Row) -> *const c_char {
    row.wrapping_add(1).cast()
}

/// What the dispatcher keeps of a call, on the program's stack.
#[repr(C, align(16))]
pub(crate) struct Frame {
    /// Filled in by the dispatcher.
    words: Words,
    /// Kept for the dispatcher.
    result: usize,
    row: &'static Row,
    pending: Pending,
}

/// Size of a [`Frame`].
pub(crate) const FRAME_BYTES: usize = size_of::<Frame>();
// Threads may have stacks of 16 KiB.
const _: () = assert!(FRAME_BYTES <= 416 && FRAME_BYTES.is_multiple_of(16));

/// Announces the call that will return to `caller`; gives the address of the real function, 0 when
/// there is none.
///
/// # Safety
/// `row` is the beginning of a [`NamedRow`]; `frame` holds the words, and is memory of its size that nobody else uses.
#[inline(never)]
pub(crate) unsafe extern "C" fn enter(row: *const Row, frame: *mut Frame, caller: usize) -> usize {
    let pointer = row;
    // SAFETY: a static, brought here by its stub.
    let row = unsafe { &*pointer };
    let mut address = row.real.address(name_of(pointer));
    let mut call = row.call;
    if call.has_versions() {
        // SAFETY: every row is followed by its name.
        let name = unsafe { CStr::from_ptr(name_of(pointer)) };
        if let Some(old) = symbols::old_version(name, caller) {
            address = old;
            call = call.of_old_version();
        }
    }
    // SAFETY: as the caller promises.
    unsafe {
        (&raw mut (*frame).row).write(row);
        (&raw mut (*frame).pending).write(Pending::NOTHING);
        if address != 0 {
            let words = &(*frame).words;
            call::before(call, Arguments(words), &mut (*frame).pending);
        }
    }
    address
}

/// The real function returned `result`.
pub(crate) extern "C" fn leave(frame: &Frame, result: usize) {
    let result = match frame.row.result {
        Kind::Int => result as i32 as isize,
        Kind::Word => result as isize,
        Kind::Pointer if result == 0 => -1,
        Kind::Pointer => result as isize,
        Kind::Void => 0,
    };
    call::after(&frame.pending, result);
}

/// The result of a function that this libc does not have: a program can only have got here by
/// looking our name up.
#[cold]
pub(crate) extern "C" fn missing(frame: &Frame) -> usize {
    const ENOSYS: i32 = 38;
    if let Some(errno) = errno_place() {
        // SAFETY: the calling thread's `errno`.
        unsafe { *errno = ENOSYS };
    }
    let [first, ..] = frame.words;
    match (frame.row.call, frame.row.result) {
        // These give the error itself.
        (Call::Spawn, _) => ENOSYS as usize,
        // It can't fail.
        (Call::CloseRange { .. }, Kind::Void) => kernel::close_from(first),
        (_, Kind::Pointer) => 0,
        _ => usize::MAX,
    }
}

/// One row per function: its name, other names of the same function, what kind of result it gives,
/// and what a call of it means.
macro_rules! hooks {
    ($list:ident: $(
        $(#[$note:meta])*
        $name:ident $(| $alias:ident)* -> $result:ident = $call:expr;
    )*) => {
        $(
            $(#[$note])*
            #[cfg(not(test))]
            const _: () = {
                const NAME: &str = concat!(stringify!($name), "\0");
                static ROW: $crate::hook::NamedRow<{ NAME.len() }> = $crate::hook::NamedRow::new(
                    NAME,
                    $call,
                    $crate::hook::Kind::$result,
                );
                $crate::arch::export_row!($name, ROW);
                $($crate::arch::export_row!($alias, ROW);)*
            };
        )*
        #[cfg(test)]
        pub(crate) const $list: &[(&str, &[&str], $crate::call::Call)] =
            &[$((stringify!($name), &[$(stringify!($alias)),*], $call)),*];
    };
}

/// The calls that programs make most: `begin` gives a ticket if there is anything to announce, `end`
/// takes it back with the result. Without one the call is passed straight on.
macro_rules! hot_hooks {
    ($list:ident: $(
        $name:ident $(| $alias:ident)* ($($argument:ident: $type:ty),* $(,)?) -> $result:ty
            = $begin:expr, $end:path;
    )*) => {
        $(
            #[cfg_attr(not(test), unsafe(no_mangle))]
            unsafe extern "C" fn $name($($argument: $type),*) -> $result {
                static REAL: $crate::symbols::Real = $crate::symbols::Real::new();
                const NAME: &str = concat!(stringify!($name), "\0");
                let address = REAL.address(NAME.as_ptr().cast());
                type Function = unsafe extern "C" fn($($type),*) -> $result;
                // SAFETY: the function of this name, whose type the row repeats.
                let real = unsafe { $crate::hook::function::<Function>(address) };
                match $begin {
                    // SAFETY: the program's own call, as it made it.
                    None => unsafe { real($($argument),*) },
                    Some(ticket) => {
                        // SAFETY: as above.
                        let result = unsafe { real($($argument),*) };
                        $end(&ticket, result);
                        result
                    }
                }
            }
            $($crate::arch::export_alias!($alias, $name);)*
        )*
        #[cfg(test)]
        pub(crate) const $list: &[(&str, &[&str])] =
            &[$((stringify!($name), &[$(stringify!($alias)),*])),*];
    };
}

pub(crate) use {hooks, hot_hooks};

/// The function at `address`.
///
/// # Safety
/// `F` is a function pointer type, and a function of that type lies at `address`.
#[inline(always)]
pub(crate) unsafe fn function<F: Copy>(address: usize) -> F {
    const { assert!(size_of::<F>() == size_of::<usize>()) };
    // SAFETY: as the caller promises.
    unsafe { transmute_copy(&address) }
}

//! The way of every hooked call: a stub of two instructions brings the number of its [`Row`] to the dispatcher
//! ([`crate::arch`]), which keeps the arguments, calls [`enter`], the real function, and [`leave`]. Where
//! nothing was announced it jumps to the real function instead.
//! The dispatcher is the only frame between a program and the real function, and says how to unwind
//! it: cancellation goes through there.
//!
//! The two calls that programs make most have hooks of their own, see [`hot_hooks`].

use core::cell::Cell;
use core::ffi::c_int;

use crate::call::{self, Announced, Arguments, Call, NOWHERE, Pending, Then, Words};
use crate::elf::gnu_hash;
use crate::names::errno_place;
use crate::{descriptor, durable, kernel};
use crate::{symbols, table};

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

/// One hooked function.
#[repr(C)]
pub(crate) struct Row {
    /// Of its name, which the loader's tables have.
    hash: u32,
    call: Call,
    result: Kind,
}

impl Row {
    pub(crate) const fn new(name: &str, call: Call, result: Kind) -> Self {
        let hash = gnu_hash(name.as_bytes());
        Self { hash, call, result }
    }
}

/// In the place of a row that does not exist.
static NO_ROW: Row = Row::new("", Call::NewStream, Kind::Word);

/// What the dispatcher keeps of a call, on the program's stack.
#[repr(C, align(16))]
pub(crate) struct Frame {
    /// Filled in by the dispatcher.
    words: Words,
    /// What the program is given. Put there by the dispatcher.
    result: Cell<usize>,
    row: &'static Row,
    pending: Pending,
}

/// What the dispatcher does next. Comes back in two registers.
#[repr(C)]
pub(crate) struct Way {
    /// Address of the real function; 0: there is none.
    real: usize,
    /// 0: nothing is to be done when it has returned, so it is jumped to, with no frame of ours below it.
    returns: usize,
}

/// Size of a [`Frame`].
pub(crate) const FRAME_BYTES: usize = size_of::<Frame>();
// Threads may have stacks of 16 KiB.
const _: () = assert!(FRAME_BYTES <= 416 && FRAME_BYTES.is_multiple_of(16));

/// Announces the call that will return to `caller`.
///
/// # Safety
/// `frame` holds the words, and is memory of its size that nobody else uses.
#[inline(never)]
pub(crate) unsafe extern "C" fn enter(number: usize, frame: *mut Frame, caller: usize) -> Way {
    let (row, real) = match (table::ROWS.get(number), table::REAL.get(number)) {
        (Some(row), Some(real)) => (row, real.address_of_hash(row.hash)),
        // The stubs know only rows that exist.
        _ => (&NO_ROW, 0),
    };
    let (mut call, mut address) = (row.call, real);
    if call.has_versions()
        && let Some(old) =
            symbols::own_name(row.hash).and_then(|name| symbols::old_version(name, caller))
    {
        address = old;
        call = call.of_old_version();
    }
    // SAFETY: as the caller promises.
    let returns = unsafe {
        (&raw mut (*frame).row).write(row);
        let pending = &raw mut (*frame).pending;
        (&raw mut (*pending).change).write(Announced::Nothing);
        (&raw mut (*pending).message).write(None);
        (&raw mut (*pending).then).write(Then::Nothing);
        (&raw mut (*pending).through).write(NOWHERE);
        if address != 0 {
            let words = &(*frame).words;
            call::before(call, Arguments(words), &mut (*frame).pending);
        }
        usize::from(!(*frame).pending.is_empty())
    };
    Way {
        real: address,
        returns,
    }
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
    if result >= 0 && durable::is_refused(&frame.pending) {
        frame.result.set(usize::MAX);
    }
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
        /// The rows by name, for their numbers.
        #[allow(non_camel_case_types, reason = "the names of the functions")]
        #[cfg_attr(test, allow(dead_code, reason = "there are no stubs"))]
        enum Number {
            $($name,)*
            End,
        }
        const ROW_COUNT: usize = Number::End as usize;
        // A stub has one byte for it.
        const _: () = assert!(ROW_COUNT <= 256);
        /// The real functions.
        pub(crate) static REAL: [$crate::symbols::Real; ROW_COUNT] =
            [const { $crate::symbols::Real::new() }; ROW_COUNT];
        /// The rows by number.
        pub(crate) static ROWS: [$crate::hook::Row; ROW_COUNT] = [$(
            $(#[$note])*
            $crate::hook::Row::new(stringify!($name), $call, $crate::hook::Kind::$result),
        )*];
        $(
            #[cfg(not(test))]
            const _: () = {
                $crate::arch::export_row!($name, Number::$name as u8);
                $($crate::arch::export_row!($alias, Number::$name as u8);)*
            };
        )*
        #[cfg(test)]
        pub(crate) const $list: &[(&str, &[&str], $crate::call::Call)] =
            &[$((stringify!($name), &[$(stringify!($alias)),*], $call)),*];
    };
}

/// What is kept of a call that is made often, on the program's stack.
#[repr(C, align(16))]
pub(crate) struct HotFrame<T> {
    /// The arguments, and from the fifth on the result, kept by the function in front.
    kept: [Cell<usize>; 6],
    /// What to tell afterwards.
    pub(crate) ticket: Option<T>,
}

impl<T> HotFrame<T> {
    /// The write has been announced and made. A descriptor may ask for more than that.
    #[inline(always)]
    pub(crate) fn look_through(&self) {
        let [descriptor, .., result, _] = &self.kept;
        if descriptor::writes_through(descriptor.get() as c_int)
            && result.get() as isize >= 0
            && durable::refuses_write(descriptor.get() as c_int)
        {
            result.set(usize::MAX);
        }
    }
}

/// Where `arch` has the ticket built.
const _: () = assert!(core::mem::offset_of!(HotFrame<u128>, ticket) == 48);

/// Stands in for a function that libc lacks.
#[cold]
pub(crate) extern "C" fn absent() -> isize {
    -1
}

/// The calls that programs make most: `begin` gives a ticket if there is anything to announce, `end`
/// takes it back with the result. Of a descriptor that is no file they hear nothing at all.
macro_rules! hot_hooks {
    ($list:ident: $(
        $name:ident $(| $alias:ident)*: $ticket:ty = $begin:expr, $end:path;
    )*) => {
        $(
            #[cfg(not(test))]
            const _: () = {
                use $crate::hook::HotFrame;
                static REAL: $crate::symbols::Real = $crate::symbols::Real::new();
                const NAME: &str = concat!(stringify!($name), "\0");

                #[allow(improper_ctypes_definitions, reason = "both sides are ours")]
                extern "C" fn enter(a: usize, b: usize, c: usize, d: usize) -> Option<$ticket> {
                    let begin: fn([usize; 4]) -> Option<$ticket> = $begin;
                    begin([a, b, c, d])
                }

                #[cold]
                extern "C" fn resolve() -> usize {
                    match REAL.address(NAME.as_ptr().cast()) {
                        0 => $crate::hook::absent as *const () as usize,
                        address => address,
                    }
                }

                extern "C" fn leave(frame: &HotFrame<$ticket>, result: isize) {
                    if let Some(ticket) = &frame.ticket {
                        $end(ticket, result);
                        frame.look_through();
                    }
                }

                const BYTES: usize = size_of::<HotFrame<$ticket>>();
                $crate::arch::export_hot!($name, REAL, resolve, enter, leave, BYTES);
                $($crate::arch::export_alias!($alias, $name);)*
            };
        )*
        #[cfg(test)]
        pub(crate) const $list: &[(&str, &[&str])] =
            &[$((stringify!($name), &[$(stringify!($alias)),*])),*];
    };
}

pub(crate) use {hooks, hot_hooks};

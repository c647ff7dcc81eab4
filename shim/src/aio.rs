//! POSIX asynchronous writes: libc makes them in a thread of its own, past every hook. A program
//! learns of their end by `aio_return`, or by `aio_error` with anything but "in progress", or by having
//! waited for a whole list.

use core::ffi::{c_int, c_void};

use crate::call::{Pending, Then};
use crate::{content, descriptor, under_way};

/// `struct aiocb` of glibc, as far as it is needed.
#[repr(C)]
struct ControlBlock {
    descriptor: c_int,
    operation: c_int,
    priority: c_int,
    data: *const c_void,
    bytes: usize,
    event: [u64; 8],
    private: [u64; 4],
    offset: i64,
}

const _: () = assert!(core::mem::offset_of!(ControlBlock, offset) == 128);

/// `aio_write`.
///
/// # Safety
/// `block` is what `aio_write` asks for: libc reads it without looking.
pub(crate) unsafe fn begin(block: *const c_void) {
    // SAFETY: as the caller promises.
    let Some(asked) = (unsafe { block.cast::<ControlBlock>().as_ref() }) else {
        return;
    };
    if let Some((page, known)) = descriptor::watched(asked.descriptor) {
        let change = content::change_at_offset(&known, asked.offset, asked.bytes as u64);
        under_way::begin(block as usize, page, &known, change);
    }
}

/// The program learns that `block` has ended.
///
/// # Safety
/// As [`begin`].
pub(crate) unsafe fn end(block: *const c_void) {
    if !under_way::end(block as usize) && under_way::is_any_forgotten() {
        // SAFETY: as the caller promises.
        unsafe { block.cast::<ControlBlock>().as_ref() }
            .into_iter()
            .for_each(|asked| under_way::end_unknown(asked.descriptor));
    }
}

/// `aio_fsync`.
///
/// # Safety
/// As [`begin`].
pub(crate) unsafe fn sync(block: *const c_void, pending: &mut Pending) {
    // SAFETY: as the caller promises.
    if let Some(asked) = unsafe { block.cast::<ControlBlock>().as_ref() } {
        content::sync(asked.descriptor, pending);
    }
}

/// The list of `lio_listio`, of which any may be null.
#[derive(Clone, Copy)]
pub(crate) struct List {
    blocks: *const *const ControlBlock,
    count: c_int,
}

/// `lio_listio`.
///
/// # Safety
/// The arguments are what `lio_listio` asks for.
pub(crate) unsafe fn begin_many(
    mode: c_int,
    blocks: *const *const c_void,
    count: c_int,
    pending: &mut Pending,
) {
    const LIO_WAIT: c_int = 0;
    let list = List {
        blocks: blocks.cast(),
        count,
    };
    // SAFETY: as the caller promises.
    unsafe { list.each_write(|block| begin(block)) };
    if mode == LIO_WAIT {
        pending.then = Then::Listed(list);
    }
}

impl List {
    /// # Safety
    /// The list is what `lio_listio` asks for.
    unsafe fn each_write(&self, act: unsafe fn(*const c_void)) {
        const LIO_WRITE: c_int = 1;
        for at in 0..self.count.max(0) as usize {
            // SAFETY: as the caller promises.
            unsafe {
                let block = *self.blocks.wrapping_add(at);
                if block
                    .as_ref()
                    .is_some_and(|asked| asked.operation == LIO_WRITE)
                {
                    act(block.cast());
                }
            }
        }
    }

    /// All have ended.
    ///
    /// # Safety
    /// As `each_write`.
    pub(crate) unsafe fn end(&self) {
        // SAFETY: as the caller promises.
        unsafe { self.each_write(end) };
    }
}

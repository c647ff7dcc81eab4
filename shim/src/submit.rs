//! Asynchronous calls of the kernel, `io_submit(2)`: databases and virtual machines write so. A program
//! learns of their end by `io_getevents`.
//!
//! The kernel answers `EFAULT` for bad addresses, so it is the kernel that reads the arguments for us.

use core::ffi::{c_int, c_void};

use crate::call::{Pending, Then, UNKNOWN};
use crate::{content, descriptor, kernel, policy, process, under_way};

/// `struct iocb`, as far as it is needed, in words of 8 bytes: tag, key and flags, what is to be done
/// to which file, memory, length, offset.
const BLOCK_WORDS: usize = 6;
const WORD: usize = size_of::<usize>();

/// `struct io_event`.
#[repr(C)]
struct Event {
    data: u64,
    block: u64,
    result: i64,
    result2: i64,
}

/// What a control block asks for.
struct Asked {
    operation: u16,
    descriptor: c_int,
    bytes: u64,
    offset: i64,
}

/// Addresses of control blocks.
#[derive(Clone, Copy)]
pub(crate) struct Batch {
    blocks: usize,
    count: usize,
}

/// `io_submit`.
pub(crate) fn begin(blocks: usize, count: usize, pending: &mut Pending) {
    if policy::active().is_none() || !process::may_make_calls() {
        return;
    }
    let batch = Batch { blocks, count };
    batch.each_from(0, begin_one);
    pending.then = Then::Submitted(batch);
}

const PWRITE: u16 = 1;
const PWRITEV: u16 = 8;

fn begin_one(block: usize) {
    let Some(asked) = Asked::read(block) else {
        return;
    };
    let length = match asked.operation {
        PWRITE => asked.bytes,
        // That is the number of pieces.
        PWRITEV => UNKNOWN,
        _ => return,
    };
    if let Some((page, known)) = descriptor::watched(asked.descriptor) {
        let change = content::change_at_offset(&known, asked.offset, length);
        under_way::begin(block, page, &known, change);
    }
}

impl Batch {
    /// Does something with each control block from the one at `first`.
    fn each_from(&self, first: usize, act: fn(usize)) {
        let mut word = [0u8; WORD];
        for at in first..self.count {
            let place = self.blocks.wrapping_add(at.wrapping_mul(WORD));
            if !kernel::copy_memory(place, &mut word) {
                return;
            }
            act(usize::from_ne_bytes(word));
        }
    }

    /// The kernel took `taken` of them; negative: none.
    pub(crate) fn end_refused(&self, taken: isize) {
        let end = |block| _ = under_way::end(block);
        self.each_from(usize::try_from(taken).unwrap_or(0), end);
    }
}

impl Asked {
    fn read(block: usize) -> Option<Self> {
        let mut bytes = [0u8; BLOCK_WORDS * WORD];
        if !kernel::copy_memory(block, &mut bytes) {
            return None;
        }
        // SAFETY: integers of any value, as many bytes.
        let [_, _, what, _, bytes, offset] =
            unsafe { core::mem::transmute::<[u8; BLOCK_WORDS * WORD], [u64; BLOCK_WORDS]>(bytes) };
        Some(Self {
            operation: what as u16,
            descriptor: (what >> 32) as c_int,
            bytes,
            offset: offset as i64,
        })
    }
}

/// `count` calls have ended.
pub(crate) fn end(events: *const c_void, count: isize) {
    for at in 0..usize::try_from(count).unwrap_or(0) {
        // SAFETY: the call has just filled so many.
        let block = unsafe { (*events.cast::<Event>().wrapping_add(at)).block } as usize;
        if !under_way::end(block) && under_way::is_any_forgotten() && process::may_make_calls() {
            end_forgotten(block);
        }
    }
}

fn end_forgotten(block: usize) {
    let is_write = |asked: &Asked| matches!(asked.operation, PWRITE | PWRITEV);
    if let Some(asked) = Asked::read(block).filter(is_write) {
        under_way::end_unknown(asked.descriptor);
    }
}

//! stdio: libc never calls its own file functions through the procedure linkage table, so `fwrite` and
//! a hundred others pass every hook by name. All of them end in three slots of libc's tables of
//! stream operations, and those are what the shim stands in front of.
//!
//! The tables lie in memory that the loader has made read-only (`PT_GNU_RELRO`), which is made
//! writable for a moment. Only whole words that are exactly the known functions
//! are exchanged. Where anything is not as expected, nothing is touched, and the coordinator is told
//! that this process's stdio is unseen.

use core::ffi::c_void;
use core::sync::atomic::{
    AtomicU32, AtomicUsize,
    Ordering::{AcqRel, Acquire, Relaxed, Release},
};

use crate::arch::{hot_function, passing_function};
use crate::content::{self, Plain};
use crate::descriptor;
use crate::elf::{DEFAULT, Tables};
use crate::hook::{HotFrame, absent};
use crate::kernel::{self, PROT_READ, PROT_WRITE};
use crate::names::descriptor_of;
use crate::symbols::{self, Object};

/// Places in a table of stream operations (`struct _IO_jump_t`, glibc `libio/libioP.h`).
const WRITE_SLOT: usize = 15;
const SEEK_SLOT: usize = 16;
const CLOSE_SLOT: usize = 17;
const PAGE: usize = 4096;
const WORD: usize = size_of::<usize>();

static REAL_WRITE: AtomicUsize = AtomicUsize::new(0);
static REAL_SEEK: AtomicUsize = AtomicUsize::new(0);
static REAL_CLOSE: AtomicUsize = AtomicUsize::new(0);

static STATE: AtomicU32 = AtomicU32::new(UNTRIED);
const UNTRIED: u32 = 0;
const TRYING: u32 = 1;
const SEEN: u32 = 2;
const UNSEEN: u32 = 3;

/// Whether stdio is hooked in this process.
pub(crate) fn is_seen() -> bool {
    STATE.load(Acquire) == SEEN
}

/// Puts our functions into libc's tables, once.
pub(crate) fn take_over() {
    if STATE
        .compare_exchange(UNTRIED, TRYING, AcqRel, Acquire)
        .is_ok()
    {
        let seen = try_take_over().is_some();
        STATE.store(if seen { SEEN } else { UNSEEN }, Release);
    }
}

fn try_take_over() -> Option<()> {
    let (libc, jumps) = symbols::find(c"_IO_file_jumps")?;
    let tables = Tables::of(libc)?;
    let write = tables.look_up(c"_IO_file_write", DEFAULT)?;
    let seek = tables.look_up(c"_IO_file_seek", DEFAULT)?;
    let close = tables.look_up(c"_IO_file_close", DEFAULT)?;
    let (start, end) = read_only_after_start(libc)?;
    let table_end = jumps.checked_add(WORD.checked_mul(CLOSE_SLOT.checked_add(1)?)?)?;
    if jumps < start || table_end > end || jumps % WORD != 0 {
        return None;
    }
    let slot = |at: usize| (jumps as *const usize).wrapping_add(at);
    // SAFETY: within libc's own mapped memory, as was just seen.
    let as_known = unsafe {
        *slot(WRITE_SLOT) == write && *slot(SEEK_SLOT) == seek && *slot(CLOSE_SLOT) == close
    };
    if !as_known {
        return None;
    }
    // Before the first of ours can be called.
    REAL_WRITE.store(write, Relaxed);
    REAL_SEEK.store(seek, Relaxed);
    REAL_CLOSE.store(close, Release);
    let exchanges = [
        (write, on_write as *const () as usize),
        (seek, on_seek as *const () as usize),
        (close, on_close as *const () as usize),
    ];
    exchange(start, end, &exchanges).then_some(())
}

/// Exchanges the known functions wherever they stand between two pages.
fn exchange(start: usize, end: usize, exchanges: &[(usize, usize); 3]) -> bool {
    let bytes = end.wrapping_sub(start);
    // All at once, as the loader did: then the kernel has no mappings to split.
    // SAFETY: whole pages of libc's data that nobody else changes: the loader is done with them.
    if !unsafe { kernel::protect(start, bytes, PROT_READ | PROT_WRITE) } {
        return false;
    }
    for place in (start..end).step_by(WORD) {
        // SAFETY: as above, and writable now; a word is exchanged at once, under running threads.
        let word = unsafe { AtomicUsize::from_ptr(place as *mut usize) };
        let known = word.load(Relaxed);
        if let Some((_, ours)) = exchanges.iter().find(|(real, _)| *real == known) {
            word.store(*ours, Release);
        }
    }
    // SAFETY: as it was.
    unsafe { kernel::protect(start, bytes, PROT_READ) }
}

/// `Elf64_Ehdr`, as far as it is needed.
#[repr(C)]
struct ElfHeader {
    magic: [u8; 4],
    rest: [u8; 28],
    program_headers: usize,
    section_headers: usize,
    flags: u32,
    size: u16,
    program_header_size: u16,
    program_header_count: u16,
}

/// `Elf64_Phdr`.
#[repr(C)]
struct ProgramHeader {
    kind: u32,
    flags: u32,
    offset: usize,
    address: usize,
    physical: usize,
    file_size: usize,
    size: usize,
    alignment: usize,
}

/// The whole pages that the loader made read-only when libc had been relocated.
fn read_only_after_start(libc: &Object) -> Option<(usize, usize)> {
    const PT_GNU_RELRO: u32 = 0x6474_e552;
    // SAFETY: a shared object is mapped from its first byte, which is its header.
    let header = unsafe { &*(libc.base as *const ElfHeader) };
    if header.magic != *b"\x7fELF"
        || usize::from(header.program_header_size) != size_of::<ProgramHeader>()
    {
        return None;
    }
    let first = libc.base.wrapping_add(header.program_headers) as *const ProgramHeader;
    let relro = (0..usize::from(header.program_header_count))
        // SAFETY: the loader itself read them there.
        .map(|at| unsafe { &*first.wrapping_add(at) })
        .find(|header| header.kind == PT_GNU_RELRO)?;
    let start = libc.base.wrapping_add(relro.address);
    let end = start.wrapping_add(relro.size);
    Some((start & !(PAGE - 1), end & !(PAGE - 1)))
}

/// `_IO_file_write(stream, data, bytes)`.
#[allow(improper_ctypes_definitions, reason = "both sides are ours")]
unsafe extern "C" fn enter_write(
    stream: *const c_void,
    _data: *const c_void,
    bytes: usize,
) -> Option<Plain> {
    // SAFETY: libc calls this slot with a valid stream.
    content::begin_plain(unsafe { descriptor_of(stream) }, bytes as u64)
}

extern "C" fn leave_write(frame: &HotFrame<Plain>, result: isize) {
    if let Some(ticket) = &frame.ticket {
        ticket.end(result);
    }
}

const WRITE_BYTES: usize = size_of::<HotFrame<Plain>>();
hot_function!(
    on_write,
    REAL_WRITE,
    absent,
    enter_write,
    leave_write,
    WRITE_BYTES
);

/// `_IO_file_seek(stream, offset, whence)`.
unsafe extern "C" fn before_seek(stream: *const c_void) -> usize {
    // SAFETY: libc calls this slot with a valid stream.
    descriptor::settle(unsafe { descriptor_of(stream) });
    REAL_SEEK.load(Relaxed)
}
passing_function!(on_seek, before_seek);

/// `_IO_file_close(stream)`.
unsafe extern "C" fn before_close(stream: *const c_void) -> usize {
    // SAFETY: libc calls this slot with a valid stream.
    descriptor::release(unsafe { descriptor_of(stream) });
    REAL_CLOSE.load(Relaxed)
}
passing_function!(on_close, before_close);

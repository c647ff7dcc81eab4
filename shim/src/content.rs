//! Calls that change what is in a file, or its attributes.

use core::ffi::{c_int, c_ulong, c_void};

use everwrite_protocol::local::segment::operation;

use crate::call::{Announced, Pending, Then, UNKNOWN};
use crate::descriptor::{self, Known};
use crate::place::{self, At};
use crate::range::{self, Change};
use crate::{names, policy, process, run};

/// `ioctl` requests that change files, see `ioctl_ficlone(2)`, `ioctl_xfs_…(2)` and `ext4.h`.
const FICLONE: c_ulong = 0x4004_9409;
const FICLONERANGE: c_ulong = 0x4020_940d;
const FS_IOC_SETFLAGS: c_ulong = 0x4008_6602;
const FS_IOC_FSSETXATTR: c_ulong = 0x401c_5820;
const EXT4_IOC_MOVE_EXT: c_ulong = 0xc028_660f;
const EXT4_IOC_SWAP_BOOT: c_ulong = 0x6611;
const FS_IOC_UNRESVSP: c_ulong = 0x4030_5829;
const FS_IOC_UNRESVSP64: c_ulong = 0x4030_582b;
const FS_IOC_ZERO_RANGE: c_ulong = 0x4030_5839;
const XFS_IOC_SWAPEXT: c_ulong = 0xc0c0_586d;
const XFS_IOC_EXCHANGE_RANGE: c_ulong = 0x4028_5881;

/// `struct file_clone_range`.
#[repr(C)]
struct CloneRange {
    source: i64,
    source_offset: u64,
    length: u64,
    offset: u64,
}

#[inline(never)]
fn announced(descriptor: c_int, change: Change) -> Announced {
    match descriptor::watched(descriptor) {
        Some((page, known)) => Announced::Range(range::announce(page, known.file, change)),
        None => Announced::Nothing,
    }
}

/// An announced write without an offset of its own.
pub(crate) enum Plain {
    Append(range::Ticket),
    Run(run::Ticket),
}

impl Plain {
    #[inline(never)]
    pub(crate) fn end(&self, result: isize) {
        match self {
            Self::Append(ticket) => end_write(ticket, result),
            Self::Run(ticket) => ticket.end(result),
        }
    }
}

/// Announces a write at the file offset, or at the end.
#[inline(never)]
pub(crate) fn begin_plain(descriptor: c_int, length: u64) -> Option<Plain> {
    let (page, known) = descriptor::watched(descriptor)?;
    Some(if known.appends() {
        let change = Change::new(operation::APPEND, 0, length);
        Plain::Append(range::announce(page, known.file, change))
    } else {
        Plain::Run(run::begin(page, known, length))
    })
}

#[inline(never)]
pub(crate) fn write(descriptor: c_int, length: u64, pending: &mut Pending) {
    pending.change = match begin_plain(descriptor, length) {
        Some(Plain::Append(ticket)) => Announced::Write(ticket),
        Some(Plain::Run(ticket)) => Announced::Run(ticket),
        None => Announced::Nothing,
    };
    note_through(descriptor, pending);
}

/// The descriptor may have been opened so that what is written to it is durable at once.
fn note_through(descriptor: c_int, pending: &mut Pending) {
    if descriptor::writes_through(descriptor) {
        pending.through = descriptor;
    }
}

/// Announces a write at an offset. A file opened for appending grows at its end all the same.
#[inline(never)]
pub(crate) fn begin_at(descriptor: c_int, offset: i64, length: u64) -> Option<range::Ticket> {
    let (page, known) = descriptor::watched(descriptor)?;
    Some(range::announce(
        page,
        known.file,
        change_at_offset(&known, offset, length),
    ))
}

/// What a write at an offset changes.
pub(crate) fn change_at_offset(known: &Known, offset: i64, length: u64) -> Change {
    match u64::try_from(offset) {
        _ if known.appends() => Change::new(operation::APPEND, 0, length),
        Ok(offset) => Change::write(offset, length),
        // The call will fail.
        Err(_) => Change::WHOLE,
    }
}

/// A write returned with how much it wrote.
#[inline(never)]
pub(crate) fn end_write(ticket: &range::Ticket, result: isize) {
    match u64::try_from(result) {
        Ok(wrote) => ticket.wrote(wrote),
        // Some of it may have been written before the error.
        Err(_) => ticket.done(),
    }
}

pub(crate) fn write_at(descriptor: c_int, offset: i64, length: u64, pending: &mut Pending) {
    if let Some(ticket) = begin_at(descriptor, offset, length) {
        pending.change = Announced::Write(ticket);
        note_through(descriptor, pending);
    }
}

/// `pwritev2`.
pub(crate) fn write_at_flags(descriptor: c_int, offset: i64, flags: c_int, pending: &mut Pending) {
    const RWF_DSYNC: c_int = 0x02;
    const RWF_SYNC: c_int = 0x04;
    const RWF_APPEND: c_int = 0x10;
    if flags & RWF_APPEND != 0 {
        change(descriptor, Change::new(operation::APPEND, 0, 0), pending);
    } else if offset == -1 {
        write(descriptor, UNKNOWN, pending);
    } else {
        write_at(descriptor, offset, UNKNOWN, pending);
    }
    if flags & (RWF_DSYNC | RWF_SYNC) != 0 {
        pending.through = descriptor;
    }
}

pub(crate) fn write_at_pointer(descriptor: c_int, offset: *const i64, pending: &mut Pending) {
    if offset.is_null() {
        write(descriptor, UNKNOWN, pending);
    } else {
        // The pointer may be bad, and is read only when the kernel has found it good.
        change(descriptor, Change::WHOLE, pending);
        pending.then = Then::WrittenTo(offset);
        note_through(descriptor, pending);
    }
}

#[inline(never)]
pub(crate) fn change(descriptor: c_int, change: Change, pending: &mut Pending) {
    pending.change = announced(descriptor, change);
}

/// Asks for durability of what was written so far.
pub(crate) fn sync(descriptor: c_int, pending: &mut Pending) {
    if let Some((page, known)) = descriptor::watched(descriptor) {
        run::end_all(&known);
        pending.change = Announced::Range(range::announce(page, known.file, Change::SYNC));
    }
}

pub(crate) fn attributes_at(at: At, flags: c_int, pending: &mut Pending) {
    // Without a path they are those of the descriptor itself.
    if at.path.is_null() {
        change(at.directory, Change::ATTRIBUTES, pending);
    } else {
        change_at(at, flags, Change::ATTRIBUTES, pending);
    }
}

pub(crate) fn change_at(at: At, flags: c_int, change: Change, pending: &mut Pending) {
    let Some(page) = policy::active() else { return };
    if process::is_filtered() {
        return names::anywhere(page, pending);
    }
    if let Some(file) = place::file(page, at, flags) {
        pending.change = Announced::Range(range::announce(page, file, change));
    }
}

/// Without a mode, blocks are had beyond or inside the file: what reads as zero goes on doing so, but
/// the size may grow. Collapsing and inserting move all that lies behind.
pub(crate) fn allocate(
    descriptor: c_int,
    mode: c_int,
    offset: i64,
    length: i64,
    pending: &mut Pending,
) {
    const FALLOC_FL_COLLAPSE_RANGE: c_int = 0x08;
    const FALLOC_FL_INSERT_RANGE: c_int = 0x20;
    let moves = mode & (FALLOC_FL_COLLAPSE_RANGE | FALLOC_FL_INSERT_RANGE) != 0;
    let length = if moves {
        UNKNOWN
    } else {
        u64::try_from(length).unwrap_or(0)
    };
    let offset = u64::try_from(offset).unwrap_or(0);
    change(descriptor, Change::write(offset, length), pending);
}

pub(crate) fn control(
    descriptor: c_int,
    request: c_ulong,
    argument: *const c_void,
    pending: &mut Pending,
) {
    match request {
        FICLONE
        | FICLONERANGE
        | EXT4_IOC_MOVE_EXT
        | EXT4_IOC_SWAP_BOOT
        | FS_IOC_UNRESVSP
        | FS_IOC_UNRESVSP64
        | FS_IOC_ZERO_RANGE
        | XFS_IOC_SWAPEXT
        | XFS_IOC_EXCHANGE_RANGE => {
            change(descriptor, Change::WHOLE, pending);
        }
        FS_IOC_SETFLAGS | FS_IOC_FSSETXATTR => change(descriptor, Change::ATTRIBUTES, pending),
        _ => {}
    }
    if request == FICLONERANGE {
        pending.then = Then::Cloned(argument);
    }
}

pub(crate) fn descriptor_control(descriptor: c_int, command: c_int, pending: &mut Pending) {
    const F_DUPFD: c_int = 0;
    const F_SETFL: c_int = 4;
    const F_DUPFD_CLOEXEC: c_int = 1030;
    match command {
        F_DUPFD | F_DUPFD_CLOEXEC => {
            descriptor::settle(descriptor);
            pending.then = Then::Descriptor { inside: false };
        }
        F_SETFL => descriptor::replace(descriptor, pending),
        _ => {}
    }
}

/// What the arguments say, now that the kernel has found them good.
pub(crate) fn after(pending: &Pending, result: isize) {
    let Announced::Range(ticket) = &pending.change else {
        return;
    };
    match (pending.then, u64::try_from(result)) {
        (_, Err(_)) => ticket.done(),
        (Then::WrittenTo(offset), Ok(wrote)) => {
            // SAFETY: the call succeeded, so it has read and written the word.
            let end = unsafe { offset.read_unaligned() } as u64;
            ticket.done_as(Change::write(end.saturating_sub(wrote), wrote));
        }
        (Then::Cloned(argument), Ok(_)) => {
            // SAFETY: the call succeeded, so it has read the structure.
            let range = unsafe { argument.cast::<CloneRange>().read_unaligned() };
            let length = if range.length == 0 {
                UNKNOWN
            } else {
                range.length
            };
            ticket.done_as(Change::write(range.offset, length));
        }
        _ => ticket.done(),
    }
}

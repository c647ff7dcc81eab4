//! The descriptor table: what each descriptor of this process stands for. A cache, and the place
//! where events are lost if it is wrong; so every call that opens, closes or duplicates makes the
//! entry unknown again, and what is unknown is looked up.
//!
//! ```text
//! UNKNOWN --first use--> BUSY --looked up--> FILE, OTHER, OUTSIDE --open, close, dup--> UNKNOWN
//!     \--opened--> INSIDE --/ \--the same meanwhile--> STALE --looked up--> UNKNOWN
//! ```
//!
//! Only the owner of the memory fills entries: a `vfork` child has descriptors of its own, but runs
//! on its parent's table. It may make entries unknown.

use core::ffi::c_int;
use core::ptr;
use core::sync::atomic::{
    AtomicPtr, AtomicU32, AtomicU64,
    Ordering::{AcqRel, Acquire, Relaxed, Release},
};

use everwrite_protocol::local::{Inode, PolicyPage};

use crate::call::{Pending, Then};
use crate::kernel::{
    self, AT_EMPTY_PATH, MAP_ANONYMOUS, MAP_NORESERVE, MAP_PRIVATE, O_APPEND, PROT_READ, PROT_WRITE,
};
use crate::range::File;
use crate::run::{self, Run};
use crate::{outside, policy, process};

/// Entries that are part of the library.
pub(crate) const LOWER: usize = 1024;
/// Entries in the part that is made when a higher descriptor is first used. Descriptors beyond are
/// looked up at each use.
const UPPER: usize = 64 * 1024 - LOWER;

const UNKNOWN: u32 = 0;
const BUSY: u32 = 1;
const STALE: u32 = 2;
/// A regular file.
const FILE: u32 = 3;
/// Anything else: pipes, sockets, terminals, devices, directories.
pub(crate) const OTHER: u32 = 4;
/// A regular file that is not protected, as long as the generation in its entry holds.
const OUTSIDE: u32 = 5;

/// Not looked up, but opened by a name that is not outside: then that need not be asked. Nothing else
/// may be concluded, as a `vfork` child may have said so of a descriptor of its own.
const INSIDE: u32 = 6;

/// What a descriptor stands for. All-zero is unknown.
#[repr(C, align(64))]
pub(crate) struct Entry {
    state: AtomicU32,
    flags: AtomicU32,
    /// Of a file; what is outside has its generation here.
    device: AtomicU64,
    inode: AtomicU64,
    birth: AtomicU64,
    /// How often the entry was made unknown: tells uses of one number apart.
    generation: AtomicU32,
    /// The run of plain writes that goes on, if any.
    pub(crate) run: Run,
}

// `arch` knows both.
const _: () = assert!(size_of::<Entry>() == 128 && core::mem::offset_of!(Entry, state) == 0);

// SAFETY: all-zero is a valid entry: it is made of integers and pointers.
pub(crate) static LOWER_TABLE: [Entry; LOWER] = unsafe { core::mem::zeroed() };
static UPPER_TABLE: AtomicPtr<Entry> = AtomicPtr::new(ptr::null_mut());
/// One past the highest descriptor that an entry was filled for.
static KNOWN_END: AtomicU32 = AtomicU32::new(0);
/// Not 0: threads have descriptor tables of their own, nothing may be remembered.
static OFF: AtomicU32 = AtomicU32::new(0);

/// An open regular file on a watched device.
#[derive(Clone, Copy)]
pub(crate) struct Known {
    pub(crate) descriptor: c_int,
    pub(crate) file: File,
    flags: c_int,
    /// Its entry; `None` when it may not be remembered.
    pub(crate) entry: Option<&'static Entry>,
}

impl Known {
    pub(crate) fn appends(&self) -> bool {
        self.flags & O_APPEND != 0
    }

    pub(crate) fn is_readable_and_writable(&self) -> bool {
        const O_ACCMODE: c_int = 3;
        const O_RDWR: c_int = 2;
        self.flags & O_ACCMODE == O_RDWR
    }

    /// Tells the uses of this descriptor's number apart; never 0.
    pub(crate) fn chain(&self) -> u64 {
        let generation = self.entry.map_or(0, |entry| entry.generation.load(Relaxed));
        u64::from(generation) << 32 | u64::from(self.descriptor as u32).wrapping_add(1)
    }
}

/// What `descriptor` stands for, if that is a file that may be protected.
#[inline(never)]
pub(crate) fn watched(descriptor: c_int) -> Option<(&'static PolicyPage, Known)> {
    let Some(entry) = entry(descriptor) else {
        return look_up(descriptor, None);
    };
    match entry.state.load(Acquire) {
        FILE => {
            let page = policy::active_at_once()?;
            let known = recall(descriptor, entry);
            policy::watches(page, known.file.inode.device).then_some((page, known))
        }
        OTHER => None,
        OUTSIDE => {
            let page = policy::active()?;
            if outside::generation(page) == Some(entry.device.load(Relaxed)) {
                return None;
            }
            let _ = entry
                .state
                .compare_exchange(OUTSIDE, UNKNOWN, AcqRel, Relaxed);
            look_up(descriptor, Some(entry))
        }
        _ => look_up(descriptor, Some(entry)),
    }
}

#[inline(always)]
fn entry(descriptor: c_int) -> Option<&'static Entry> {
    match LOWER_TABLE.get(descriptor as u32 as usize) {
        Some(entry) => Some(entry),
        None => upper_entry(descriptor),
    }
}

#[cold]
fn upper_entry(descriptor: c_int) -> Option<&'static Entry> {
    let at = usize::try_from(descriptor)
        .ok()?
        .checked_sub(LOWER)
        .filter(|at| *at < UPPER)?;
    let table = UPPER_TABLE.load(Acquire);
    // SAFETY: null, or a mapping of `UPPER` entries that is never taken away.
    (!table.is_null()).then(|| unsafe { &*table.wrapping_add(at) })
}

/// Whether writes to a descriptor are durable when they return (`O_DSYNC`, and `O_SYNC`, which has it), as far as
/// it is known.
#[inline(always)]
pub(crate) fn writes_through(descriptor: c_int) -> bool {
    const O_DSYNC: u32 = 0o10000;
    entry(descriptor).is_some_and(|entry| {
        entry.flags.load(Relaxed) & O_DSYNC != 0 && entry.state.load(Relaxed) == FILE
    })
}

/// Makes room for the entry of a high descriptor; what does not succeed is tried again.
#[cold]
fn make_upper_entry(descriptor: c_int) -> Option<&'static Entry> {
    if descriptor < LOWER as c_int || !UPPER_TABLE.load(Relaxed).is_null() {
        return None;
    }
    let bytes = UPPER.saturating_mul(size_of::<Entry>());
    let flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
    let address = kernel::map(bytes, PROT_READ | PROT_WRITE, flags, -1).ok()?;
    let table = address as *mut Entry;
    if UPPER_TABLE
        .compare_exchange(ptr::null_mut(), table, AcqRel, Acquire)
        .is_err()
    {
        // SAFETY: mapped above; nobody else has seen the address.
        unsafe { kernel::unmap(address, bytes) };
    }
    upper_entry(descriptor)
}

#[inline(always)]
fn recall(descriptor: c_int, entry: &'static Entry) -> Known {
    let inode = Inode {
        device: entry.device.load(Relaxed),
        inode: entry.inode.load(Relaxed),
    };
    Known {
        descriptor,
        file: File {
            inode,
            birth: entry.birth.load(Relaxed),
        },
        flags: entry.flags.load(Relaxed) as c_int,
        entry: Some(entry),
    }
}

#[cold]
#[inline(never)]
fn look_up(
    descriptor: c_int,
    entry: Option<&'static Entry>,
) -> Option<(&'static PolicyPage, Known)> {
    let page = policy::active().filter(|_| !process::is_filtered())?;
    let entry = entry.or_else(|| make_upper_entry(descriptor));
    let before = entry.map_or(UNKNOWN, |entry| entry.state.load(Acquire));
    // Taken before the kernel is asked, so that a close in between is noticed.
    let filling = entry.and_then(|entry| Filling::begin(entry, before));
    let found = ask_kernel(page, descriptor, before == INSIDE);
    let entry = filling.and_then(|filling| filling.end(descriptor, &found));
    match found {
        Found::Watched(known) => Some((page, Known { entry, ..known })),
        _ => None,
    }
}

/// What the kernel says of a descriptor.
enum Found {
    Watched(Known),
    /// A regular file elsewhere, under this generation.
    Outside(u64),
    Other,
    /// Not open, or not to be asked, or not to be remembered.
    Unknown,
}

fn ask_kernel(page: &PolicyPage, descriptor: c_int, inside: bool) -> Found {
    let generation = outside::generation(page);
    let elsewhere = generation.map_or(Found::Unknown, Found::Outside);
    // Before anything else by the one call that every filter allows.
    if !process::is_free() {
        match kernel::descriptor_status(descriptor) {
            Err(_) => return Found::Unknown,
            Ok(status) if !status.is_regular() => return Found::Other,
            Ok(status) if !policy::watches(page, status.device) => return elsewhere,
            Ok(_) if !process::may_make_calls() => return Found::Unknown,
            Ok(_) => {}
        }
    }
    let Ok(status) = kernel::full_status(descriptor, c"".as_ptr(), AT_EMPTY_PATH) else {
        return Found::Unknown;
    };
    if !status.is_regular() {
        return Found::Other;
    }
    if !policy::watches(page, status.device) || outside::is_file(page, descriptor, &status, inside)
    {
        return elsewhere;
    }
    let flags = kernel::open_flags(descriptor).unwrap_or(0);
    Found::Watched(Known {
        descriptor,
        file: File::of(&status),
        flags,
        entry: None,
    })
}

/// The right to fill an entry, of one thread at a time, never waited for.
struct Filling(&'static Entry);

impl Filling {
    fn begin(entry: &'static Entry, before: u32) -> Option<Self> {
        let may = OFF.load(Relaxed) == 0 && matches!(before, UNKNOWN | INSIDE);
        let taken = may
            && entry
                .state
                .compare_exchange(before, BUSY, AcqRel, Relaxed)
                .is_ok();
        taken.then_some(Self(entry))
    }

    /// The entry, if it now says what was found to be a file.
    fn end(self, descriptor: c_int, found: &Found) -> Option<&'static Entry> {
        let state = match found {
            Found::Watched(known) => {
                self.fill(known);
                FILE
            }
            Found::Outside(generation) => {
                self.0.device.store(*generation, Relaxed);
                OUTSIDE
            }
            Found::Other => OTHER,
            Found::Unknown => UNKNOWN,
        };
        let ours = state == UNKNOWN || process::owns_its_memory();
        let state = if ours { state } else { UNKNOWN };
        KNOWN_END.fetch_max((descriptor as u32).wrapping_add(1), Relaxed);
        let kept = self
            .0
            .state
            .compare_exchange(BUSY, state, Release, Relaxed)
            .is_ok();
        if !kept {
            self.0.state.store(UNKNOWN, Release);
        }
        (kept && state == FILE).then_some(self.0)
    }

    fn fill(&self, known: &Known) {
        self.0.device.store(known.file.inode.device, Relaxed);
        self.0.inode.store(known.file.inode.inode, Relaxed);
        self.0.birth.store(known.file.birth, Relaxed);
        self.0.flags.store(known.flags as u32, Relaxed);
    }
}

/// Makes an entry unknown. The descriptor is closed, or stands for something new, by now or soon.
#[inline(never)]
pub(crate) fn forget(descriptor: c_int) {
    if let Some(entry) = entry(descriptor)
        && entry.state.load(Relaxed) != UNKNOWN
    {
        forget_entry(descriptor, entry);
    }
}

/// The descriptor stands for something new, which was opened by a name; `inside`: one that is not
/// outside.
pub(crate) fn begin(descriptor: c_int, inside: bool) {
    forget(descriptor);
    if inside && let Some(entry) = entry(descriptor) {
        let _ = entry
            .state
            .compare_exchange(UNKNOWN, INSIDE, Relaxed, Relaxed);
    }
}

#[inline(always)]
fn forget_entry(descriptor: c_int, entry: &'static Entry) {
    if entry.state.load(Acquire) == FILE {
        run::abandon(&recall(descriptor, entry));
    }
    entry.generation.fetch_add(1, Relaxed);
    if entry
        .state
        .compare_exchange(BUSY, STALE, AcqRel, Acquire)
        .is_err()
    {
        let _ = entry.state.fetch_update(AcqRel, Acquire, |state| {
            matches!(state, FILE | OTHER | OUTSIDE | INSIDE).then_some(UNKNOWN)
        });
    }
}

/// Proves the run of a descriptor that is about to be closed or moved, while that can be done.
#[inline(never)]
pub(crate) fn settle(descriptor: c_int) {
    if let Some(entry) = entry(descriptor)
        && entry.run.is_open()
    {
        run::settle(&recall(descriptor, entry));
    }
}

/// A descriptor is about to be closed, or to stand for something else.
#[inline(never)]
pub(crate) fn release(descriptor: c_int) {
    settle(descriptor);
    forget(descriptor);
}

/// A descriptor is about to stand for something else by a call whose result tells nothing new.
pub(crate) fn replace(descriptor: c_int, pending: &mut Pending) {
    release(descriptor);
    pending.then = Then::Forget(descriptor);
}

/// The same for all of `first ..= last`.
pub(crate) fn release_range(first: u32, last: u32) {
    let end = last.saturating_add(1).min(KNOWN_END.load(Relaxed));
    (first..end).for_each(|descriptor| release(descriptor as c_int));
}

/// Threads are about to get descriptor tables of their own: from now on nothing is remembered.
pub(crate) fn turn_off() {
    OFF.store(1, Relaxed);
    release_range(0, u32::MAX);
}

/// Proves all runs, at the end of the program.
pub(crate) fn settle_all() {
    (0..KNOWN_END.load(Relaxed)).for_each(|descriptor| settle(descriptor as c_int));
}

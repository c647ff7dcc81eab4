//! Calls that make, remove or move names, and calls that open by name.

use core::ffi::{CStr, c_char, c_int, c_uint, c_void};
use core::mem::transmute;

use everwrite_protocol::local::segment::operation;
use everwrite_protocol::local::{FileModification, NameChange, PolicyPage};

use crate::arch::FILE_DESCRIPTOR_OFFSET;
use crate::call::{Announced, Pending, Then};
use crate::kernel::{self, Errno, O_CREAT, O_EXCL, O_NOFOLLOW, O_PATH, O_TMPFILE_BIT, O_TRUNC};
use crate::place::{self, At, Existing, Named, Place};
use crate::range::{self, Change};
use crate::symbols::Real;
use crate::{content, descriptor, message, policy, process, spawn};

/// The flags of a call that may make a file and may cut it short.
pub(crate) const NEW: c_int = O_CREAT | O_TRUNC;
/// `renameat2`: both names go on to exist.
const RENAME_EXCHANGE: c_uint = 2;

pub(crate) fn create(at: At, pending: &mut Pending) {
    one_name(at, NameChange::Created, pending);
}

/// libc makes this file or writes it anew, past every hook: all of it is to be looked at.
pub(crate) fn rewrite(path: &'static CStr, pending: &mut Pending) {
    one_name(At::here(path.as_ptr()), NameChange::Arrived, pending);
}

pub(crate) fn link(old: At, new: At, pending: &mut Pending) {
    let Some(page) = policy::active() else { return };
    let change = match place::name(page, old) {
        Place::Watched(_) => NameChange::Created,
        _ => NameChange::Arrived,
    };
    one_name(new, change, pending);
}

pub(crate) fn remove(at: At, pending: &mut Pending) {
    one_name(at, NameChange::Removed, pending);
}

fn one_name(at: At, change: NameChange, pending: &mut Pending) {
    if let Some(page) = policy::active() {
        announce(page, &place::name(page, at), change, pending);
    }
}

fn announce(page: &PolicyPage, place: &Place, change: NameChange, pending: &mut Pending) {
    match *place {
        Place::Watched(Named { directory, name }) => {
            let message = FileModification::Name {
                directory,
                name,
                change,
            };
            pending.message = Some(message::announce(page, &message));
        }
        Place::Unwatched => {}
        Place::Nothing => pending.then = Then::Unexpected { opens: false },
        Place::Unclear => anywhere(page, pending),
    }
}

/// Something will change, no telling where.
#[cold]
pub(crate) fn anywhere(page: &PolicyPage, pending: &mut Pending) {
    pending.message = Some(message::announce(page, &FileModification::Anywhere));
}

pub(crate) fn rename(old: At, new: At, flags: c_uint, pending: &mut Pending) {
    let Some(page) = policy::active() else { return };
    match (&place::name(page, old), &place::name(page, new)) {
        (Place::Watched(old), Place::Watched(new)) => {
            let message = FileModification::Rename {
                old_directory: old.directory,
                old_name: old.name,
                new_directory: new.directory,
                new_name: new.name,
                exchange: flags & RENAME_EXCHANGE != 0,
            };
            pending.message = Some(message::announce(page, &message));
        }
        (Place::Unwatched, new @ Place::Watched(_)) => {
            announce(page, new, NameChange::Arrived, pending);
        }
        (old @ Place::Watched(_), Place::Unwatched) => {
            let change = if flags & RENAME_EXCHANGE != 0 {
                NameChange::Arrived
            } else {
                NameChange::Removed
            };
            announce(page, old, change, pending);
        }
        (Place::Unwatched, Place::Unwatched) => {}
        (Place::Unclear, _) | (_, Place::Unclear) => anywhere(page, pending),
        (Place::Nothing, _) | (_, Place::Nothing) => {
            pending.then = Then::Unexpected { opens: false };
        }
    }
}

/// Opening may make a name, and may cut a file short. In any case the result is a descriptor of which
/// nothing is known yet, but perhaps that it is not outside.
pub(crate) fn open(at: At, flags: c_int, pending: &mut Pending) {
    let changes = flags & (O_CREAT | O_TRUNC) != 0 && flags & O_PATH == 0;
    // What has no name (`O_TMPFILE`) gets one by `linkat`.
    let inside = changes
        && flags & O_TMPFILE_BIT == 0
        && policy::active().is_some_and(|page| open_to_change(page, at, flags, pending));
    pending.then = match pending.then {
        Then::Unexpected { .. } => Then::Unexpected { opens: true },
        _ => Then::Descriptor { inside },
    };
}

/// Says whether the file, if it is opened, is certainly one by a name that is not outside.
#[inline(never)]
fn open_to_change(page: &PolicyPage, at: At, flags: c_int, pending: &mut Pending) -> bool {
    // What is there already is not opened, or is no link.
    let mut truncates = flags & (O_TRUNC | O_EXCL) == O_TRUNC;
    let mut inside = false;
    if flags & O_CREAT != 0 {
        let follows = flags & (O_NOFOLLOW | O_EXCL) == 0;
        let (place, existing) = if follows || truncates {
            place::name_and_existing(page, at)
        } else {
            (place::name(page, at), Existing::None)
        };
        inside = matches!(place, Place::Watched(_));
        match existing {
            Existing::Link if follows => {
                open_link(page, at, pending);
                inside = false;
            }
            // What has one name is where that name is.
            Existing::Entry { single: true } if matches!(place, Place::Unwatched) => {
                truncates = false;
            }
            Existing::Entry { .. } => announce(page, &place, NameChange::Created, pending),
            Existing::Link | Existing::None => {
                announce(page, &place, NameChange::Created, pending);
                truncates = false;
            }
        }
    }
    if truncates {
        let file = if inside {
            place::file_named(page, at, 0, true)
        } else {
            place::file(page, at, 0)
        };
        if let Some(file) = file {
            let change = Change::new(operation::TRUNCATE, 0, 0);
            pending.change = Announced::Range(range::announce(page, file, change));
        }
    }
    inside
}

/// A child of `posix_spawn` will open this.
pub(crate) fn open_in_child(actions: usize, at: At, flags: c_int, pending: &mut Pending) {
    if flags & NEW == 0 {
        return;
    }
    let Some(page) = policy::active() else { return };
    open_to_change(page, at, flags, pending);
    pending.then = Then::Nothing;
    let place = place::name(page, at);
    if !matches!(place, Place::Nothing) {
        // SAFETY: the kernel has just read the path.
        let relative = unsafe { *at.path } != b'/' as c_char;
        if relative && spawn::moves(actions) {
            return spawn::remember_anywhere(actions);
        }
        if relative {
            // Where that leads is decided when the child is started.
            spawn::remember_here(actions);
        }
    }
    match place {
        Place::Watched(Named { directory, .. }) => {
            let file = place::file(page, at, 0).filter(|_| flags & O_TRUNC != 0);
            let file = file.filter(|file| file.inode.device == directory.device);
            spawn::remember(actions, directory, file);
        }
        Place::Unwatched => {}
        Place::Nothing | Place::Unclear => spawn::remember_anywhere(actions),
    }
}

/// A link that leads to a file makes no name; one that leads nowhere makes one, who knows where.
#[cold]
fn open_link(page: &PolicyPage, at: At, pending: &mut Pending) {
    match kernel::status(at.directory, at.path, 0) {
        Ok(_) => {}
        Err(Errno::NOENT) => anywhere(page, pending),
        Err(_) => pending.then = Then::Unexpected { opens: true },
    }
}

/// # Safety
/// `mode` is a string, `closes` null or a stream; `path` may be anything.
pub(crate) unsafe fn open_stream(
    path: *const c_char,
    mode: *const c_char,
    closes: *mut c_void,
    pending: &mut Pending,
) {
    // SAFETY: as the caller promises.
    let (flags, closed) = unsafe { (flags_of_mode(mode), descriptor_of(closes)) };
    descriptor::release(closed);
    if !path.is_null() {
        open(At::here(path), flags, pending);
    } else if flags & O_TRUNC != 0 {
        // `freopen` without a path opens what it had again.
        content::change(closed, Change::new(operation::TRUNCATE, 0, 0), pending);
    }
    pending.then = match pending.then {
        Then::Unexpected { opens } => Then::Unexpected { opens },
        Then::Descriptor { inside } => Then::Stream { inside },
        _ => Then::Stream { inside: false },
    };
}

/// The call gave a stream; negative: none.
pub(crate) fn after_stream(result: isize, inside: bool) {
    if result > 0 {
        // SAFETY: the result of a function that gives a valid stream or null.
        descriptor::begin(unsafe { descriptor_of(result as *mut c_void) }, inside);
    }
}

/// The descriptor of a stream.
///
/// # Safety
/// `stream` is a `FILE` of glibc, or null.
pub(crate) unsafe fn descriptor_of(stream: *const c_void) -> c_int {
    if stream.is_null() {
        return -1;
    }
    // SAFETY: `_fileno` is part of glibc's frozen layout of `FILE`.
    unsafe {
        *stream
            .cast::<u8>()
            .add(FILE_DESCRIPTOR_OFFSET)
            .cast::<c_int>()
    }
}

/// The descriptor of the stream of a directory.
///
/// # Safety
/// `stream` is a `DIR` of glibc, or null.
pub(crate) unsafe fn descriptor_of_directory(stream: *const c_void) -> c_int {
    // SAFETY: the descriptor is its first word in every glibc.
    unsafe { stream.cast::<c_int>().as_ref() }.map_or(-1, |descriptor| *descriptor)
}

/// The flags that `fopen(3)` opens with in this mode, as far as they matter here.
///
/// # Safety
/// `mode` is a string, or null.
unsafe fn flags_of_mode(mode: *const c_char) -> c_int {
    if mode.is_null() {
        return 0;
    }
    // SAFETY: as the caller promises.
    match unsafe { CStr::from_ptr(mode) }.to_bytes().first() {
        Some(b'w') => O_CREAT | O_TRUNC,
        Some(b'a') => O_CREAT,
        _ => 0,
    }
}

/// `bind`: the address of a Unix socket may be a path, which need not end with a NUL.
pub(crate) fn bind(address: usize, bytes: usize, pending: &mut Pending) {
    const AF_UNIX: u16 = 1;
    /// `struct sockaddr_un` and a NUL.
    const ROOM: usize = 111;
    let mut room = [0u8; ROOM];
    let length = bytes.min(ROOM.saturating_sub(1));
    let copied = policy::active().is_some()
        && process::may_make_calls()
        && room
            .get_mut(..length)
            .is_some_and(|room| kernel::copy_memory(address, room));
    let [low, high, path @ ..] = &room;
    // Without a first byte it is no name of the file system.
    if copied && u16::from_ne_bytes([*low, *high]) == AF_UNIX && path.first() != Some(&0) {
        // The name is copied again before this function returns.
        create(At::here(path.as_ptr().cast()), pending);
    }
}

/// The name is known only afterwards; the directory is known before.
pub(crate) fn create_temporary(template: *const c_char, opens: bool, pending: &mut Pending) {
    if opens {
        pending.then = Then::Descriptor { inside: false };
    }
    let Some(page) = policy::active() else { return };
    match place::name(page, At::here(template)) {
        Place::Watched(Named { directory, .. }) => {
            let change = NameChange::Created;
            let message = FileModification::Name {
                directory,
                name: b"",
                change,
            };
            pending.message = Some(message::announce(page, &message));
            pending.then = Then::Template {
                template,
                directory,
                opens,
            };
        }
        Place::Nothing => pending.then = Then::Unexpected { opens },
        Place::Unclear => anywhere(page, pending),
        Place::Unwatched => {}
    }
}

pub(crate) fn after_temporary(pending: &Pending, result: isize) {
    let (
        Some(message),
        Then::Template {
            template,
            directory,
            opens,
        },
    ) = (&pending.message, pending.then)
    else {
        return;
    };
    if result < 0 {
        return message.done(may_have_changed());
    }
    if opens {
        descriptor::begin(result as c_int, true);
    }
    // SAFETY: the call succeeded, so it has read and written the string.
    let path = unsafe { CStr::from_ptr(template) }.to_bytes();
    let name = path.rsplit(|byte| *byte == b'/').next().unwrap_or(b"");
    message.done_with_name(directory, name);
}

/// A call that was thought to fail has succeeded: another process has changed the names meanwhile.
#[cold]
pub(crate) fn after_unexpected(opens: bool, result: isize) {
    if result >= 0
        && let Some(page) = policy::active()
    {
        message::tell(page, &FileModification::Anywhere);
    }
    // A stream has no small number, and none is remembered.
    if opens {
        descriptor::forget(c_int::try_from(result).unwrap_or(-1));
    }
}

/// Whether a call that failed may have changed names all the same: with any error but those that
/// Linux gives before it changes anything.
#[cold]
pub(crate) fn may_have_changed() -> bool {
    const CERTAIN: u64 = bits(&[
        Errno::PERM,
        Errno::NOENT,
        Errno::BADF,
        Errno::ACCES,
        Errno::FAULT,
        Errno::BUSY,
        Errno::EXIST,
        Errno::XDEV,
        Errno::NOTDIR,
        Errno::ISDIR,
        Errno::INVAL,
        Errno::ROFS,
        Errno::NAMETOOLONG,
        Errno::NOTEMPTY,
        Errno::LOOP,
    ]);
    // SAFETY: the calling thread's `errno`.
    let errno = errno_place().map_or(0, |errno| unsafe { *errno });
    let bit = 1u64.checked_shl(errno as u32).unwrap_or(0);
    CERTAIN & bit == 0
}

/// A set of small error numbers.
const fn bits(errors: &[Errno]) -> u64 {
    let mut set = 0;
    let mut rest = errors;
    while let [first, behind @ ..] = rest {
        set |= 1 << first.0;
        rest = behind;
    }
    set
}

/// Where libc keeps the calling thread's `errno`.
pub(crate) fn errno_place() -> Option<*mut c_int> {
    type Location = unsafe extern "C" fn() -> *mut c_int;
    static LOCATION: Real = Real::new();
    match LOCATION.address(c"__errno_location".as_ptr()) {
        0 => None,
        // SAFETY: libc's own function behind the macro `errno`; it only computes an address.
        address => Some(unsafe { transmute::<usize, Location>(address)() }),
    }
}

//! The files of users who are and were logged in (`utmp(5)`), which libc writes to by itself.

use core::sync::atomic::{
    AtomicU32, AtomicU64,
    Ordering::{Acquire, Relaxed, Release},
};

use everwrite_protocol::local::Inode;

use crate::call::{Announced, Pending, Then};
use crate::place::{self, At};
use crate::range::{self, Change, File};
use crate::{content, names, policy};

/// Who is logged in: `_PATH_UTMP`. A link on most systems.
const USERS: At = At::here(c"/var/run/utmp".as_ptr());
/// Who was: `_PATH_WTMP`.
const LOGINS: At = At::here(c"/var/log/wtmp".as_ptr());

/// The file that the program named in the place of [`USERS`] (`utmpname`).
struct Named {
    state: AtomicU32,
    device: AtomicU64,
    inode: AtomicU64,
    birth: AtomicU64,
}

const NONE: u32 = 0;
const KNOWN: u32 = 1;
/// It named one that was not there.
const ANY: u32 = 2;

// SAFETY: all-zero is a valid value: it is made of integers.
static NAMED: Named = unsafe { core::mem::zeroed() };

pub(crate) fn name_users(path: At) {
    let Some(page) = policy::active() else { return };
    let Some(file) = place::file(page, path, 0) else {
        return NAMED.state.store(ANY, Release);
    };
    NAMED.device.store(file.inode.device, Relaxed);
    NAMED.inode.store(file.inode.inode, Relaxed);
    NAMED.birth.store(file.birth, Relaxed);
    NAMED.state.store(KNOWN, Release);
}

pub(crate) fn log(pending: &mut Pending) {
    content::change_at(LOGINS, 0, Change::WHOLE, pending);
}

pub(crate) fn change_users(pending: &mut Pending) {
    let Some(page) = policy::active() else { return };
    match NAMED.state.load(Acquire) {
        NONE => content::change_at(USERS, 0, Change::WHOLE, pending),
        KNOWN => {
            let ticket = range::announce(page, NAMED.file(), Change::WHOLE);
            pending.change = Announced::Range(ticket);
        }
        _ => names::anywhere(page, pending),
    }
}

/// `login` changes both, and the file of users is always the usual one.
pub(crate) fn log_in(pending: &mut Pending) {
    log(pending);
    pending.then = Then::LoggedIn;
}

pub(crate) fn tell_users() {
    NAMED.state.store(NONE, Relaxed);
    if let Some(page) = policy::active()
        && let Some(file) = place::file(page, USERS, 0)
    {
        range::tell(page, file, Change::WHOLE);
    }
}

impl Named {
    fn file(&self) -> File {
        let inode = Inode {
            device: self.device.load(Relaxed),
            inode: self.inode.load(Relaxed),
        };
        File {
            inode,
            birth: self.birth.load(Relaxed),
        }
    }
}

//! Durability: the coordinator is told which writes a program has made durable, and where a root asks for it,
//! `fsync` and its like return when the receiver has stored what they cover.
//!
//! The call has been announced and made, so all that it covers lies before it in the segment. The shim
//! raises the number of calls that ask; the coordinator, which reads that number before it reads the
//! slots, answers by raising the other. In between the program sleeps, with a limit.

use core::ffi::c_int;
use core::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed};

use everwrite_protocol::local::{DURABLE_MS_MAX, PolicyPage};

use crate::attach::{self, Lane};
use crate::call::{Announced, NOWHERE, Pending, Then};
use crate::names::errno_place;
use crate::outside::{self, Opened};
use crate::range::{Change, File};
use crate::{descriptor, kernel, policy, process, range, run};

const EIO: i32 = 5;
const NS_PER_MS: u64 = 1_000_000;
/// How often it is looked whether there still is anybody who could answer.
const LOOK_NS: u64 = 1_000_000_000;

/// Whether a call for durability that succeeded here has to fail, with `errno` set, as the receiver has
/// not stored what it covers. Waits for that.
#[inline(always)]
pub(crate) fn is_refused(pending: &Pending) -> bool {
    match (pending.then, &pending.change) {
        (Then::Synced(_), Announced::Range(_)) => refuses(),
        // Of a directory nothing was announced: its names were, one by one.
        (Then::Synced(directory), _) => tell_directory(directory) && refuses(),
        (Then::Flushed(file), _) => refuses_file(file),
        // It can't fail.
        (Then::SyncedAll, _) => {
            policy::active().map(waits_in_vain);
            false
        }
        _ => pending.through != NOWHERE && refuses_write(pending.through),
    }
}

/// The same of a write that succeeded, to a descriptor by which it is durable at once.
#[cold]
#[inline(never)]
pub(crate) fn refuses_write(descriptor: c_int) -> bool {
    descriptor::watched(descriptor).is_some_and(|(_, known)| {
        run::end_all(&known);
        refuses_file(known.file)
    })
}

/// What has been written to the file is durable here.
fn refuses_file(file: File) -> bool {
    if let Some(page) = policy::active() {
        range::tell(page, file, Change::SYNC);
    }
    refuses()
}

/// Says which directory it is that is made durable. False when it is none that may be protected. (What is a
/// file was found to be none.)
#[inline(never)]
fn tell_directory(descriptor: c_int) -> bool {
    let asked = |page: &&PolicyPage| limit_ns(page) != 0 && process::may_make_calls();
    let Some(page) = policy::active().filter(asked) else {
        return false;
    };
    let Ok(status) = kernel::descriptor_status(descriptor) else {
        return false;
    };
    let file = File::of(&status);
    let protected = status.is_directory()
        && policy::watches(page, status.device)
        && !outside::is_directory(page, file.inode, || Some(Opened::Already(descriptor)));
    if protected {
        range::tell(page, file, Change::SYNC);
    }
    protected
}

/// Waits if that is asked for. True: in vain, with `errno` set, where the policy says that the call fails then.
#[cold]
#[inline(never)]
fn refuses() -> bool {
    let Some(page) = policy::active() else {
        return false;
    };
    let fails = waits_in_vain(page) && page.durable_fails.load(Relaxed) != 0;
    if fails && let Some(errno) = errno_place() {
        // SAFETY: the calling thread's `errno`.
        unsafe { *errno = EIO };
    }
    fails
}

/// How long to wait; 0: no root asks for that.
fn limit_ns(page: &PolicyPage) -> u64 {
    let limit_ms = u64::from(page.durable_ms_max.load(Relaxed)).min(DURABLE_MS_MAX);
    limit_ms.saturating_mul(NS_PER_MS)
}

#[inline(never)]
fn waits_in_vain(page: &'static PolicyPage) -> bool {
    let limit_ns = limit_ns(page);
    if limit_ns == 0 || !process::may_make_calls() {
        return false;
    }
    !attach::lane(page).is_ok_and(|lane| is_stored(page, lane, limit_ns))
}

/// Asks, and waits for the answer.
fn is_stored(page: &PolicyPage, lane: Lane, limit_ns: u64) -> bool {
    let header = &lane.segment().header;
    let number = header.durable_asked.fetch_add(1, AcqRel).wrapping_add(1);
    range::wake(lane);
    let until = kernel::monotonic_ns().saturating_add(limit_ns);
    loop {
        // Read before the clock: once this call's time is over, a later call's answer says nothing of it.
        let granted = header.durable_granted.load(Acquire);
        let left = until.saturating_sub(kernel::monotonic_ns()).min(LOOK_NS);
        if left != 0 && granted.wrapping_sub(number) as i32 >= 0 {
            return true;
        }
        if left == 0
            || !policy::coordinator_lives(page)
            || !kernel::futex_wait(&header.durable_granted, granted, left)
        {
            header.durable_late.fetch_add(1, Relaxed);
            return false;
        }
    }
}

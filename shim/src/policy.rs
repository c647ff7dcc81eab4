//! The policy page: whether anything is of interest, where, and whether a coordinator lives.
//!
//! ```text
//! null --first event--> mapped (for life; renewed in place when the heartbeat is stale)
//!      --off----------> SILENT, a page of zeros: its switch is off
//! ```

use core::mem::transmute;
use core::ptr;
use core::sync::atomic::{
    AtomicPtr, AtomicU32, AtomicU64,
    Ordering::{AcqRel, Acquire, Relaxed, Release},
};

use everwrite_protocol::local::{
    HEARTBEAT_STALE_SECONDS, HOLD_MS_MAX, KILL_SWITCH_FILE_NAME, LOCAL_VERSION, POLICY_BYTES,
    POLICY_FILE_NAME, POLICY_MAGIC, PolicyPage,
};

use crate::environment;
use crate::kernel::{self, AT_FDCWD, MAP_SHARED, Own, PROT_READ};
use crate::symbols::Real;

static PAGE: AtomicPtr<PolicyPage> = AtomicPtr::new(ptr::null_mut());
/// What `PAGE` points to once the shim is off for this program.
// SAFETY: all-zero is a valid page: it is made of integers.
static SILENT: PolicyPage = unsafe { core::mem::zeroed() };
/// When to look for the page again, in milliseconds of the coarse monotonic clock.
static NEXT_LOOK_MS: AtomicU64 = AtomicU64::new(0);
/// How often a program without a page, or with a dead coordinator, looks for one.
const LOOK_INTERVAL_MS: u64 = 1000;
/// Longest sleep while a cut is finished, whatever the page says.
const HOLD_NS_MAX: u64 = HOLD_MS_MAX * 1_000_000;

/// The page, if a coordinator wants to hear from shims. One load and one compare when it does.
#[inline(never)]
pub(crate) fn active() -> Option<&'static PolicyPage> {
    active_at_once()
}

/// The same for the path of every write.
#[inline(always)]
pub(crate) fn active_at_once() -> Option<&'static PolicyPage> {
    let page = PAGE.load(Acquire);
    // SAFETY: null, `SILENT`, or a mapping that is never taken away.
    match unsafe { page.as_ref() } {
        Some(page) => (page.switch_on.load(Relaxed) == 1).then_some(page),
        None => look(),
    }
}

/// Turns the shim off for the rest of this program's life.
pub(crate) fn turn_off() {
    PAGE.store(ptr::from_ref(&SILENT).cast_mut(), Relaxed);
}

/// The epoch as it is now; 0 without a page.
#[inline(always)]
pub(crate) fn epoch() -> u64 {
    // SAFETY: as in `active`.
    let page = unsafe { PAGE.load(Acquire).as_ref() };
    page.map_or(0, |page| page.epoch.load(Acquire))
}

/// Whether `device` holds protected files.
#[inline(always)]
pub(crate) fn watches(page: &PolicyPage, device: u64) -> bool {
    let count = page.device_count.load(Relaxed) as usize;
    // A plain loop, as this is on the path of every write: most often one round.
    for (at, watched) in page.devices.iter().enumerate() {
        if at >= count {
            return false;
        }
        if watched.load(Relaxed) == device {
            return true;
        }
    }
    false
}

/// Whether the coordinator gave a sign of life lately. If not, sees to it that a page which a new
/// coordinator may have put in the old one's place is mapped.
#[inline(never)]
pub(crate) fn coordinator_lives(page: &PolicyPage) -> bool {
    let lives = |now_s: u64| {
        now_s.saturating_sub(page.heartbeat_s.load(Relaxed)) <= HEARTBEAT_STALE_SECONDS
    };
    lives(clock_ms() / 1000) || (may_look() && renew(page) && lives(clock_ms() / 1000))
}

/// Waits while a cut is finished, as long as the page allows.
#[inline(always)]
pub(crate) fn hold(page: &PolicyPage) {
    if page.hold.load(Relaxed) != 0 {
        wait_for_cut(page);
    }
}

/// A signal, or the next cut, may wake it early: then it looks again. It ends at the time that stood there
/// when it began, so that no row of cuts can hold it for longer.
#[cold]
#[inline(never)]
fn wait_for_cut(page: &PolicyPage) {
    if !crate::process::may_make_calls() {
        return;
    }
    let mut value = page.hold.load(Acquire);
    let until = page.hold_until_ns.load(Relaxed);
    while value != 0 {
        let left = until.saturating_sub(kernel::monotonic_ns());
        if left == 0 || !kernel::futex_wait(&page.hold, value, left.min(HOLD_NS_MAX)) {
            return;
        }
        value = page.hold.load(Acquire);
    }
}

/// Coarse monotonic clock in milliseconds: without a system call where libc has one.
#[inline(never)]
pub(crate) fn clock_ms() -> u64 {
    const CLOCK_MONOTONIC_COARSE: i32 = 6;
    type ClockGettime = unsafe extern "C" fn(i32, *mut [u64; 2]) -> i32;
    static CLOCK_GETTIME: Real = Real::new();
    let address = CLOCK_GETTIME.address(c"clock_gettime".as_ptr());
    if address == 0 {
        return kernel::monotonic_ms();
    }
    let mut time = [0u64; 2];
    // SAFETY: `clock_gettime(3)`; it succeeds for this clock and then leaves `errno` alone.
    unsafe { transmute::<usize, ClockGettime>(address)(CLOCK_MONOTONIC_COARSE, &raw mut time) };
    let [seconds, nanoseconds] = time;
    seconds
        .wrapping_mul(1000)
        .wrapping_add(nanoseconds / 1_000_000)
}

/// Whether it is time to look again; only one of several threads is told so.
fn may_look() -> bool {
    let (now, due) = (clock_ms(), NEXT_LOOK_MS.load(Relaxed));
    let next = now.saturating_add(LOOK_INTERVAL_MS);
    now >= due
        && NEXT_LOOK_MS
            .compare_exchange(due, next, AcqRel, Relaxed)
            .is_ok()
}

/// Threads that are looking for the page.
static LOOKING: AtomicU32 = AtomicU32::new(0);
/// How long a look is thought to take. A thread that never came back from one does not count for ever.
const LOOK_MS_MAX: u64 = 200;

/// Looks, if it is time. A thread whose first event comes while another looks does so, too: nothing
/// remembers what happens without a page.
#[cold]
#[inline(never)]
fn look() -> Option<&'static PolicyPage> {
    let (now, due) = (clock_ms(), NEXT_LOOK_MS.load(Acquire));
    let ends_at = due.saturating_sub(LOOK_INTERVAL_MS.saturating_sub(LOOK_MS_MAX));
    let others_look = LOOKING.load(Acquire) != 0 && now <= ends_at;
    if now >= due || others_look {
        LOOKING.fetch_add(1, AcqRel);
        may_look();
        find_page();
        LOOKING.fetch_sub(1, Release);
    }
    // SAFETY: as in `active`.
    unsafe { PAGE.load(Acquire).as_ref() }.filter(|page| page.switch_on.load(Relaxed) == 1)
}

fn find_page() -> Option<()> {
    if environment::is_switched_off() || switch_file_exists() {
        turn_off();
        return None;
    }
    let file = open_page()?;
    let address = kernel::map(POLICY_BYTES, PROT_READ, MAP_SHARED, file.0).ok()?;
    let page = address as *mut PolicyPage;
    // SAFETY: just mapped, whole (`open_page` saw to it), read-only, never taken away.
    let understood = understands(unsafe { &*page });
    let won = understood
        && PAGE
            .compare_exchange(ptr::null_mut(), page, AcqRel, Acquire)
            .is_ok();
    if !won {
        // SAFETY: mapped above; nobody else has seen the address.
        unsafe { kernel::unmap(address, POLICY_BYTES) };
    }
    Some(())
}

fn understands(page: &PolicyPage) -> bool {
    page.magic.load(Acquire) == POLICY_MAGIC && page.version.load(Relaxed) == LOCAL_VERSION
}

/// Maps the file that has the page's name now over `page`; says whether it is one of ours.
fn renew(page: &PolicyPage) -> bool {
    let address = ptr::from_ref(page) as usize;
    // SAFETY: `page` is a mapping of one page made by `look`; readers take any content.
    open_page().is_some_and(|file| unsafe {
        kernel::map_over(address, POLICY_BYTES, file.0) && understands(page)
    })
}

/// The page's file; `None` unless it holds a whole page.
#[inline(never)]
fn open_page() -> Option<Own> {
    let path = environment::in_run_directory(POLICY_FILE_NAME)?;
    let file = kernel::open(AT_FDCWD, path.as_c(), 0).ok()?;
    let status = kernel::descriptor_status(file.0).ok()?;
    (status.size >= POLICY_BYTES as i64).then_some(file)
}

/// The kill switch that needs no coordinator.
pub(crate) fn switch_file_exists() -> bool {
    let Some(path) = environment::in_run_directory(KILL_SWITCH_FILE_NAME) else {
        return true;
    };
    kernel::status(AT_FDCWD, path.as_c().as_ptr(), 0).is_ok()
}

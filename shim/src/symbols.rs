//! Finds the functions that the hooks stand in front of: the next definition after ours in the
//! loader's order, as `dlsym(RTLD_NEXT, …)` would.
//!
//! The loader's own list of objects is walked through its published `_r_debug`, so that a look-up
//! takes no lock and allocates nothing: hooks run in signal handlers and in `fork` and `vfork`
//! children, where `dlsym` may find its lock held by a thread that does not exist there. `dlsym` is
//! the fallback. Both are weak: without them the program runs as if the shim were not there.

use core::ffi::{CStr, c_char, c_void};
use core::mem::transmute;
use core::ptr;
use core::sync::atomic::{AtomicPtr, AtomicUsize, Ordering::Relaxed};

use crate::arch::{own_dynamic_section, weak_address};
use crate::elf::{DEFAULT, Dynamic, Tables};

/// A function of libc, looked up when first needed. `arch` knows that it is one word.
#[repr(transparent)]
pub(crate) struct Real {
    address: AtomicUsize,
}

/// Marks a function that does not exist, so that it is looked for only once.
const ABSENT: usize = 1;

impl Real {
    pub(crate) const fn new() -> Self {
        Self {
            address: AtomicUsize::new(0),
        }
    }

    /// Address of `name` behind us, 0 when there is none.
    ///
    /// `name` is a string that lives for ever.
    #[inline(always)]
    pub(crate) fn address(&self, name: *const c_char) -> usize {
        match self.address.load(Relaxed) {
            0 => self.resolve(name),
            ABSENT => 0,
            address => address,
        }
    }

    /// Address of what we export under this hash.
    #[inline(always)]
    pub(crate) fn address_of_hash(&self, hash: u32) -> usize {
        match self.address.load(Relaxed) {
            0 => self.keep(own_name(hash)),
            ABSENT => 0,
            address => address,
        }
    }

    #[cold]
    #[inline(never)]
    fn resolve(&self, name: *const c_char) -> usize {
        // SAFETY: as all callers of this crate promise.
        self.keep(Some(unsafe { CStr::from_ptr(name) }))
    }

    #[cold]
    #[inline(never)]
    fn keep(&self, name: Option<&CStr>) -> usize {
        let address = name.map_or(0, next);
        self.address
            .store(if address == 0 { ABSENT } else { address }, Relaxed);
        address
    }
}

/// `struct link_map` as far as it is published in `<link.h>`.
#[repr(C)]
pub(crate) struct Object {
    /// What is added to addresses in the file.
    pub(crate) base: usize,
    name: *const c_char,
    pub(crate) dynamic: *const Dynamic,
    next: *const Self,
    previous: *const Self,
}

/// `struct r_debug` as far as it is published in `<link.h>`.
#[repr(C)]
struct Debug {
    version: i32,
    first: *const Object,
}

/// First definition of `name` in an object loaded after this one; 0 when there is none.
pub(crate) fn next(name: &CStr) -> usize {
    match find(name) {
        Some((_, address)) => address,
        None => next_by_dlsym(name),
    }
}

/// The object that defines `name`, and the address of the definition.
pub(crate) fn find(name: &CStr) -> Option<(&'static Object, usize)> {
    find_version(name, DEFAULT)
}

/// The same of a version, by the hash of its name.
fn find_version(name: &CStr, version: u32) -> Option<(&'static Object, usize)> {
    let mut object = us()?.next();
    while let Some(here) = object {
        if let Some(address) = Tables::of(here).and_then(|tables| tables.look_up(name, version)) {
            return Some((here, address));
        }
        object = here.next();
    }
    None
}

/// The version of `name` that the code at `caller` was linked to, where that is not the default one.
///
/// Some names exist in versions that behave differently (`posix_spawn`, `lio_listio`). A hook has no
/// version and so stands in front of all of them; the caller's own tables say which was meant.
pub(crate) fn old_version(name: &CStr, caller: usize) -> Option<usize> {
    let version = Tables::of(object_of(caller)?)?.needed_version(name)?;
    let (_, address) = find_version(name, version)?;
    (address != find(name)?.1).then_some(address)
}

/// The last object that was loaded when the program started. Those behind it may go at any moment.
static LAST: AtomicPtr<Object> = AtomicPtr::new(ptr::null_mut());

/// The program starts: nothing that is in the list now will leave it.
pub(crate) fn begin() {
    let mut object = first();
    while let Some(here) = object {
        LAST.store(ptr::from_ref(here).cast_mut(), Relaxed);
        object = here.next();
    }
}

/// The object whose code lies at `address`, of those that the program was started with: its dynamic
/// section is the first one behind it.
fn object_of(address: usize) -> Option<&'static Object> {
    let last = LAST.load(Relaxed);
    let mut nearest: Option<&Object> = None;
    let mut object = first().filter(|_| !last.is_null());
    while let Some(here) = object {
        let place = here.dynamic as usize;
        if place > address && nearest.is_none_or(|nearest| place < nearest.dynamic as usize) {
            nearest = Some(here);
        }
        object = here.next().filter(|_| !ptr::eq(here, last));
    }
    nearest
}

impl Object {
    fn next(&self) -> Option<&'static Self> {
        // SAFETY: objects loaded at start stay in the list as long as the program runs.
        unsafe { self.next.as_ref() }
    }
}

fn first() -> Option<&'static Object> {
    let debug = weak_address!("_r_debug") as *const Debug;
    // SAFETY: `_r_debug` is the loader's `struct r_debug` (gdb relies on it); its list is complete
    // before any code of the objects in it runs.
    unsafe { debug.as_ref()?.first.as_ref() }
}

fn us() -> Option<&'static Object> {
    let ours = own_dynamic_section();
    let mut object = first()?;
    while object.dynamic as usize != ours {
        object = object.next()?;
    }
    Some(object)
}

/// The name that we export under this hash.
pub(crate) fn own_name(hash: u32) -> Option<&'static CStr> {
    let name: *const CStr = Tables::of(us()?)?.name(hash)?;
    // SAFETY: our own table of names goes when we do.
    Some(unsafe { &*name })
}

fn next_by_dlsym(name: &CStr) -> usize {
    const RTLD_NEXT: *mut c_void = usize::MAX as *mut c_void;
    type Dlsym = unsafe extern "C" fn(*mut c_void, *const c_char) -> *mut c_void;
    match weak_address!("dlsym") {
        0 => 0,
        // SAFETY: `dlsym` has this type in every libc.
        dlsym => unsafe { transmute::<usize, Dlsym>(dlsym)(RTLD_NEXT, name.as_ptr()) as usize },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The test program was linked to the default version of whatever it calls.
    #[test]
    fn the_caller_says_which_version_it_means() {
        begin();
        let here = object_of(old_version as *const () as usize).unwrap();
        assert_eq!(here.base, first().unwrap().base);
        assert_eq!(
            old_version(c"posix_spawnp", old_version as *const () as usize),
            None
        );
    }

    #[test]
    fn what_libc_defines_is_found_by_walking_the_list() {
        let object = first().unwrap();
        for name in [c"write", c"rename", c"_IO_file_jumps"] {
            let expected = next_by_dlsym(name);
            let mut walk = Some(object);
            let mut found = None;
            while let Some(here) = walk {
                found = found.or_else(|| Tables::of(here)?.look_up(name, DEFAULT));
                walk = here.next();
            }
            assert_eq!(found, Some(expected), "{name:?}");
        }
    }
}

//! Finds the functions that the hooks stand in front of: the next definition after ours in the
//! loader's order, as `dlsym(RTLD_NEXT, …)` would.
//!
//! The loader's own list of objects is walked through its published `_r_debug`, so that a look-up
//! takes no lock and allocates nothing: hooks run in signal handlers and in `fork` and `vfork`
//! children, where `dlsym` may find its lock held by a thread that does not exist there. `dlsym` is
//! the fallback. Both are weak: without them the program runs as if the shim were not there.

use core::ffi::{CStr, c_char, c_void};
use core::mem::transmute;
use core::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use crate::arch::{own_dynamic_section, weak_address};

/// A function of libc, looked up when first needed.
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

    #[cold]
    #[inline(never)]
    fn resolve(&self, name: *const c_char) -> usize {
        // SAFETY: as all callers of this crate promise.
        let address = next(unsafe { CStr::from_ptr(name) });
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
    dynamic: *const Dynamic,
    next: *const Self,
    previous: *const Self,
}

/// `struct r_debug` as far as it is published in `<link.h>`.
#[repr(C)]
struct Debug {
    version: i32,
    first: *const Object,
}

#[repr(C)]
struct Dynamic {
    tag: usize,
    value: usize,
}

#[repr(C)]
struct Symbol {
    name: u32,
    information: u8,
    other: u8,
    section: u16,
    value: usize,
    size: usize,
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
    let mut object = after_us()?;
    loop {
        if let Some(address) = Tables::of(object).and_then(|tables| tables.look_up(name)) {
            return Some((object, address));
        }
        // SAFETY: objects loaded at start stay in the list as long as the program runs.
        object = unsafe { object.next.as_ref() }?;
    }
}

fn after_us() -> Option<&'static Object> {
    let debug = weak_address!("_r_debug") as *const Debug;
    let ours = own_dynamic_section();
    // SAFETY: `_r_debug` is the loader's `struct r_debug` (gdb relies on it); its list is complete
    // before any code of the objects in it runs.
    unsafe {
        let mut object = debug.as_ref()?.first.as_ref()?;
        while object.dynamic as usize != ours {
            object = object.next.as_ref()?;
        }
        object.next.as_ref()
    }
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

/// The tables of an object that a look-up needs, see `elf(5)` and the GNU hash section.
struct Tables {
    base: usize,
    symbols: *const Symbol,
    strings: *const c_char,
    /// One word per symbol; the top bit hides an old version. Null: no versions.
    versions: *const u16,
    hash: *const u32,
}

impl Tables {
    fn of(object: &Object) -> Option<Self> {
        const DT_STRTAB: usize = 5;
        const DT_SYMTAB: usize = 6;
        const DT_GNU_HASH: usize = 0x6fff_fef5;
        const DT_VERSYM: usize = 0x6fff_fff0;
        let (mut symbols, mut strings, mut versions, mut hash) = (0, 0, 0, 0);
        let mut entry = object.dynamic;
        // SAFETY: a dynamic section ends with a tag of 0.
        while let Some(Dynamic { tag, value }) = unsafe { entry.as_ref() }.filter(|e| e.tag != 0) {
            // The loader has made addresses of the values, except in the kernel's own object.
            let address = if *value < object.base {
                value.wrapping_add(object.base)
            } else {
                *value
            };
            match *tag {
                DT_STRTAB => strings = address,
                DT_SYMTAB => symbols = address,
                DT_VERSYM => versions = address,
                DT_GNU_HASH => hash = address,
                _ => {}
            }
            entry = entry.wrapping_add(1);
        }
        let complete = symbols != 0 && strings != 0 && hash != 0;
        complete.then_some(Self {
            base: object.base,
            symbols: symbols as *const Symbol,
            strings: strings as *const c_char,
            versions: versions as *const u16,
            hash: hash as *const u32,
        })
    }

    /// The default version of `name`; failing that, an old one, kept for old programs.
    fn look_up(&self, name: &CStr) -> Option<usize> {
        let wanted = gnu_hash(name);
        let mut old = None;
        // SAFETY: the header of the section: buckets, first symbol, words of the filter, shift.
        let [buckets, first, filter_words, _shift] = unsafe { *self.hash.cast::<[u32; 4]>() };
        let bucket = wanted.checked_rem(buckets)?;
        let after_filter = (filter_words as usize).wrapping_mul(2).wrapping_add(4);
        let bucket_words = self.hash.wrapping_add(after_filter);
        let chain_words = bucket_words.wrapping_add(buckets as usize);
        // SAFETY: `bucket` is less than the number of buckets.
        let mut index = unsafe { *bucket_words.wrapping_add(bucket as usize) };
        if index < first {
            return None;
        }
        loop {
            let chain = chain_words.wrapping_add(index.wrapping_sub(first) as usize);
            // SAFETY: every chain ends with a word whose low bit is set.
            let hash = unsafe { *chain };
            let same = hash | 1 == wanted | 1;
            match if same {
                self.defined(index, name)
            } else {
                None
            } {
                Some((address, true)) => return Some(address),
                Some((address, false)) => old = Some(address),
                None => {}
            }
            if hash & 1 != 0 {
                return old;
            }
            index = index.wrapping_add(1);
        }
    }

    /// Address of symbol `index` if it is called `name` and is defined here, and whether it is the
    /// default version.
    fn defined(&self, index: u32, name: &CStr) -> Option<(usize, bool)> {
        const HIDDEN: u16 = 0x8000;
        let index = index as usize;
        // SAFETY: `index` comes from a chain of this object's hash table, so the symbol and its
        // version exist, and names in the string table end with a NUL.
        let (symbol, called, version) = unsafe {
            let symbol = &*self.symbols.wrapping_add(index);
            let called = CStr::from_ptr(self.strings.wrapping_add(symbol.name as usize));
            (symbol, called, self.versions.wrapping_add(index))
        };
        if symbol.section == 0 || called != name {
            return None;
        }
        // SAFETY: as above.
        let hidden = !self.versions.is_null() && unsafe { *version } & HIDDEN != 0;
        Some((self.base.wrapping_add(symbol.value), !hidden))
    }
}

fn gnu_hash(name: &CStr) -> u32 {
    let step = |hash: u32, byte: &u8| hash.wrapping_mul(33).wrapping_add(u32::from(*byte));
    name.to_bytes().iter().fold(5381, step)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_the_one_of_the_gnu_hash_section() {
        assert_eq!(gnu_hash(c""), 0x1505);
        assert_eq!(gnu_hash(c"printf"), 0x156b_2bb8);
    }

    #[test]
    fn what_libc_defines_is_found_by_walking_the_list() {
        let object = first_object();
        for name in [c"write", c"rename", c"_IO_file_jumps"] {
            let expected = next_by_dlsym(name);
            let mut walk = Some(object);
            let mut found = None;
            while let Some(here) = walk {
                found = found.or_else(|| Tables::of(here)?.look_up(name));
                // SAFETY: the list of the loader.
                walk = unsafe { here.next.as_ref() };
            }
            assert_eq!(found, Some(expected), "{name:?}");
        }
    }

    fn first_object() -> &'static Object {
        let debug = weak_address!("_r_debug") as *const Debug;
        // SAFETY: the loader's list.
        unsafe { (*debug).first.as_ref().unwrap() }
    }
}

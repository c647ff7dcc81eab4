//! The tables of a loaded object, as the loader uses them: where a name is defined, and in which
//! versions. See `elf(5)`, the GNU hash section and the symbol versions of the LSB.

use core::ffi::{CStr, c_char};

use crate::symbols::Object;

#[repr(C)]
pub(crate) struct Dynamic {
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

/// `Elf64_Verdef`: a version that the object defines.
#[repr(C)]
struct Definition {
    structure: u16,
    flags: u16,
    index: u16,
    count: u16,
    hash: u32,
    names: u32,
    next: u32,
}

/// `Elf64_Verneed`: an object that versions are needed of.
#[repr(C)]
struct Need {
    structure: u16,
    count: u16,
    file: u32,
    versions: u32,
    next: u32,
}

/// `Elf64_Vernaux`: a version that is needed.
#[repr(C)]
struct NeededVersion {
    hash: u32,
    flags: u16,
    index: u16,
    name: u32,
    next: u32,
}

/// `Elf64_Rela`.
#[repr(C)]
struct Relocation {
    place: usize,
    kind: u32,
    symbol: u32,
    addend: usize,
}

/// In the place of a version's hash: the default one.
pub(crate) const DEFAULT: u32 = 0;
/// In a word of the version table: the version is not the default one.
const HIDDEN: u16 = 0x8000;

/// The tables that a look-up needs. What the object does not have is null or 0.
#[derive(Default)]
pub(crate) struct Tables {
    base: usize,
    symbols: usize,
    strings: usize,
    hash: usize,
    /// One word per symbol, its version and [`HIDDEN`].
    versions: usize,
    definitions: usize,
    needs: usize,
    /// What the linkage table is filled with, in bytes.
    calls: usize,
    calls_bytes: usize,
}

impl Tables {
    pub(crate) fn of(object: &Object) -> Option<Self> {
        let mut tables = Self {
            base: object.base,
            ..Self::default()
        };
        let mut entry = object.dynamic;
        // SAFETY: a dynamic section ends with a tag of 0.
        while let Some(Dynamic { tag, value }) = unsafe { entry.as_ref() }.filter(|e| e.tag != 0) {
            tables.note(*tag, *value);
            entry = entry.wrapping_add(1);
        }
        let complete = tables.symbols != 0 && tables.strings != 0 && tables.hash != 0;
        complete.then_some(tables)
    }

    fn note(&mut self, tag: usize, value: usize) {
        // The loader has made addresses of the values, except in the kernel's own object.
        let address = if value < self.base {
            value.wrapping_add(self.base)
        } else {
            value
        };
        match tag {
            2 => self.calls_bytes = value,
            5 => self.strings = address,
            6 => self.symbols = address,
            23 => self.calls = address,
            0x6fff_fef5 => self.hash = address,
            0x6fff_fff0 => self.versions = address,
            0x6fff_fffc => self.definitions = address,
            0x6fff_fffe => self.needs = address,
            _ => {}
        }
    }

    /// The definition of `name` in `version`; failing that, any.
    pub(crate) fn look_up(&self, name: &CStr, version: u32) -> Option<usize> {
        let mut other = None;
        let found = self.find(gnu_hash(name.to_bytes()), |index| {
            let address = self.defined(index, name)?;
            other = Some(address);
            self.is_of_version(index, version).then_some(address)
        });
        found.or(other)
    }

    /// The name that is defined here and has this hash.
    pub(crate) fn name(&self, hash: u32) -> Option<&CStr> {
        self.find(hash, |index| {
            let name = self.text(self.symbol(index).name);
            // The table of hashes lacks their low bits.
            (gnu_hash(name.to_bytes()) == hash).then_some(name)
        })
    }

    /// Asks of each symbol that may have this hash, until one is taken.
    #[inline(always)]
    fn find<T>(&self, wanted: u32, mut take: impl FnMut(u32) -> Option<T>) -> Option<T> {
        let table = self.hash as *const u32;
        // SAFETY: the header of the section: buckets, first symbol, words of the filter, shift.
        let [buckets, first, filter_words, _shift] = unsafe { *table.cast::<[u32; 4]>() };
        let bucket = wanted.checked_rem(buckets)?;
        let after_filter = (filter_words as usize).wrapping_mul(2).wrapping_add(4);
        let bucket_words = table.wrapping_add(after_filter);
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
            let taken = if hash | 1 == wanted | 1 {
                take(index)
            } else {
                None
            };
            if taken.is_some() || hash & 1 != 0 {
                return taken;
            }
            index = index.wrapping_add(1);
        }
    }

    /// Address of symbol `index` if it is called `name` and is defined here.
    fn defined(&self, index: u32, name: &CStr) -> Option<usize> {
        let symbol = self.symbol(index);
        let here = symbol.section != 0 && self.text(symbol.name) == name;
        here.then(|| self.base.wrapping_add(symbol.value))
    }

    fn symbol(&self, index: u32) -> &Symbol {
        // SAFETY: an index from one of the object's own tables.
        unsafe { &*(self.symbols as *const Symbol).wrapping_add(index as usize) }
    }

    fn text(&self, at: u32) -> &CStr {
        // SAFETY: names in the table of strings end with a NUL.
        unsafe { CStr::from_ptr((self.strings as *const c_char).wrapping_add(at as usize)) }
    }

    /// The word of the version table for a symbol; 0 without versions.
    fn version_word(&self, index: u32) -> u16 {
        let words = self.versions as *const u16;
        if words.is_null() {
            return 0;
        }
        // SAFETY: there is one for each symbol.
        unsafe { *words.wrapping_add(index as usize) }
    }

    fn is_of_version(&self, index: u32, version: u32) -> bool {
        let word = self.version_word(index);
        if version == DEFAULT {
            word & HIDDEN == 0
        } else {
            self.hash_of_definition(word & !HIDDEN) == Some(version)
        }
    }

    fn hash_of_definition(&self, index: u16) -> Option<u32> {
        let mut place = self.definitions;
        // SAFETY: a chain of definitions, each with its distance from the one before, 0 at the end.
        while let Some(definition) = unsafe { (place as *const Definition).as_ref() } {
            if definition.index == index {
                return Some(definition.hash);
            }
            place = following(place, definition.next);
        }
        None
    }

    /// The version of `name` that this object calls, by its hash.
    pub(crate) fn needed_version(&self, name: &CStr) -> Option<u32> {
        const EACH: usize = size_of::<Relocation>();
        let count = self.calls_bytes / EACH;
        (0..count).find_map(|at| {
            // SAFETY: the loader filled the linkage table by these.
            let symbol = unsafe { (*(self.calls as *const Relocation).wrapping_add(at)).symbol };
            let same = self.text(self.symbol(symbol).name) == name;
            same.then(|| self.hash_of_need(self.version_word(symbol)))?
        })
    }

    fn hash_of_need(&self, index: u16) -> Option<u32> {
        let mut place = self.needs;
        // SAFETY: chains like that of the definitions, one of objects, one of versions for each.
        while let Some(need) = unsafe { (place as *const Need).as_ref() } {
            let mut version = following(place, need.versions);
            // SAFETY: as above.
            while let Some(needed) = unsafe { (version as *const NeededVersion).as_ref() } {
                if needed.index == index {
                    return Some(needed.hash);
                }
                version = following(version, needed.next);
            }
            place = following(place, need.next);
        }
        None
    }
}

/// What lies `distance` behind `place`; 0 when there is nothing.
fn following(place: usize, distance: u32) -> usize {
    if distance == 0 {
        0
    } else {
        place.wrapping_add(distance as usize)
    }
}

/// The hash of a name in the GNU hash section.
pub(crate) const fn gnu_hash(name: &[u8]) -> u32 {
    let mut hash: u32 = 5381;
    let mut rest = name;
    while let [byte, behind @ ..] = rest {
        hash = hash.wrapping_mul(33).wrapping_add(*byte as u32);
        rest = behind;
    }
    hash
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_the_one_of_the_gnu_hash_section() {
        assert_eq!(gnu_hash(b""), 0x1505);
        assert_eq!(gnu_hash(b"printf"), 0x156b_2bb8);
    }
}

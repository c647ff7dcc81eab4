//! The functions that a 64-bit library has for others, see `elf(5)`.

use std::collections::BTreeSet;

/// A section of dynamic symbols.
const SHT_DYNSYM: u32 = 11;
const SECTION_BYTES: usize = 64;
const SYMBOL_BYTES: usize = 24;
/// Kinds of symbols: a function, one that is chosen when the library is loaded, and no kind.
const FUNCTIONS: [u8; 3] = [2, 10, 0];

/// Their names without versions; `None`: these bytes are no such library.
pub(in crate::cli) fn functions(library: &[u8]) -> Option<BTreeSet<String>> {
    if library.get(..6)? != b"\x7fELF\x02\x01" {
        return None;
    }
    let (start, count) = (long(library, 40)?, half(library, 60)?);
    let sections = library
        .get(start..)?
        .chunks_exact(SECTION_BYTES)
        .take(count);
    let sections: Vec<&[u8]> = sections.collect();
    let symbols = sections
        .iter()
        .find(|section| word(section, 4) == Some(SHT_DYNSYM))?;
    let strings = sections.get(usize::try_from(word(symbols, 40)?).ok()?)?;
    let (symbols, strings) = (content(library, symbols)?, content(library, strings)?);
    let defined = symbols
        .chunks_exact(SYMBOL_BYTES)
        .filter(|symbol| is_function(symbol));
    defined
        .map(|symbol| name(strings, usize::try_from(word(symbol, 0)?).ok()?))
        .collect()
}

fn content<'l>(library: &'l [u8], section: &[u8]) -> Option<&'l [u8]> {
    let (start, bytes) = (long(section, 24)?, long(section, 32)?);
    library.get(start..start.checked_add(bytes)?)
}

/// Defined here, and for others.
fn is_function(symbol: &[u8]) -> bool {
    const LOCAL: u8 = 0;
    let (info, section) = (symbol[4], half(symbol, 6));
    FUNCTIONS.contains(&(info & 15)) && info >> 4 != LOCAL && section != Some(0)
}

fn name(strings: &[u8], at: usize) -> Option<String> {
    let name = strings.get(at..)?.split(|byte| *byte == 0).next()?;
    String::from_utf8(name.to_vec()).ok()
}

fn half(bytes: &[u8], at: usize) -> Option<usize> {
    let half = bytes.get(at..at.checked_add(2)?)?.try_into().ok()?;
    Some(u16::from_le_bytes(half).into())
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    let word = bytes.get(at..at.checked_add(4)?)?.try_into().ok()?;
    Some(u32::from_le_bytes(word))
}

fn long(bytes: &[u8], at: usize) -> Option<usize> {
    let long = bytes.get(at..at.checked_add(8)?)?.try_into().ok()?;
    usize::try_from(u64::from_le_bytes(long)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::preloading::loaders;
    use crate::cli::preloading::object;

    #[test]
    fn what_is_no_library_has_none() {
        assert_eq!(functions(b""), None);
        assert_eq!(functions(b"#!/bin/sh"), None);
        // It has no sections at all.
        assert_eq!(functions(&object::empty(loaders::own().kind)), None);
        let own = std::fs::read("/proc/self/exe").unwrap();
        (0..own.len().min(5000)).for_each(|end| drop(functions(&own[..end])));
    }
}

//! Where the shim lies, and what it is made of.

use std::path::{Path, PathBuf};

use super::exit::{Exit, Failure};
use super::output::local_failed;
use super::preloading::object;

/// Environment variable that names the library, for builds and tests.
pub(super) const SHIM_VARIABLE: &str = "EVERWRITE_SHIM";
/// Its file name.
pub(super) const FILE_NAME: &str = "libeverwrite_shim.so";
/// Where packages put it.
const INSTALLED: [&str; 3] = [
    "/usr/lib/everwrite",
    "/usr/local/lib/everwrite",
    "/opt/everwrite/lib",
];

/// The library to preload: the one that is named, otherwise the nearest to this program.
pub(super) fn find() -> Result<PathBuf, Failure> {
    if let Some(named) = std::env::var_os(SHIM_VARIABLE).filter(|named| !named.is_empty()) {
        let named = PathBuf::from(named);
        return match named.is_file() {
            true => std::path::absolute(&named).map_err(|error| missing(&error.to_string())),
            false => Err(missing(&format!(
                "{SHIM_VARIABLE} names {}",
                named.display()
            ))),
        };
    }
    let candidates = candidates(std::env::current_exe().ok().as_deref());
    let found = candidates.into_iter().find(|path| path.is_file());
    found.ok_or_else(|| missing("it lies neither beside this program nor where packages put it"))
}

/// Beside the program, in the `lib` beside its `bin`, in the build directory beside its profile's,
/// then where packages put it.
fn candidates(program: Option<&Path>) -> Vec<PathBuf> {
    let beside = program.and_then(Path::parent);
    let above = beside.and_then(Path::parent);
    let near = [
        beside.map(Path::to_owned),
        above.map(|above| above.join("lib/everwrite")),
        above.map(|above| above.join("shim")),
    ];
    let installed = INSTALLED.into_iter().map(PathBuf::from);
    near.into_iter()
        .flatten()
        .chain(installed)
        .map(|directory| directory.join(FILE_NAME))
        .collect()
}

fn missing(cause: &str) -> Failure {
    Failure::negative(
        format!("the shim {FILE_NAME} is missing: {cause}"),
        format!("install it beside this program, or name it with {SHIM_VARIABLE}"),
    )
}

/// The shim as it is put in place for every program: sealed, and sure to need no other library.
pub(super) fn sealed() -> Result<Vec<u8>, Failure> {
    let path = find()?;
    let read = std::fs::read(&path).map_err(|error| local_failed("read", &path, &error))?;
    let damaged =
        |what: &str| Failure::negative(format!("{}: {what}", path.display()), "install it again");
    match needed(&read) {
        Some(0) => object::sealed(&read).ok_or_else(|| damaged("it is cut short")),
        Some(count) => Err(Failure::new(
            Exit::Refused,
            format!("{} needs {count} other libraries", path.display()),
            "where one of them is missing no program would start; build it by scripts/build",
        )),
        None => Err(damaged("it is no 64-bit ELF library")),
    }
}

/// Libraries that `elf` (64-bit, little endian) needs. The shim must need none: it is loaded into
/// every program, also into those that were linked against another C library.
pub(super) fn needed(elf: &[u8]) -> Option<usize> {
    const PT_DYNAMIC: u32 = 2;
    const DT_NEEDED: u64 = 1;
    if elf.get(..6)? != b"\x7fELF\x02\x01" {
        return None;
    }
    let table = usize::try_from(word(elf, 0x20)?).ok()?;
    let entry_bytes = usize::from(half(elf, 0x36)?);
    let entries = usize::from(half(elf, 0x38)?);
    let headers = (0..entries).map(|entry| table.saturating_add(entry * entry_bytes));
    let dynamic = headers
        .into_iter()
        .find(|&at| quad(elf, at) == Some(PT_DYNAMIC));
    let Some(header) = dynamic else {
        return Some(0);
    };
    let offset = usize::try_from(word(elf, header.checked_add(8)?)?).ok()?;
    let bytes = usize::try_from(word(elf, header.checked_add(32)?)?).ok()?;
    let section = elf.get(offset..offset.checked_add(bytes)?)?;
    let tags = section.chunks_exact(16).filter_map(|entry| word(entry, 0));
    Some(
        tags.take_while(|&tag| tag != 0)
            .filter(|&tag| tag == DT_NEEDED)
            .count(),
    )
}

fn half(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(
        bytes.get(at..at.checked_add(2)?)?.try_into().ok()?,
    ))
}

fn quad(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(
        bytes.get(at..at.checked_add(4)?)?.try_into().ok()?,
    ))
}

fn word(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(
        bytes.get(at..at.checked_add(8)?)?.try_into().ok()?,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_comes_first() {
        let found = candidates(Some(Path::new("/t/release/everwrite")));
        assert_eq!(found[0], Path::new("/t/release/libeverwrite_shim.so"));
        assert_eq!(found[2], Path::new("/t/shim/libeverwrite_shim.so"));
        assert!(found.contains(&"/usr/lib/everwrite/libeverwrite_shim.so".into()));
    }

    #[test]
    fn this_program_needs_the_c_library() {
        let program = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        assert!(needed(&program).unwrap() >= 1);
        assert_eq!(needed(b"#!/bin/sh"), None);
        for cut in [0, 4, 6, 40, 63, 200] {
            let _ = needed(&program[..cut]);
        }
    }
}

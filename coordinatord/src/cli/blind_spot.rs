//! Programs that a preload library can't see into, told by their files.

use std::ffi::OsStr;
use std::fmt;
use std::fs::File;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

/// Why the shim does not get into a program.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum BlindSpot {
    /// Linked statically: there is no loader to load anything else.
    Static,
    /// Made for another kind of processor than this shim.
    Foreign,
    /// Runs with the rights of its file: the loader ignores what the user wants preloaded.
    Privileged,
}

impl fmt::Display for BlindSpot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Static => "it is linked statically",
            Self::Foreign => "it is made for another kind of processor",
            Self::Privileged => "it runs with raised rights (setuid, setgid or capabilities)",
        })
    }
}

/// Bytes at the beginning of a file that tell what it is.
const HEAD_BYTES: usize = 4096;
/// Program headers looked at; the kernel takes no more than a page of them.
const SEGMENTS_MAX: usize = 73;

/// Looks at the program that `command` names, as a shell would find it. `None`: nothing is in the way,
/// or the file can't be read, and starting it will say why.
pub(super) fn of(command: &OsStr) -> Option<BlindSpot> {
    let path = find(command)?;
    let file = File::open(&path).ok()?;
    let mut head = Vec::new();
    (&file)
        .take(HEAD_BYTES as u64)
        .read_to_end(&mut head)
        .ok()?;
    match interpreter(&head) {
        // The kernel runs the interpreter with the user's own rights.
        Some(interpreter) => of_program(&File::open(interpreter).ok()?),
        None => of_program(&file),
    }
}

fn of_program(file: &File) -> Option<BlindSpot> {
    if is_privileged(file)? {
        return Some(BlindSpot::Privileged);
    }
    of_elf_file(file)
}

/// Looks at what kind of program a file holds, whoever runs it.
pub(super) fn of_elf_file(file: &File) -> Option<BlindSpot> {
    of_elf(|at, bytes| file.read_exact_at(bytes, at).ok())
}

/// A name without a slash is looked for in `PATH`.
fn find(command: &OsStr) -> Option<PathBuf> {
    if command.as_bytes().contains(&b'/') {
        return Some(PathBuf::from(command));
    }
    let paths = std::env::var_os("PATH")?;
    let candidates = std::env::split_paths(&paths).map(|directory| directory.join(command));
    candidates.into_iter().find(|path| is_executable(path))
}

fn is_executable(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|facts| facts.is_file() && facts.mode() & 0o111 != 0)
}

/// The interpreter of a script: `#! path argument`.
fn interpreter(head: &[u8]) -> Option<PathBuf> {
    let line = head
        .strip_prefix(b"#!")?
        .split(|byte| *byte == b'\n')
        .next()?;
    let path = line.trim_ascii().split(u8::is_ascii_whitespace).next()?;
    Some(PathBuf::from(OsStr::from_bytes(path)))
}

/// Would the kernel set `AT_SECURE` (`getauxval(3)`) for this user?
fn is_privileged(file: &File) -> Option<bool> {
    let facts = file.metadata().ok()?;
    let (user, group) = (rustix::process::getuid(), rustix::process::getgid());
    let as_user = facts.mode() & 0o4000 != 0 && facts.uid() != user.as_raw();
    let as_group = facts.mode() & 0o2010 == 0o2010 && facts.gid() != group.as_raw();
    let mut none: [u8; 0] = [];
    let capabilities = rustix::fs::fgetxattr(file, "security.capability", &mut none);
    let with_capabilities = capabilities.is_ok_and(|bytes| bytes > 0) && !user.is_root();
    Some(as_user || as_group || with_capabilities)
}

/// Looks at the headers of an ELF file; `read` fills a buffer from an offset, whole.
fn of_elf(read: impl Fn(u64, &mut [u8]) -> Option<()>) -> Option<BlindSpot> {
    const PT_INTERP: u32 = 3;
    let mut header = [0; 64];
    read(0, &mut header)?;
    if !header.starts_with(b"\x7fELF") {
        return None;
    }
    // Class and byte order, then the processor, against those of this very program.
    if header[4..6] != [2, 1] || half(&header, 18) != MACHINE {
        return Some(BlindSpot::Foreign);
    }
    let table = u64::from_le_bytes(header[32..40].try_into().ok()?);
    let (entry_bytes, entries) = (half(&header, 54), half(&header, 56));
    let is_loaded = (0..u64::from(entries)).take(SEGMENTS_MAX).any(|entry| {
        let mut kind = [0; 4];
        let at = table.saturating_add(entry * u64::from(entry_bytes));
        read(at, &mut kind).is_some() && u32::from_le_bytes(kind) == PT_INTERP
    });
    (!is_loaded).then_some(BlindSpot::Static)
}

/// `e_machine` of this program, `elf(5)`.
pub(super) const MACHINE: u16 = if cfg!(target_arch = "aarch64") {
    183
} else {
    62
};

fn half(bytes: &[u8; 64], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn elf(file: &[u8]) -> Option<BlindSpot> {
        of_elf(|at, bytes| {
            let at = usize::try_from(at).ok()?;
            bytes.copy_from_slice(file.get(at..at.checked_add(bytes.len())?)?);
            Some(())
        })
    }

    #[test]
    fn ordinary_programs_and_scripts_are_seen_into() {
        assert_eq!(of("ls".as_ref()), None);
        assert_eq!(of(std::env::current_exe().unwrap().as_os_str()), None);
        let home = tempfile::tempdir().unwrap();
        let script = home.path().join("script");
        fs::write(&script, "#! /bin/sh -e\ntrue\n").unwrap();
        assert_eq!(of(script.as_os_str()), None);
        assert_eq!(of("/does/not/exist".as_ref()), None);
    }

    #[test]
    fn a_program_without_a_loader_is_static() {
        let mut program = fs::read(std::env::current_exe().unwrap()).unwrap();
        assert_eq!(elf(&program), None);
        program[56..58].fill(0);
        assert_eq!(elf(&program), Some(BlindSpot::Static));
        program[18] ^= 1;
        assert_eq!(elf(&program), Some(BlindSpot::Foreign));
        for cut in 0..64 {
            assert_eq!(elf(&program[..cut]), None);
        }
    }

    #[test]
    fn any_headers_are_survived() {
        let mut program = fs::read(std::env::current_exe().unwrap()).unwrap();
        program.truncate(HEAD_BYTES);
        program[32..40].fill(0xff);
        program[54..58].fill(0xff);
        assert_eq!(elf(&program), Some(BlindSpot::Static));
    }

    #[test]
    fn raised_rights_are_seen_by_their_bits() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("program");
        fs::copy(std::env::current_exe().unwrap(), &path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o4755)).unwrap();
        assert_eq!(
            of(path.as_os_str()),
            None,
            "the user's own rights are not raised"
        );
        if rustix::process::getuid().is_root() {
            std::os::unix::fs::chown(&path, Some(12345), None).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o4755)).unwrap();
            assert_eq!(of(path.as_os_str()), Some(BlindSpot::Privileged));
        }
    }
}

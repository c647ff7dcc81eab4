//! Which protected file a process has open for writing, from `/proc/pid/fd`, see `proc(5)`.

use std::fs;
use std::path::{Path, PathBuf};

/// The first one below any of `directories`; `None` also when we may not look.
pub(in crate::cli) fn writable_below(pid: u32, directories: &[PathBuf]) -> Option<PathBuf> {
    let process = PathBuf::from(format!("/proc/{pid}"));
    let descriptors = fs::read_dir(process.join("fd")).ok()?.flatten();
    descriptors
        .filter_map(|descriptor| {
            let path = fs::read_link(descriptor.path()).ok()?;
            let below = directories.iter().any(|top| path.starts_with(top));
            let facts = process.join("fdinfo").join(descriptor.file_name());
            (below && is_for_writing(&facts)).then_some(path)
        })
        .next()
}

fn is_for_writing(facts: &Path) -> bool {
    let text = fs::read_to_string(facts).unwrap_or_default();
    flags(&text).is_some_and(|flags| flags & ACCESS_MODE != 0)
}

/// `O_ACCMODE`: 0 is for reading only.
const ACCESS_MODE: u32 = 3;

/// The flags that a file was opened with, in octal digits.
fn flags(text: &str) -> Option<u32> {
    let line = text.lines().find_map(|line| line.strip_prefix("flags:"))?;
    u32::from_str_radix(line.trim(), 8).ok()
}

#[cfg(test)]
mod tests {
    use std::slice;

    use super::*;

    #[test]
    fn only_what_can_be_written_counts() {
        let place = tempfile::tempdir().unwrap();
        let top = place.path().canonicalize().unwrap();
        let path = top.join("file");
        let found = || writable_below(std::process::id(), slice::from_ref(&top));
        let writing = fs::File::create(&path).unwrap();
        assert_eq!(found(), Some(path.clone()));
        drop(writing);
        let _reading = fs::File::open(&path).unwrap();
        assert_eq!(found(), None);
        assert_eq!(writable_below(u32::MAX, slice::from_ref(&top)), None);
    }

    #[test]
    fn flags_are_octal() {
        assert_eq!(
            flags("pos:\t0\nflags:\t0100001\nmnt_id:\t1\n"),
            Some(0o100_001)
        );
        assert_eq!(flags("pos:\t0\n"), None);
    }
}

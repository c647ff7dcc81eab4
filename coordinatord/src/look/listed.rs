//! What is in a directory.

use std::io;
use std::os::fd::AsFd;

use everwrite_protocol::ids::Name;
use rustix::fs::{Dir, FileType, Mode, OFlags, openat};

/// The names in a directory; `.` and `..` left out.
#[derive(Debug, Default)]
pub struct Listed {
    /// All, sorted.
    pub names: Vec<Name>,
    /// Those of directories, as far as the file system tells that in passing.
    pub directories: Vec<Name>,
}

impl Listed {
    /// Reads a directory, which may have been opened with `O_PATH`.
    pub fn of(directory: impl AsFd) -> io::Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let readable = openat(directory, ".", flags, Mode::empty())?;
        let mut listed = Self::default();
        for entry in Dir::read_from(readable)? {
            let entry = entry?;
            let Ok(name) = Name::new(entry.file_name().to_bytes()) else {
                continue;
            };
            if entry.file_type() == FileType::Directory {
                listed.directories.push(name.clone());
            }
            listed.names.push(name);
        }
        listed.names.sort_unstable();
        Ok(listed)
    }
}

//! The files of the log: names, creation, opening.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use bincode::{Decode, Encode};
use rustix::fs::FallocateFlags;

use super::frame::Chain;
use crate::store::StoreError;

/// Where a segment is closed and the next one begun, in bytes.
pub const SEGMENT_BYTES: u64 = 64 << 20;
/// Space is taken in steps of so many bytes ahead of the writer: an fdatasync then need not change
/// the file's size, and running out of space shows at a quiet moment.
const ALLOCATION_BYTES: u64 = 8 << 20;

/// What the SEGMENT frame holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode)]
pub struct SegmentHead {
    /// Whose log.
    pub source: [u8; 16],
    /// Number of the segment, from 1.
    pub number: u32,
    /// Chain at the end of the segment before; 0 in the first.
    pub previous: Chain,
}

/// The directory of segments.
#[derive(Clone, Debug)]
pub struct Segments {
    directory: PathBuf,
    /// Where one is closed.
    bytes: u64,
}

impl Segments {
    /// Segments in `directory`, which exists.
    pub fn new(directory: PathBuf) -> Self {
        let bytes = SEGMENT_BYTES;
        Self { directory, bytes }
    }

    /// The same, each closed at so many bytes; at most [`SEGMENT_BYTES`].
    pub fn closed_at(self, bytes: u64) -> Self {
        let bytes = bytes.min(SEGMENT_BYTES);
        Self { bytes, ..self }
    }

    /// Where a segment is closed.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Path of a segment.
    pub fn path(&self, number: u32) -> PathBuf {
        self.directory.join(format!("{number:08}.seg"))
    }

    /// Is there such a segment?
    pub fn exists(&self, number: u32) -> bool {
        self.path(number).exists()
    }

    /// Numbers of all segments, in order.
    pub fn numbers(&self) -> Result<Vec<u32>, StoreError> {
        let failed = |error| io_error("list the log", &self.directory, error);
        let mut numbers = Vec::new();
        for entry in std::fs::read_dir(&self.directory).map_err(failed)? {
            let name = entry.map_err(failed)?.file_name();
            let number = name.to_str().and_then(|name| name.strip_suffix(".seg"));
            numbers.extend(number.and_then(|number| number.parse::<u32>().ok()));
        }
        numbers.sort_unstable();
        Ok(numbers)
    }

    /// Opens for reading; `None`: there is none.
    pub fn open(&self, number: u32) -> Result<Option<File>, StoreError> {
        let path = self.path(number);
        match File::open(&path) {
            Ok(file) => Ok(Some(file)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(io_error("open the segment", &path, error)),
        }
    }

    /// Opens for the writer, made if need be.
    pub fn open_writable(&self, number: u32) -> io::Result<File> {
        let mut options = OpenOptions::new();
        options
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600);
        options.open(self.path(number))
    }

    /// Removes a segment that never got its first frame onto the disk.
    pub fn remove(&self, number: u32) -> Result<(), StoreError> {
        let path = self.path(number);
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(io_error("remove the empty segment", &path, error))
            }
            _ => Ok(()),
        }
    }

    /// Makes names of segments durable.
    pub fn sync_names(&self) -> io::Result<()> {
        File::open(&self.directory)?.sync_all()
    }
}

/// Takes space for at least `upto` bytes of a segment that is closed at `closed`, where `allocated` have been
/// taken. Best effort: without it writes still work, and say themselves when the disk is full.
pub fn allocate(file: &File, allocated: u64, upto: u64, closed: u64) -> u64 {
    if upto <= allocated {
        return allocated;
    }
    let target = upto
        .next_multiple_of(ALLOCATION_BYTES)
        .min(closed.max(upto));
    match rustix::fs::fallocate(file, FallocateFlags::empty(), allocated, target - allocated) {
        Ok(()) => target,
        Err(_) => allocated,
    }
}

/// An I/O error with what was tried on what.
pub fn io_error(action: &'static str, path: &Path, source: io::Error) -> StoreError {
    StoreError::Io {
        action,
        path: path.to_owned(),
        source,
    }
}

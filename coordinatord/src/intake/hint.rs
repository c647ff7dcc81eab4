//! What the intake tells: hints.
//!
//! A hint says where to look and who was there. It carries no data, decides nothing, may be early,
//! late, doubled, too wide or forged; whoever gets it looks at the file system.

use std::time::Instant;

use everwrite_protocol::ids::Name;
use everwrite_protocol::local::Inode;

/// Names a process image in the table of origins, see [`Intake::origin`](super::Intake::origin).
/// Never given twice while the daemon runs, so that an old hint can't name a newer program.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct OriginId(pub u32);

impl OriginId {
    /// Nobody in particular: what a scan found.
    pub const SCAN: Self = Self(0);
}

/// Who looks for changes. They grade each other: what only one of them saw tells what the others miss.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Source {
    /// The shim inside the program, or one of our own commands, which tells of what it did.
    Shim,
    /// The witness: the kernel tells of programs that the shim is not in.
    Kernel,
    /// The reconcile scan, which compares and announces nothing.
    Scan,
}

/// A set of sources: all that told of one thing.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Sources(u8);

impl Sources {
    /// Those of this set and of `other`.
    pub fn and(self, other: impl Into<Self>) -> Self {
        Self(self.0 | other.into().0)
    }

    /// Is this one among them?
    pub fn has(self, source: Source) -> bool {
        self.0 & Self::from(source).0 != 0
    }

    /// Did any of them tell before a scan looked?
    pub fn announced(self) -> bool {
        self.has(Source::Shim) || self.has(Source::Kernel)
    }
}

impl From<Source> for Sources {
    fn from(source: Source) -> Self {
        Self(1 << source as u8)
    }
}

/// One place to look at.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Hint {
    /// Who was there.
    pub origin: OriginId,
    /// Who tells of it.
    pub source: Source,
    /// When the hint was drained from the shim's segment; or when the kernel saw the last of it.
    pub at: Instant,
    /// Where to look, and for what.
    pub what: What,
}

impl Hint {
    /// Does it stand for hints that were lost? (Looking everywhere for the sake of latecomers does not:
    /// nobody told of them.)
    pub fn tells_of_loss(&self) -> bool {
        let known = self.origin != OriginId::SCAN || self.source == Source::Kernel;
        known && self.what == What::Everything
    }

    /// Might it tell of something that lay outside all roots until now?
    pub(crate) fn may_bring_in(&self) -> bool {
        matches!(
            self.what,
            What::Name { arrived: true, .. } | What::Names { .. } | What::Everything
        )
    }
}

/// Where to look, and for what. `birth` tells a reused inode apart (nanoseconds of the time of
/// birth, truncated); 0 when not known.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum What {
    /// Bytes `offset .. offset + length` may have changed; `length` is `u64::MAX` for "to the end".
    Write {
        /// The file.
        file: Inode,
        /// Its birth.
        birth: u64,
        /// First byte.
        offset: u64,
        /// Length in bytes.
        length: u64,
    },
    /// Bytes were appended; what lies beyond the known size is new.
    Append {
        /// The file.
        file: Inode,
        /// Its birth.
        birth: u64,
    },
    /// Content changed, no telling where.
    Whole {
        /// The file.
        file: Inode,
        /// Its birth.
        birth: u64,
    },
    /// Mode, owner, times or extended attributes changed.
    Attributes {
        /// The file.
        file: Inode,
        /// Its birth.
        birth: u64,
    },
    /// A range is mapped shared and writable: stores to it are not announced.
    Mapped {
        /// The file.
        file: Inode,
        /// Its birth.
        birth: u64,
        /// First byte.
        offset: u64,
        /// Length in bytes.
        length: u64,
    },
    /// A shared writable mapping of the file ended, or was flushed.
    Unmapped {
        /// The file.
        file: Inode,
        /// Its birth.
        birth: u64,
    },
    /// The file is mapped shared and writable: its pages are to be cleaned before it is read, so that the
    /// next store into them shows.
    Flush {
        /// The file.
        file: Inode,
    },
    /// The program asked for durability of the file, and is not known to have written anything since: a good
    /// place for a cut.
    Sync {
        /// The file.
        file: Inode,
    },
    /// A name may have come, gone, or changed what it stands for.
    Name {
        /// The directory that holds the name.
        directory: Inode,
        /// The name.
        name: Name,
        /// It may stand for something that lay outside all roots until now.
        arrived: bool,
    },
    /// A name moved, or two were exchanged. Both are to be looked at.
    Rename {
        /// Directory of the old name.
        old_directory: Inode,
        /// Old name.
        old_name: Name,
        /// Directory of the new name.
        new_directory: Inode,
        /// New name.
        new_name: Name,
    },
    /// Some names in the directory changed, no telling which.
    Names {
        /// The directory.
        directory: Inode,
    },
    /// Something was lost: look everywhere.
    Everything,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scan_announces_nothing() {
        let both = Sources::from(Source::Shim).and(Source::Kernel);
        assert!(both.has(Source::Shim) && both.has(Source::Kernel) && !both.has(Source::Scan));
        assert!(both.announced() && Sources::from(Source::Kernel).announced());
        assert!(!Sources::from(Source::Scan).announced());
        assert!(Sources::from(Source::Scan).and(Source::Shim).announced());
    }
}

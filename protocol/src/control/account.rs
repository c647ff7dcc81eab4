//! What the three sources saw of the changes, what they missed, and what looked like a disaster.

use serde::{Deserialize, Serialize};

use super::PathText;
use crate::ids::{SequenceNumber, Timestamp};

/// Changes of files and names, by who had announced them when they were found.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Changes {
    /// Only the shim had.
    pub shim: u64,
    /// Only the kernel witness had.
    pub kernel: u64,
    /// Shim and witness had.
    pub both: u64,
    /// Nobody had; a scan found them: misses.
    pub missed: u64,
}

impl Changes {
    /// All of them.
    pub fn all(&self) -> u64 {
        self.shim + self.kernel + self.both + self.missed
    }

    /// These and `other` together.
    pub fn and(self, other: Self) -> Self {
        Self {
            shim: self.shim + other.shim,
            kernel: self.kernel + other.kernel,
            both: self.both + other.both,
            missed: self.missed + other.missed,
        }
    }
}

/// Changes of the last hour and of the last day: `missed` of [`Changes::all`] is the miss rate.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Lately {
    /// The last hour.
    pub hour: Changes,
    /// The last 24 hours.
    pub day: Changes,
}

impl Lately {
    /// These and `other` together.
    pub fn and(self, other: Self) -> Self {
        Self {
            hour: self.hour.and(other.hour),
            day: self.day.and(other.day),
        }
    }
}

/// What a program's changes were announced by.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ProgramChanges {
    /// Its executable where that is known, otherwise its short name; empty: nobody knows who it was.
    pub program: String,
    /// Its changes since the coordinator's start.
    pub changes: Changes,
}

/// A change that a scan found and nobody had announced.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Miss {
    /// When it was found.
    pub at: Timestamp,
    /// Absolute path.
    pub path: PathText,
    /// Size in bytes as found; before, if it is gone.
    pub size: u64,
    /// What the two sides of the comparison say about it.
    pub cause: MissCause,
    /// The kernel witness was running when it was found.
    pub witness: bool,
}

/// What can be told of a change by looking at what it left.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MissCause {
    /// Content of a known file changed.
    Written,
    /// The same, by way of a shared mapping that is known to be open.
    Mapped,
    /// Content changed, or only the times did; they were set back.
    TimesSetBack,
    /// Mode, owner, times or extended attributes changed, and not the content.
    Attributes,
    /// A new file.
    Created,
    /// A new name for a file that is older than the scan before: moved or linked in from elsewhere.
    MovedIn,
    /// A new name for a file that was protected under another name.
    Renamed,
    /// The name is gone: removed, or moved out of all roots.
    Removed,
}

impl MissCause {
    /// For people.
    pub fn told(self) -> &'static str {
        match self {
            Self::Written => "written",
            Self::Mapped => "stored into by way of a mapping",
            Self::TimesSetBack => "its times were set back",
            Self::Attributes => "only its attributes changed",
            Self::Created => "created",
            Self::MovedIn => "moved or linked in from elsewhere",
            Self::Renamed => "renamed",
            Self::Removed => "removed, or moved out",
        }
    }
}

impl Miss {
    /// Why nobody told of it, as far as that can be inferred.
    pub fn suspicion(&self) -> String {
        let who = match (self.cause, self.witness) {
            (MissCause::Mapped, _) => "and stores are not announced",
            (_, false) => "no shim told of it, and no witness runs",
            (_, true) => "and neither shim nor witness told of it",
        };
        format!("{}, {who}", self.cause.told())
    }
}

/// Content that was told of and was gone before it could be read, so it is in no recovery point.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct CaptureGap {
    /// When that was found.
    pub at: Timestamp,
    /// Absolute path that the file had last.
    pub path: PathText,
    /// How it came.
    pub cause: GapCause,
}

/// How content came to be gone before it could be read.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum GapCause {
    /// A known file was removed or replaced after a write that had not been read yet. What it held before that is
    /// in the history.
    Died,
    /// A new file was removed before all of it had been read: nothing of it is in the history.
    Arriving,
}

impl GapCause {
    /// For people.
    pub fn told(self) -> &'static str {
        match self {
            Self::Died => "removed or replaced before its last writes were read",
            Self::Arriving => "new, and removed before all of it was read",
        }
    }
}

/// Many files deleted or overwritten by one process in a short time.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Burst {
    /// Its number among those of its receiver.
    pub id: u64,
    /// When it was noticed.
    pub at: Timestamp,
    /// Root's name.
    pub root: String,
    /// Name of the receiver that has the recovery point.
    pub receiver: String,
    /// The process's short name; empty when nobody knows who it was.
    pub program: String,
    /// Its executable.
    pub executable: String,
    /// Its number; 0 when it is not known.
    pub pid: u32,
    /// Its user.
    pub uid: u32,
    /// Files deleted so far.
    pub removed: u64,
    /// Files overwritten or replaced so far.
    pub overwritten: u64,
    /// Files that the root had before.
    pub files_before: u64,
    /// The last recovery point that holds none of it; `None` when there is none.
    pub point: Option<SequenceNumber>,
    /// Somebody has seen it.
    pub acknowledged: bool,
}

/// Body of `POST /api/v1/acknowledge`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct AcknowledgeRequest {
    /// Bursts that were noticed until then have been seen.
    pub until: Timestamp,
}

/// Answer to it.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct AcknowledgeAnswer {
    /// How many were acknowledged just now.
    pub acknowledged: u64,
}

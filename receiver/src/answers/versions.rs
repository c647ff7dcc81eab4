//! Versions of a path, as `log` tells them.

use everwrite_protocol::control::PathText;
use everwrite_protocol::ids::SequenceNumber;
use everwrite_protocol::wire::{LogEntry, VersionChange};
use serde::Serialize;

use super::records::OriginRecord;
use super::shown;

/// One of `log --json`.
#[derive(Serialize)]
pub struct Version {
    #[serde(skip_serializing_if = "Option::is_none")]
    receiver: Option<String>,
    path: PathText,
    point: SequenceNumber,
    time: String,
    change: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    other_path: Option<PathText>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes_stored: Option<u64>,
    size: u64,
    origin: OriginRecord,
}

impl Version {
    /// As the history tells it; `receiver` where there may be several.
    pub fn new(receiver: Option<&str>, entry: LogEntry) -> Self {
        let (other_path, bytes_stored) = match &entry.change {
            VersionChange::RenamedFrom { path } | VersionChange::RenamedTo { path } => {
                (Some(PathText::from_bytes(path)), None)
            }
            VersionChange::Modified { bytes } => (None, Some(*bytes)),
            _ => (None, None),
        };
        Self {
            receiver: receiver.map(str::to_owned),
            path: PathText::from_bytes(&entry.path),
            point: entry.sequence,
            time: shown::rfc3339(entry.time),
            change: word(&entry.change),
            other_path,
            bytes_stored,
            size: entry.size,
            origin: entry.origin.into(),
        }
    }
}

/// For people.
pub fn line(entry: &LogEntry) -> String {
    format!(
        "{}  @{:<8} {:<24} {:>10}  {:<28} {}",
        shown::cut_time(entry.time),
        entry.sequence.0,
        change(&entry.change),
        shown::bytes(entry.size),
        shown::origin(&entry.origin),
        shown::path(&entry.path)
    )
}

fn change(change: &VersionChange) -> String {
    match change {
        VersionChange::Modified { bytes } => format!("modified ({})", shown::bytes(*bytes)),
        VersionChange::RenamedFrom { path } => format!("renamed from {}", shown::path(path)),
        VersionChange::RenamedTo { path } => format!("renamed to {}", shown::path(path)),
        other => word(other).to_owned(),
    }
}

fn word(change: &VersionChange) -> &'static str {
    match change {
        VersionChange::Created => "created",
        VersionChange::Modified { .. } => "modified",
        VersionChange::Attributes => "attributes",
        VersionChange::RenamedFrom { .. } => "renamed-from",
        VersionChange::RenamedTo { .. } => "renamed-to",
        VersionChange::Replaced => "replaced",
        VersionChange::Deleted => "deleted",
    }
}

//! Parts that several commands' answers share.

use everwrite_protocol::control::PathText;
use everwrite_protocol::ids::{FileId, SequenceNumber};
use everwrite_protocol::wire::{Attributes, Kind, Origin, Point, TreeEntry};
use serde::Serialize;

use super::shown;

/// Who made a change.
#[derive(Serialize)]
pub struct OriginRecord {
    /// 0: found by a scan.
    pid: u32,
    uid: u32,
    started_ticks: u64,
    program: String,
    executable: String,
    cgroup: String,
}

impl From<Origin> for OriginRecord {
    fn from(origin: Origin) -> Self {
        let Origin {
            pid,
            uid,
            started_ticks,
            program,
            executable,
            cgroup,
        } = origin;
        Self {
            pid,
            uid,
            started_ticks,
            program,
            executable,
            cgroup,
        }
    }
}

/// A recovery point.
#[derive(Serialize)]
pub struct PointRecord {
    #[serde(skip_serializing_if = "Option::is_none")]
    receiver: Option<String>,
    point: SequenceNumber,
    time: String,
    stored_at: String,
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    checkpoint: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<String>,
}

impl PointRecord {
    /// Of this.
    pub fn new(receiver: Option<&str>, point: &Point) -> Self {
        Self {
            receiver: receiver.map(str::to_owned),
            point: point.sequence,
            time: shown::rfc3339(point.time),
            stored_at: shown::rfc3339(point.stored),
            kind: point.kind.name(),
            checkpoint: point.checkpoint.clone(),
            why: point.kind.why().map(str::to_owned),
        }
    }
}

/// A file as of some moment.
#[derive(Serialize)]
pub struct EntryRecord {
    path: PathText,
    file: FileId,
    kind: &'static str,
    mode: u32,
    uid: u32,
    gid: u32,
    user: Option<String>,
    group: Option<String>,
    size: u64,
    modified: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    target: Option<PathText>,
    /// Recovery point in which it last changed.
    changed: SequenceNumber,
}

impl EntryRecord {
    /// Of this.
    pub fn new(path: &[u8], entry: TreeEntry) -> Self {
        let Attributes {
            kind,
            mode,
            uid,
            gid,
            user,
            group,
            modified,
            size,
            target,
            ..
        } = entry.attributes;
        Self {
            path: PathText::from_bytes(path),
            file: entry.file,
            kind: shown::kind(kind),
            mode,
            uid,
            gid,
            user,
            group,
            size,
            modified: shown::rfc3339(modified),
            target: (!target.is_empty()).then(|| PathText::from_bytes(&target)),
            changed: entry.changed,
        }
    }
}

/// A file on one line, as `ls -l` has it.
pub fn line(entry: &TreeEntry) -> String {
    let attributes = &entry.attributes;
    let owner = |name: &Option<String>, id: u32| name.clone().unwrap_or_else(|| id.to_string());
    let target = match attributes.kind {
        Kind::Symlink => format!(" -> {}", shown::path(&attributes.target)),
        Kind::Directory => "/".to_owned(),
        _ => String::new(),
    };
    format!(
        "{} {:<8} {:<8} {:>10}  {}  {}{target}",
        shown::mode(attributes.kind, attributes.mode),
        owner(&attributes.user, attributes.uid),
        owner(&attributes.group, attributes.gid),
        shown::bytes(attributes.size),
        shown::time(attributes.modified),
        shown::path(entry.name.as_bytes())
    )
}

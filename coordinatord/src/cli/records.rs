//! Parts that several commands' JSON answers share.

use everwrite_protocol::control::PathText;
use everwrite_protocol::ids::{FileId, SequenceNumber};
use everwrite_protocol::wire::{Attributes, Origin, Point, TreeEntry};
use serde::Serialize;

use super::shown;

/// Who made a change.
#[derive(Serialize)]
pub(super) struct OriginRecord {
    /// 0: found by a scan.
    pid: u32,
    uid: u32,
    program: String,
    executable: String,
}

impl From<Origin> for OriginRecord {
    fn from(origin: Origin) -> Self {
        let Origin {
            pid,
            uid,
            program,
            executable,
            ..
        } = origin;
        Self {
            pid,
            uid,
            program,
            executable,
        }
    }
}

/// A recovery point.
#[derive(Serialize)]
pub(super) struct PointRecord {
    receiver: String,
    point: SequenceNumber,
    time: String,
    stored_at: String,
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    checkpoint: Option<String>,
}

impl PointRecord {
    pub(super) fn new(receiver: &str, point: &Point) -> Self {
        Self {
            receiver: receiver.to_owned(),
            point: point.sequence,
            time: shown::rfc3339(point.time),
            stored_at: shown::rfc3339(point.stored),
            kind: shown::cut_kind(point.kind),
            checkpoint: point.checkpoint.clone(),
        }
    }
}

/// A file as of some moment.
#[derive(Serialize)]
pub(super) struct EntryRecord {
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
    pub(super) fn new(path: &[u8], entry: TreeEntry) -> Self {
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

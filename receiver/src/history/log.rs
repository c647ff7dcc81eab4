//! Versions of a path.

use std::collections::HashMap;

use everwrite_protocol::ids::{FileId, SequenceNumber, Timestamp};
use everwrite_protocol::wire::{
    Answer, Kind, LogEntry, Origin, PAGE_ENTRIES_MAX, QueryError, VersionChange,
};

use super::path::{Paths, components, is_below};
use super::{Answered, Session};
use crate::catalog::{CatalogRead, EventRecord, OPEN, event_kind};
use crate::store::StoreError;

/// A file that a path led to, from one batch up to, not with, another.
#[derive(Clone, Copy, Debug)]
struct Span {
    file: FileId,
    since: SequenceNumber,
    until: SequenceNumber,
}

impl Session {
    pub(super) fn log(&self, path: &[u8], before: Option<SequenceNumber>, limit: u32) -> Answered {
        let read = self.catalog.read()?;
        let before = before.unwrap_or(SequenceNumber(OPEN as u64));
        let limit = (limit as usize).min(PAGE_ENTRIES_MAX);
        let spans = spans(&read, path)?;
        if spans.is_empty() {
            return Err(QueryError::NotFound);
        }
        let mut teller = Teller::new(&read, path, limit);
        if holds_directory(&read, &spans)? {
            read.events_before(before, |event| teller.event(&event))?;
        } else {
            teller.files(&spans, before)?;
        }
        Ok((Answer::Log(teller.entries), Vec::new()))
    }
}

/// Whom a path led to over all time.
fn spans(read: &CatalogRead<'_>, path: &[u8]) -> Result<Vec<Span>, StoreError> {
    let all = Span {
        file: FileId::TOP,
        since: SequenceNumber(0),
        until: SequenceNumber(OPEN as u64),
    };
    let mut spans = vec![all];
    for name in components(path) {
        let mut next = Vec::new();
        for span in spans {
            for holder in read.holders(span.file, name)? {
                let since = holder.since.max(span.since);
                let until = holder.until.min(span.until);
                if since < until {
                    next.push(Span {
                        file: holder.file,
                        since,
                        until,
                    });
                }
            }
        }
        spans = next;
    }
    Ok(spans)
}

fn holds_directory(read: &CatalogRead<'_>, spans: &[Span]) -> Result<bool, StoreError> {
    for span in spans {
        let found = read.attributes_at(span.file, span.since)?;
        if span.file == FileId::TOP || found.is_some_and(|(a, _)| a.kind == Kind::Directory) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Turns events into what people read.
pub(super) struct Teller<'r, 'c> {
    read: &'r CatalogRead<'c>,
    top: &'r [u8],
    limit: usize,
    paths: Paths<'r, 'c>,
    times: HashMap<SequenceNumber, Timestamp>,
    origins: HashMap<i64, Origin>,
    entries: Vec<LogEntry>,
}

impl<'r, 'c> Teller<'r, 'c> {
    pub(super) fn new(read: &'r CatalogRead<'c>, top: &'r [u8], limit: usize) -> Self {
        Self {
            read,
            top,
            limit,
            paths: Paths::new(read),
            times: HashMap::new(),
            origins: HashMap::new(),
            entries: Vec::new(),
        }
    }

    /// Versions of a path that led to files only.
    fn files(&mut self, spans: &[Span], before: SequenceNumber) -> Result<(), StoreError> {
        let mut events = Vec::new();
        for span in spans {
            // With the batch that ended it: that tells how the file left.
            let until = SequenceNumber(span.until.0.saturating_add(1)).min(before);
            let mut taken = 0;
            self.read
                .events_of_file(span.file, span.since, until, |event| {
                    events.push(event);
                    taken += 1;
                    Ok(taken < 4 * self.limit)
                })?;
        }
        events.sort_by_key(|event| std::cmp::Reverse((event.sequence, event.number)));
        events.dedup();
        for event in events {
            if !self.event(&event)? {
                break;
            }
        }
        Ok(())
    }

    /// Adds what an event means below the top path. `false`: that is enough.
    fn event(&mut self, event: &EventRecord) -> Result<bool, StoreError> {
        for (path, change) in self.changes(event)? {
            if !is_below(&path, self.top) {
                continue;
            }
            let gone = matches!(
                change,
                VersionChange::Deleted | VersionChange::RenamedTo { .. }
            );
            let entry = LogEntry {
                path,
                sequence: event.sequence,
                time: self.time(event.sequence)?,
                size: self.size(event, gone)?,
                change,
                origin: self.origin(event.origin)?,
            };
            self.entries.push(entry);
        }
        Ok(self.entries.len() < self.limit)
    }

    fn changes(
        &mut self,
        event: &EventRecord,
    ) -> Result<Vec<(Vec<u8>, VersionChange)>, StoreError> {
        let at = event.sequence;
        let earlier = SequenceNumber(at.0.saturating_sub(1));
        let place = match &event.place {
            Some((parent, name)) if event.what == event_kind::DELETED => {
                self.paths.below(*parent, name, earlier)?
            }
            Some((parent, name)) => self.paths.below(*parent, name, at)?,
            None => self.paths.of(event.file, at)?,
        };
        let Some(path) = place else {
            return Ok(Vec::new());
        };
        Ok(match event.what {
            event_kind::CREATED => vec![(path, VersionChange::Created)],
            event_kind::REPLACED => vec![(path, VersionChange::Replaced)],
            event_kind::DELETED => vec![(path, VersionChange::Deleted)],
            event_kind::MODIFIED => vec![(path, VersionChange::Modified { bytes: event.bytes })],
            event_kind::RENAMED => {
                let from = match &event.from {
                    Some((parent, name)) => self.paths.below(*parent, name, earlier)?,
                    None => None,
                };
                let from = from.unwrap_or_default();
                let to = (
                    from.clone(),
                    VersionChange::RenamedTo { path: path.clone() },
                );
                vec![(path, VersionChange::RenamedFrom { path: from }), to]
            }
            _ => vec![(path, VersionChange::Attributes)],
        })
    }

    pub(super) fn time(&mut self, sequence: SequenceNumber) -> Result<Timestamp, StoreError> {
        if let Some(time) = self.times.get(&sequence) {
            return Ok(*time);
        }
        let time = self
            .read
            .cut(sequence)?
            .map_or(Timestamp(0), |cut| cut.time);
        self.times.insert(sequence, time);
        Ok(time)
    }

    fn size(&self, event: &EventRecord, gone: bool) -> Result<u64, StoreError> {
        let at = if gone {
            event.sequence.0.saturating_sub(1)
        } else {
            event.sequence.0
        };
        let found = self.read.attributes_at(event.file, SequenceNumber(at))?;
        Ok(found.map_or(0, |(attributes, _)| attributes.size))
    }

    pub(super) fn origin(&mut self, id: i64) -> Result<Origin, StoreError> {
        if let Some(origin) = self.origins.get(&id) {
            return Ok(origin.clone());
        }
        let origin = self.read.origin(id)?.unwrap_or_else(unknown);
        self.origins.insert(id, origin.clone());
        Ok(origin)
    }
}

/// Nobody is known.
fn unknown() -> Origin {
    let (program, executable) = ("unknown".to_owned(), String::new());
    Origin {
        pid: 0,
        uid: 0,
        started_ticks: 0,
        program,
        executable,
        cgroup: String::new(),
    }
}

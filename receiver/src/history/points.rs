//! Recovery points.

use everwrite_protocol::ids::SequenceNumber;
use everwrite_protocol::wire::{Answer, At, PAGE_ENTRIES_MAX, Point, QueryError};

use super::{Answered, Session};
use crate::catalog::CutRecord;

impl Session {
    pub(super) fn resolve(&self, at: &At) -> Answered {
        let read = self.catalog.read()?;
        let cut = match at {
            At::Newest => read.newest_cut()?.ok_or(QueryError::TooEarly),
            At::Time(time) => read.cut_at_time(*time)?.ok_or(QueryError::TooEarly),
            At::Consistent(time) => read.consistent_cut_at(*time)?.ok_or(QueryError::TooEarly),
            At::Sequence(sequence) => read.cut(*sequence)?.ok_or(QueryError::NotFound),
            At::Checkpoint(name) => read
                .cut_of_checkpoint(name)?
                .ok_or(QueryError::UnknownCheckpoint),
        }?;
        Ok((Answer::Resolved(point(cut)), Vec::new()))
    }

    pub(super) fn points(&self, before: Option<SequenceNumber>, limit: u32) -> Answered {
        let limit = (limit as usize).min(PAGE_ENTRIES_MAX);
        let cuts = self.catalog.read()?.cuts_before(before, limit)?;
        Ok((
            Answer::Points(cuts.into_iter().map(point).collect()),
            Vec::new(),
        ))
    }
}

fn point(cut: CutRecord) -> Point {
    let CutRecord {
        sequence,
        time,
        stored,
        kind,
        checkpoint,
    } = cut;
    Point {
        sequence,
        time,
        stored,
        kind,
        checkpoint,
    }
}

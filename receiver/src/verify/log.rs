//! The log: every frame's checksums and place in the chain.

use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use everwrite_protocol::codec;

use super::{Part, Report};
use crate::catalog::{Catalog, CatalogState};
use crate::log::segment::SegmentHead;
use crate::log::{FramePosition, LogPosition, Scan, Segments, Step, read_frame, recover};
use crate::mirror::Layout;
use crate::store::StoreError;

/// A writer at work may show half a frame; what is damaged stays so.
const ATTEMPTS: usize = 3;

pub(super) fn verify(layout: &Layout, report: &mut Report) -> Result<(), StoreError> {
    let segments = Segments::new(layout.log());
    let catalog = Catalog::open_reader(&layout.catalog())?;
    let state = catalog.state()?;
    let mut from = Some(LogPosition::START);
    while let Some(start) = from {
        from = applied_part(&segments, start, &state, report)?;
    }
    newest_part(&segments, &catalog, report)
}

/// From `start` up to what is applied, or to damage. Where to go on behind the damage.
fn applied_part(
    segments: &Segments,
    start: LogPosition,
    state: &CatalogState,
    report: &mut Report,
) -> Result<Option<LogPosition>, StoreError> {
    let mut scan = Scan::new(segments.clone(), start);
    while scan.position().frame() < state.position.frame() {
        let (at, what) = match scan.step()? {
            Step::Frame(_) => {
                report.frames += 1;
                continue;
            }
            Step::Bad(at, error) => (at, error.to_string()),
            Step::End => (scan.position().frame(), "it ends too early".to_owned()),
        };
        damaged(&segments.path(at.segment), at.offset.into(), &what, report);
        return next_segment(segments, at, state);
    }
    Ok(None)
}

/// The segment behind a damaged one, which says itself what came before it.
fn next_segment(
    segments: &Segments,
    bad: FramePosition,
    state: &CatalogState,
) -> Result<Option<LogPosition>, StoreError> {
    let mut body = Vec::new();
    for segment in bad.segment + 1..=state.position.segment {
        let Some(file) = segments.open(segment)? else {
            continue;
        };
        let read = read_frame(&file, 0, &mut body).map_err(|source| StoreError::Io {
            action: "read the log",
            path: segments.path(segment),
            source,
        })?;
        if let (Ok(_), Ok(head)) = (read, codec::decode::<SegmentHead>(&body)) {
            let (offset, chain) = (0, head.previous);
            return Ok(Some(LogPosition {
                segment,
                offset,
                chain,
            }));
        }
    }
    Ok(None)
}

/// Behind what is applied there may be a torn end, which is no damage.
fn newest_part(
    segments: &Segments,
    catalog: &Catalog,
    report: &mut Report,
) -> Result<(), StoreError> {
    let mut attempt = 1;
    loop {
        let state = catalog.state()?;
        match recover(segments, state.position, state.applied, false) {
            Err(StoreError::Damaged { .. }) if attempt < ATTEMPTS => attempt += 1,
            Err(StoreError::Damaged { path, offset, what }) => {
                damaged(&path, offset, &what, report);
                return Ok(());
            }
            recovered => return recovered.map(drop),
        }
    }
}

fn damaged(segment: &Path, offset: u64, what: &str, report: &mut Report) {
    let name = segment.file_name().unwrap_or_default().as_bytes();
    let what = format!("damaged at byte {offset}: {what}");
    report.differs(Part::Log, &[b"log/", name].concat(), what);
}

//! Reads the next window of batches from the log.

use everwrite_protocol::codec;
use everwrite_protocol::ids::SequenceNumber;
use everwrite_protocol::wire::{BackupCommand, Part};

use super::plan::before::{WindowBatch, WindowPart};
use crate::log::{Frame, FrameKind, LogPosition, Scan, Segments, Step, StoredCut};
use crate::store::StoreError;

/// Payload after which a window is closed, in bytes.
const WINDOW_BYTES: u64 = 32 << 20;
/// Commands after which a window is closed: they are all in memory.
const WINDOW_COMMANDS: usize = 16_384;

/// Batches that are applied together.
#[derive(Debug)]
pub(super) struct Window {
    /// The batches, in order; at least one.
    pub batches: Vec<WindowBatch>,
    /// Behind the last one's CUT.
    pub end: LogPosition,
}

/// Which batches to take.
#[derive(Clone, Copy, Debug)]
pub(super) enum Bound {
    /// As many as a window may have, up to this one, which is stored.
    UpTo(SequenceNumber),
    /// Exactly up to this one: the window was under way before.
    Exactly(SequenceNumber),
}

/// Reads a window from `start`, behind the CUT of the last applied batch. `None`: nothing to apply.
pub(super) fn read_window(
    segments: &Segments,
    start: LogPosition,
    applied: SequenceNumber,
    bound: Bound,
) -> Result<Option<Window>, StoreError> {
    let (Bound::UpTo(last) | Bound::Exactly(last)) = bound;
    let mut reader = Reader {
        segments,
        scan: Scan::new(segments.clone(), start),
        next: applied.next(),
        parts: Vec::new(),
        bytes: 0,
        commands: 0,
    };
    let mut window = Window {
        batches: Vec::new(),
        end: start,
    };
    while reader.next <= last {
        let batch = reader.batch()?;
        let exact = matches!(bound, Bound::Exactly(_));
        // A copy reads what was before its batch, so before the batch must be before the window.
        if !exact && !window.batches.is_empty() && has_copy(&batch) {
            break;
        }
        window.batches.push(batch);
        window.end = reader.scan.position();
        if !exact && (reader.bytes >= WINDOW_BYTES || reader.commands >= WINDOW_COMMANDS) {
            break;
        }
    }
    Ok((!window.batches.is_empty()).then_some(window))
}

struct Reader<'s> {
    segments: &'s Segments,
    scan: Scan,
    next: SequenceNumber,
    parts: Vec<WindowPart>,
    bytes: u64,
    commands: usize,
}

impl Reader<'_> {
    /// The next batch; it is known to be complete in the log.
    fn batch(&mut self) -> Result<WindowBatch, StoreError> {
        loop {
            let at = self.scan.position();
            match self.scan.step()? {
                Step::Frame(frame) if frame.header.sequence == self.next.0 => {
                    if let Some(batch) = take(frame, &mut self.parts)
                        .map_err(|what| damaged(self.segments, at, what))?
                    {
                        self.count(&batch);
                        self.next = self.next.next();
                        return Ok(batch);
                    }
                }
                Step::Frame(_) => {}
                Step::End => {
                    return Err(damaged(self.segments, at, "the log ends too early".into()));
                }
                Step::Bad(_, error) => return Err(damaged(self.segments, at, error.to_string())),
            }
        }
    }

    fn add(&mut self, bytes: u64) {
        self.bytes = self.bytes.saturating_add(bytes);
    }

    fn count(&mut self, batch: &WindowBatch) {
        self.commands += batch
            .parts
            .iter()
            .map(|part| part.part.commands.len())
            .sum::<usize>();
        for command in batch.parts.iter().flat_map(|part| &part.part.commands) {
            match command {
                BackupCommand::Write { length, .. } => self.add(u64::from(*length)),
                // As long as the source says, whatever there is to be copied.
                BackupCommand::Copy { length, .. } => self.add(*length),
                _ => {}
            }
        }
    }
}

/// Adds a frame of the batch; with its CUT the batch is complete.
fn take(frame: Frame<'_>, parts: &mut Vec<WindowPart>) -> Result<Option<WindowBatch>, String> {
    match frame.header.kind {
        FrameKind::Data => {
            let part: Part = codec::decode(frame.encoded).map_err(|error| error.to_string())?;
            // A batch whose cut never came was begun anew.
            if part.part == 0 {
                parts.clear();
            }
            parts.push(WindowPart {
                part,
                frame: frame.at,
            });
            Ok(None)
        }
        FrameKind::Cut => {
            let cut: StoredCut = codec::decode(frame.encoded).map_err(|error| error.to_string())?;
            // A cut without parts comes after parts of an attempt that was given up, at the most.
            parts.truncate(cut.cut.parts as usize);
            Ok(Some(WindowBatch {
                cut,
                parts: std::mem::take(parts),
            }))
        }
        _ => Ok(None),
    }
}

fn has_copy(batch: &WindowBatch) -> bool {
    let mut commands = batch.parts.iter().flat_map(|part| &part.part.commands);
    commands.any(|command| matches!(command, BackupCommand::Copy { .. }))
}

fn damaged(segments: &Segments, at: LogPosition, what: String) -> StoreError {
    StoreError::Damaged {
        path: segments.path(at.segment),
        offset: u64::from(at.offset),
        what,
    }
}

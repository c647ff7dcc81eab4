//! What the log holds after a crash, and the repair of its end.
//!
//! The scan begins where the catalog says that everything before is applied. The first bytes that are
//! no frame are either
//!
//! - a **torn end**: written after the last sync, so nothing in it was acknowledged. It is zeroed, and
//!   the writer goes on there; or
//! - **damage** of what was once durable. It shows by a later frame which says that the log was
//!   durable beyond the bad place. That is an alarm: nothing is changed.

use std::fs::File;
use std::os::unix::fs::FileExt;

use everwrite_protocol::codec;
use everwrite_protocol::ids::SequenceNumber;

use super::frame::{ALIGNMENT, FrameKind, FramePosition, HEADER_BYTES, Header};
use super::scan::{Frame, LogPosition, Scan, Step, read_frame, read_up_to};
use super::segment::{SEGMENT_BYTES, Segments, io_error};
use super::{StoredCut, WindowMark};
use crate::store::StoreError;

/// What of a window must not be done again, since what it was made from is gone.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Phase {
    /// Nothing yet.
    Announced,
    /// Files made of other files' bytes are built.
    Built,
    /// Closed names are gone from the mirror.
    Detached,
}

impl Phase {
    /// As the part number of a PHASE frame.
    pub fn to_part(self) -> u32 {
        match self {
            Self::Announced => 0,
            Self::Built => 1,
            Self::Detached => 2,
        }
    }

    fn from_part(part: u32) -> Self {
        match part {
            0 => Self::Announced,
            1 => Self::Built,
            _ => Self::Detached,
        }
    }
}

/// A window whose pre-images are durable: the mirror may be in the middle of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PendingWindow {
    /// Its last batch.
    pub last: SequenceNumber,
    /// Its PREIMAGE frames, in order.
    pub preimages: Vec<FramePosition>,
    /// How far the mirror has come with it.
    pub phase: Phase,
}

/// What the log holds beyond the catalog.
#[derive(Debug)]
pub struct Recovered {
    /// Where the writer goes on.
    pub end: LogPosition,
    /// The last complete batch.
    pub stored: SequenceNumber,
    /// The window that was under way, if any.
    pub window: Option<PendingWindow>,
}

/// Scans from `start`, behind the CUT of batch `applied`. With `repair` a torn end is cut off; without
/// it (a reader beside a writer at work) the log is left alone.
pub fn recover(
    segments: &Segments,
    start: LogPosition,
    applied: SequenceNumber,
    repair: bool,
) -> Result<Recovered, StoreError> {
    let mut scan = Scan::new(segments.clone(), start);
    let mut found = Found::new(applied);
    while let Step::Frame(frame) = scan.step()? {
        found.take(&frame);
    }
    let end = scan.position();
    refuse_damage(segments, end.frame())?;
    if repair {
        cut_off(segments, end)?;
    }
    Ok(Recovered {
        end,
        stored: found.stored,
        window: found.window,
    })
}

struct Found {
    applied: SequenceNumber,
    stored: SequenceNumber,
    preimages: Vec<(SequenceNumber, FramePosition)>,
    window: Option<PendingWindow>,
}

impl Found {
    fn new(applied: SequenceNumber) -> Self {
        Self {
            applied,
            stored: applied,
            preimages: Vec::new(),
            window: None,
        }
    }

    fn take(&mut self, frame: &Frame<'_>) {
        let sequence = SequenceNumber(frame.header.sequence);
        match frame.header.kind {
            FrameKind::Cut if sequence == self.stored.next() => self.stored = sequence,
            // Frames of windows that are applied already lie behind the catalog's position, too.
            FrameKind::Preimage if sequence > self.applied => {
                if frame.header.part == 0 {
                    self.preimages.clear();
                }
                self.preimages.push((sequence, frame.at));
            }
            FrameKind::Window if sequence > self.applied => self.window(sequence, frame.encoded),
            FrameKind::Phase if sequence > self.applied => {
                if let Some(window) = self.window.as_mut().filter(|w| w.last == sequence) {
                    window.phase = window.phase.max(Phase::from_part(frame.header.part));
                }
            }
            _ => {}
        }
    }

    fn window(&mut self, last: SequenceNumber, encoded: &[u8]) {
        let count = codec::decode::<WindowMark>(encoded).map_or(0, |mark| mark.preimages as usize);
        let mut preimages: Vec<_> = self
            .preimages
            .iter()
            .filter(|(of, _)| *of == last)
            .map(|(_, at)| *at)
            .collect();
        preimages.truncate(count);
        self.window = Some(PendingWindow {
            last,
            preimages,
            phase: Phase::Announced,
        });
    }
}

/// An error if what was once durable is missing: a whole segment, or a frame before one which shows
/// that the log was durable beyond it.
fn refuse_damage(segments: &Segments, bad: FramePosition) -> Result<(), StoreError> {
    let damaged = |what: &str| StoreError::Damaged {
        path: segments.path(bad.segment),
        offset: u64::from(bad.offset),
        what: what.to_owned(),
    };
    if bad.offset > 0 && !segments.exists(bad.segment) {
        return Err(damaged("the segment is missing"));
    }
    for number in segments
        .numbers()?
        .into_iter()
        .filter(|number| *number >= bad.segment)
    {
        let from = if number == bad.segment { bad.offset } else { 0 };
        let Some(file) = segments.open(number)? else {
            continue;
        };
        let beyond = durable_beyond(&file, from, bad)
            .map_err(|error| io_error("read the log", &segments.path(number), error))?;
        if beyond {
            return Err(damaged(
                "no frame, though the log was once on the disk beyond it",
            ));
        }
    }
    Ok(())
}

/// Is there a CUT from `offset` on that was written when the log was durable beyond `bad`?
fn durable_beyond(file: &File, offset: u32, bad: FramePosition) -> std::io::Result<bool> {
    let mut window = vec![0u8; 1 << 20];
    let mut body = Vec::new();
    let mut at = u64::from(offset);
    while at < SEGMENT_BYTES {
        let got = read_up_to(file, &mut window, at)?;
        if got < HEADER_BYTES {
            break;
        }
        for start in (0..=got - HEADER_BYTES).step_by(ALIGNMENT as usize) {
            if is_cut(&window[start..]) && witnesses(file, at + start as u64, bad, &mut body)? {
                return Ok(true);
            }
        }
        at += ((got - HEADER_BYTES) as u64 / ALIGNMENT + 1) * ALIGNMENT;
    }
    Ok(false)
}

fn is_cut(bytes: &[u8]) -> bool {
    bytes.first_chunk::<HEADER_BYTES>().is_some_and(|header| {
        header[0] != 0 && Header::decode(header).is_ok_and(|header| header.kind == FrameKind::Cut)
    })
}

fn witnesses(
    file: &File,
    at: u64,
    bad: FramePosition,
    body: &mut Vec<u8>,
) -> std::io::Result<bool> {
    Ok(read_frame(file, at as u32, body)?.is_ok()
        && codec::decode::<StoredCut>(body).is_ok_and(|stored| stored.durable > bad))
}

/// Zeroes what follows the last good frame, and removes a segment that never got its first one. What is left is
/// then on the disk: a process that was killed may have written what it had not synced, and what is found is
/// told to be stored.
fn cut_off(segments: &Segments, end: LogPosition) -> Result<(), StoreError> {
    let path = segments.path(end.segment);
    let failed = |error| io_error("cut off the torn end of the log", &path, error);
    if let Some(file) = segments.open(end.segment)? {
        let clean = is_clean(&file, end.offset).map_err(failed)?;
        let file = segments.open_writable(end.segment).map_err(failed)?;
        if !clean {
            file.set_len(u64::from(end.offset)).map_err(failed)?;
        }
        file.sync_all().map_err(failed)?;
    }
    for number in segments.numbers()? {
        if number > end.segment {
            segments.remove(number)?;
        }
    }
    segments.sync_names().map_err(failed)
}

/// Are there only zeros from `offset` on?
fn is_clean(file: &File, offset: u32) -> std::io::Result<bool> {
    let mut buffer = vec![0u8; 1 << 20];
    let mut at = u64::from(offset);
    loop {
        match file.read_at(&mut buffer, at)? {
            0 => return Ok(true),
            got if buffer[..got].iter().any(|byte| *byte != 0) => return Ok(false),
            got => at += got as u64,
        }
    }
}

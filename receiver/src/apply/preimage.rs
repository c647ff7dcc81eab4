//! Saves bytes that a window is about to overwrite and that the log does not have.
//!
//! They are read from the mirror while it is still untouched and written to the log; the WINDOW frame
//! after them makes the window's plan binding. After a crash they are taken from the log: the mirror
//! may be half new by then and must not be read again.

use everwrite_protocol::codec;
use everwrite_protocol::ids::{FileId, SequenceNumber};
use everwrite_protocol::wire::PAYLOAD_BYTES_MAX;
use rustix::fs::OFlags;
use std::fs::File;
use std::os::fd::AsFd;

use super::plan::Plan;
use super::plan::content::Place;
use crate::catalog::Needs;
use crate::log::content::LogContent;
use crate::log::{
    FrameKind, FramePosition, LogWriter, NewFrame, PreimageEntry, Preimages, WindowMark,
};
use crate::mirror::{Directories, Homing, data_ranges, is_absent, open_file, read_at};
use crate::store::StoreError;

/// Frames written with one sync.
const FRAMES_AT_ONCE: usize = 8;
/// Entries in one frame, so that its encoded part stays far below its limit.
const ENTRIES_MAX: usize = 16_384;

/// A range of a file as it is before the window.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Need {
    file: FileId,
    offset: u64,
    length: u64,
}

fn needs(plan: &Plan) -> impl Iterator<Item = Need> + '_ {
    plan.superseded
        .iter()
        .filter_map(|row| match row.piece.place {
            Place::Before(file, offset) => Some(Need {
                file,
                offset,
                length: row.piece.length,
            }),
            Place::Log(..) | Place::Zeros => None,
        })
}

/// Reads what the plan needs, writes it and the WINDOW frame, durably. Returns the PREIMAGE frames.
pub(super) fn save<H: Homing>(
    plan: &Plan,
    last: SequenceNumber,
    directories: &mut Directories<'_, H>,
    writer: &LogWriter,
) -> Result<Vec<FramePosition>, StoreError> {
    let mut saver = Saver::new(last, writer);
    let mut open: Option<(FileId, Option<File>)> = None;
    for (index, need) in needs(plan).enumerate() {
        if open.as_ref().is_none_or(|(file, _)| *file != need.file) {
            open = Some((need.file, open_source(directories, need.file)?));
        }
        if let Some((_, Some(file))) = &open {
            saver.need(index as u32, need, file)?;
        }
    }
    saver.finish()
}

/// `None`: the file is missing from the mirror. Its bytes are lost then, and read as zeros.
fn open_source<H: Homing>(
    directories: &mut Directories<'_, H>,
    file: FileId,
) -> Result<Option<File>, StoreError> {
    let opened = directories.find(file).and_then(|spot| {
        Ok(open_file(
            spot.directory.as_fd(),
            &spot.name,
            OFlags::RDONLY,
        )?)
    });
    match opened {
        Ok(opened) => Ok(Some(opened)),
        Err(error) if is_absent(&error) => {
            tracing::error!(
                file = file.0,
                "a file of the mirror is missing; what it held before is lost (did something else change the mirror?)"
            );
            Ok(None)
        }
        Err(source) => Err(failed(file, source)),
    }
}

fn failed(file: FileId, source: std::io::Error) -> StoreError {
    let path = format!("mirror file {}", file.0).into();
    StoreError::Io {
        action: "read what is about to be overwritten",
        path,
        source,
    }
}

struct Saver<'w> {
    last: SequenceNumber,
    writer: &'w LogWriter,
    entries: Vec<PreimageEntry>,
    payload: Vec<u8>,
    frames: Vec<NewFrame>,
    count: u32,
    written: Vec<FramePosition>,
}

impl<'w> Saver<'w> {
    fn new(last: SequenceNumber, writer: &'w LogWriter) -> Self {
        let (entries, payload, frames) = (Vec::new(), Vec::new(), Vec::new());
        Self {
            last,
            writer,
            entries,
            payload,
            frames,
            count: 0,
            written: Vec::new(),
        }
    }

    fn need(&mut self, index: u32, need: Need, file: &File) -> Result<(), StoreError> {
        let range = need.offset..need.offset + need.length;
        let ranges = data_ranges(file, range, PAYLOAD_BYTES_MAX as u64)
            .map_err(|error| failed(need.file, error))?;
        for range in ranges {
            let length = (range.end - range.start) as usize;
            if self.payload.len() + length > PAYLOAD_BYTES_MAX || self.entries.len() >= ENTRIES_MAX
            {
                self.close_frame()?;
            }
            let start = self.payload.len();
            self.payload.resize(start + length, 0);
            read_at(file, &mut self.payload[start..], range.start)
                .map_err(|error| failed(need.file, error))?;
            self.entries.push(PreimageEntry {
                need: index,
                offset: range.start - need.offset,
                length: length as u32,
            });
        }
        Ok(())
    }

    fn close_frame(&mut self) -> Result<(), StoreError> {
        if self.entries.is_empty() {
            return Ok(());
        }
        let entries = Preimages {
            entries: std::mem::take(&mut self.entries),
        };
        let payload = std::mem::take(&mut self.payload);
        let encoded = encode(&entries)?;
        self.frames.push(NewFrame {
            part: self.count,
            raw_bytes: payload.len(),
            payload,
            ..NewFrame::bare(FrameKind::Preimage, self.last.0, encoded)
        });
        self.count += 1;
        if self.frames.len() >= FRAMES_AT_ONCE {
            let frames = std::mem::take(&mut self.frames);
            self.written.extend(self.writer.write(frames)?);
        }
        Ok(())
    }

    fn finish(mut self) -> Result<Vec<FramePosition>, StoreError> {
        self.close_frame()?;
        let mark = encode(&WindowMark {
            preimages: self.count,
        })?;
        self.frames
            .push(NewFrame::bare(FrameKind::Window, self.last.0, mark));
        self.written.extend(self.writer.write(self.frames)?);
        self.written.truncate(self.count as usize);
        Ok(self.written)
    }
}

fn encode(value: &impl bincode::Encode) -> Result<Vec<u8>, StoreError> {
    codec::encode(value).map_err(|error| StoreError::Io {
        action: "encode a frame",
        path: "log".into(),
        source: std::io::Error::other(error),
    })
}

/// Where the saved bytes are, for each need of the plan.
pub(super) fn load(
    plan: &Plan,
    frames: &[FramePosition],
    content: &mut LogContent,
) -> Result<Needs, StoreError> {
    let mut found: Needs = vec![Vec::new(); needs(plan).count()];
    for frame in frames {
        let mut inner = 0;
        for entry in content.preimages(*frame)?.entries {
            if let Some(extents) = found.get_mut(entry.need as usize) {
                extents.push((entry.offset, entry.length, *frame, inner));
            }
            inner += entry.length;
        }
    }
    Ok(found)
}

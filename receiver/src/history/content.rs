//! Content of a file at any moment: its base, overlaid with what was superseded since.

use std::fs::File;
use std::io::ErrorKind;
use std::ops::Range;
use std::os::fd::AsFd;

use everwrite_protocol::ids::{FileId, SequenceNumber};
use everwrite_protocol::wire::{Answer, ContentExtent, Kind, PAYLOAD_BYTES_MAX, QueryError};
use rustix::fs::OFlags;

use super::overlay::Overlay;
use super::{Answered, Session, invalid};
use crate::apply::plan::before::{Before, Placed};
use crate::apply::plan::content::{ContentBefore, Place};
use crate::catalog::CatalogRead;
use crate::log::Segments;
use crate::log::content::LogContent;
use crate::mirror::{Directories, SourceDirectory, data_ranges, is_absent, open_file, read_at};
use crate::store::StoreError;

/// The overlay is worked out for so many bytes of a file at a time, and kept for the next question.
const REGION_BYTES: u64 = 256 << 20;
/// Most extents in one answer, so that its encoded part stays below its limit.
const EXTENTS_MAX: usize = 16_384;

/// Reads content out of mirror, objects and log.
#[derive(Debug)]
pub(super) struct ContentReader {
    log: LogContent,
    kept: Option<(OverlayKey, Overlay)>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct OverlayKey {
    file: FileId,
    at: SequenceNumber,
    applied: SequenceNumber,
    region: u64,
}

/// Data found, up to a payload full.
#[derive(Debug, Default)]
struct Found {
    extents: Vec<ContentExtent>,
    payload: Vec<u8>,
}

impl Found {
    fn room(&self) -> u64 {
        match self.extents.len() < EXTENTS_MAX {
            true => (PAYLOAD_BYTES_MAX - self.payload.len()) as u64,
            false => 0,
        }
    }

    /// Adds data from `offset` on, as `fill` puts it into the payload.
    fn add<E>(
        &mut self,
        offset: u64,
        length: u64,
        fill: impl FnOnce(&mut [u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        let start = self.payload.len();
        self.payload.resize(start + length as usize, 0);
        fill(&mut self.payload[start..])?;
        match self.extents.last_mut() {
            Some(last) if last.offset + u64::from(last.length) == offset => {
                last.length += length as u32;
            }
            _ => self.extents.push(ContentExtent {
                offset,
                length: length as u32,
            }),
        }
        Ok(())
    }
}

/// What history is painted over.
enum Base {
    /// The inode, in mirror, objects or staging.
    Inode(File),
    /// The log alone.
    Log,
}

impl Session {
    pub(super) fn read(&mut self, file: FileId, at: SequenceNumber, offset: u64) -> Answered {
        let held = self.lock.shared()?;
        let read = self.catalog.read()?;
        let attributes = read.attributes_at(file, at)?.ok_or(QueryError::NotFound)?.0;
        // While it was staged no recovery point showed it, and nothing was kept for one.
        if read.names_at(file, at)?.is_empty() {
            return Err(QueryError::NotFound);
        }
        if attributes.kind != Kind::Regular {
            return Err(invalid("only regular files have content"));
        }
        let size = attributes.size;
        let offset = offset.min(size);
        let region = offset / REGION_BYTES;
        let range = offset..size.min((region + 1) * REGION_BYTES);
        let key = OverlayKey {
            file,
            at,
            applied: read.applied(),
            region,
        };
        let overlay = self.content.overlay(&read, key)?;
        let base = open_base(&self.directory, &read, file)?;
        let mut found = Found::default();
        let mut end = range.end;
        for (piece, place) in overlay.seen(range) {
            let reached = match place {
                Some(Place::Log(frame, inner)) => {
                    self.content.take_log(&piece, frame, inner, &mut found)?
                }
                Some(_) => piece.end,
                None => self
                    .content
                    .take_base(&read, &base, file, &piece, &mut found)?,
            };
            if reached < piece.end {
                end = reached;
                break;
            }
        }
        drop(held);
        Ok((
            Answer::Read {
                extents: found.extents,
                end,
                size,
            },
            found.payload,
        ))
    }
}

impl ContentReader {
    pub(super) fn new(segments: Segments) -> Self {
        Self {
            log: LogContent::new(segments),
            kept: None,
        }
    }

    fn overlay(&mut self, read: &CatalogRead<'_>, key: OverlayKey) -> Result<Overlay, StoreError> {
        if let Some((_, overlay)) = self.kept.as_ref().filter(|(kept, _)| *kept == key) {
            return Ok(overlay.clone());
        }
        let mut overlay = Overlay::default();
        let region = key.region * REGION_BYTES..(key.region + 1) * REGION_BYTES;
        // The last to end comes first, so what is painted last was valid at the moment.
        read.history_after(key.file, key.at, region.clone(), |extent| {
            if let Some(piece) = extent.piece().within(&region) {
                overlay.paint(piece);
            }
        })?;
        self.kept = Some((key, overlay.clone()));
        Ok(overlay)
    }

    fn take_log(
        &mut self,
        range: &Range<u64>,
        frame: crate::log::FramePosition,
        inner: u32,
        found: &mut Found,
    ) -> Result<u64, StoreError> {
        let length = (range.end - range.start).min(found.room());
        if length > 0 {
            let bytes = self.log.read(frame, inner, length as u32)?;
            found.add(range.start, length, |to| {
                to.copy_from_slice(bytes);
                Ok::<_, StoreError>(())
            })?;
        }
        Ok(range.start + length)
    }

    fn take_base(
        &mut self,
        read: &CatalogRead<'_>,
        base: &Base,
        file: FileId,
        range: &Range<u64>,
        found: &mut Found,
    ) -> Result<u64, StoreError> {
        match base {
            Base::Inode(inode) => from_inode(inode, range, found).map_err(|e| failed(file, e)),
            Base::Log => {
                for piece in read.pieces(file, range.clone())? {
                    let part = piece.offset..piece.offset + piece.length;
                    let reached = match piece.place {
                        Place::Log(frame, inner) => self.take_log(&part, frame, inner, found)?,
                        Place::Zeros => part.end,
                        Place::Before(..) => return Err(failed(file, ErrorKind::NotFound.into())),
                    };
                    if reached < part.end {
                        return Ok(reached);
                    }
                }
                Ok(range.end)
            }
        }
    }
}

fn from_inode(inode: &File, range: &Range<u64>, found: &mut Found) -> std::io::Result<u64> {
    for part in data_ranges(inode, range.clone(), PAYLOAD_BYTES_MAX as u64)? {
        let length = (part.end - part.start).min(found.room());
        if length > 0 {
            found.add(part.start, length, |to| {
                read_at(inode, to, part.start).map(drop)
            })?;
        }
        if part.start + length < part.end {
            return Ok(part.start + length);
        }
    }
    Ok(range.end)
}

/// The log is the base of a dead file that was not kept, and of one that the mirror could not take, or
/// that something else took away or cut short.
fn open_base(
    directory: &SourceDirectory,
    read: &CatalogRead<'_>,
    file: FileId,
) -> Result<Base, StoreError> {
    if read.placed(file)? == Some(Placed::Log) {
        return Ok(Base::Log);
    }
    let size = read.file(file)?.map_or(0, |before| before.attributes.size);
    match find_inode(directory, read, file) {
        Ok(inode)
            if inode
                .metadata()
                .is_ok_and(|metadata| metadata.len() == size) =>
        {
            Ok(Base::Inode(inode))
        }
        Ok(_) => Ok(Base::Log),
        Err(error) if is_absent(&error) => Ok(Base::Log),
        Err(error) => Err(failed(file, error)),
    }
}

/// Opens the inode of a file, wherever it is.
pub(super) fn find_inode(
    directory: &SourceDirectory,
    read: &CatalogRead<'_>,
    file: FileId,
) -> std::io::Result<File> {
    let spot = Directories::new(directory, read, false).find(file)?;
    Ok(open_file(
        spot.directory.as_fd(),
        &spot.name,
        OFlags::RDONLY,
    )?)
}

/// As [`find_inode`]; that there is none is an error of the store.
pub(crate) fn open_inode(
    directory: &SourceDirectory,
    read: &CatalogRead<'_>,
    file: FileId,
) -> Result<File, StoreError> {
    find_inode(directory, read, file).map_err(|error| failed(file, error))
}

fn failed(file: FileId, source: std::io::Error) -> StoreError {
    let path = format!("mirror file {}", file.0).into();
    StoreError::Io {
        action: "read the file",
        path,
        source,
    }
}

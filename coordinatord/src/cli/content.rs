//! Content as of some moment, piece by piece.

use everwrite_protocol::ids::{FileId, SequenceNumber};
use everwrite_protocol::wire::Query;
use everwrite_receiver::restore::Piece;

use super::archive::Archive;
use super::exit::Failure;

/// Reads one file from its first byte to its last.
pub(super) struct Content<'a> {
    archive: &'a Archive,
    file: FileId,
    at: SequenceNumber,
    offset: u64,
    done: bool,
}

impl<'a> Content<'a> {
    pub(super) fn of(archive: &'a Archive, file: FileId, at: SequenceNumber) -> Self {
        Self {
            archive,
            file,
            at,
            offset: 0,
            done: false,
        }
    }

    /// The next piece; `None` at the end.
    pub(super) async fn next(&mut self) -> Result<Option<Piece>, Failure> {
        if self.done {
            return Ok(None);
        }
        let query = Query::Read {
            file: self.file,
            at: self.at,
            offset: self.offset,
        };
        let (answer, payload) = self.archive.ask(query).await?;
        let piece = Piece::new(self.offset, answer, payload);
        let piece = piece.ok_or_else(|| self.archive.mismatch())?;
        self.done = piece.is_last();
        self.offset = piece.end();
        Ok(Some(piece))
    }
}

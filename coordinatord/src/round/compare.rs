//! Content whose changes are not known, compared with the receiver's copy: the delta ladder.

use anyhow::Result;
use everwrite_protocol::ids::{Name, SequenceNumber};

use super::Round;
use super::content::Compared;
use super::names::{At, Why};
use crate::delta::{LadderError, Mode, Piece, Plan, ladder};
use crate::index::FileRow;
use crate::queue::DirtyFile;
use crate::read::OpenContent;

/// A delta with more new content than this is no use as one batch: the file is sent in pieces.
const DELTA_DATA_BYTES_MAX: u64 = 32 << 20;

impl Round<'_> {
    /// Compares a known file with the receiver's copy of it.
    pub(super) fn compare_content(
        &mut self,
        at: &At<'_>,
        name: &Name,
        row: &FileRow,
        content: &OpenContent,
        entry: &mut DirtyFile,
    ) -> Result<Compared> {
        let Some(plan) = self.plan(content, row, Mode::Rebuild) else {
            return Ok(Compared::NotNow);
        };
        if !plan.in_place && data_bytes(&plan.pieces) <= DELTA_DATA_BYTES_MAX {
            return self.rebuild(at, name, row, content, &plan.pieces, entry);
        }
        entry.dirt.ranges = crate::queue::RangeSet::default();
        for piece in &plan.pieces {
            match *piece {
                Piece::Same { .. } => {}
                Piece::Copy { offset, length, .. }
                | Piece::Data { offset, length }
                | Piece::Hole { offset, length } => entry.dirt.ranges.add(offset, length),
            }
        }
        Ok(Compared::Ranges)
    }

    /// The pieces of a new file against what it replaces; `None` when it is better sent plainly.
    pub(super) fn delta_to(&mut self, content: &OpenContent, base: &FileRow) -> Option<Vec<Piece>> {
        let plan = self.plan(content, base, Mode::Rebuild)?;
        (data_bytes(&plan.pieces) <= DELTA_DATA_BYTES_MAX).then_some(plan.pieces)
    }

    /// The file's content moved within it: the receiver builds a new file from the old one, which
    /// takes over all names.
    fn rebuild(
        &mut self,
        at: &At<'_>,
        name: &Name,
        row: &FileRow,
        content: &OpenContent,
        pieces: &[Piece],
        entry: &DirtyFile,
    ) -> Result<Compared> {
        let why = Why::of(entry.mark);
        let Some(attributes) = self.attributes_at(at, name, &content.stat) else {
            return Ok(Compared::NotNow);
        };
        let file = self.create_row(&content.stat, attributes, false, why)?;
        self.send_pieces(content, file, row.id, pieces, why)?;
        for (parent, name) in self.state.index.names_of(row.id)? {
            self.detach(parent, &name, row.id, entry.mark.origin)?;
            self.attach(parent, &name, file, entry.mark.origin)?;
        }
        Ok(Compared::Rebuilt)
    }

    /// Runs the ladder against what the receiver has after the last batch sent.
    fn plan(&mut self, content: &OpenContent, base: &FileRow, mode: Mode) -> Option<Plan> {
        let after = SequenceNumber(self.batch.sequence().0 - 1);
        let size = content.stat.size;
        let ask = |base_size| {
            let queries = &self.tools.queries;
            let asked = ladder(
                &content.file,
                size,
                base.id,
                base_size,
                after,
                queries,
                mode,
            );
            self.tools.runtime.block_on(asked)
        };
        let plan = match ask(base.size) {
            // After a batch was taken back, only the receiver knows the size of what it has.
            Err(LadderError::Base { found, .. }) => ask(found),
            other => other,
        };
        match plan {
            Ok(plan) => {
                self.state.bytes_read += size;
                Some(plan)
            }
            Err(error) => {
                tracing::debug!(%error, "no comparison with the receiver's copy");
                None
            }
        }
    }
}

fn data_bytes(pieces: &[Piece]) -> u64 {
    pieces
        .iter()
        .map(|piece| match piece {
            Piece::Data { length, .. } => *length,
            _ => 0,
        })
        .sum()
}

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
    /// Compares a known file with the receiver's copy of it, or of a sibling: `(file, base)`.
    pub(super) fn compare_content(
        &mut self,
        at: &At<'_>,
        name: &Name,
        (row, base): (&FileRow, &FileRow),
        content: &OpenContent,
        entry: &mut DirtyFile,
    ) -> Result<Compared> {
        let own = row.id == base.id;
        let mode = if own && !may_have_moved(entry) {
            Mode::InPlace
        } else {
            Mode::Rebuild
        };
        let Some(plan) = self.plan(content, base, mode) else {
            return Ok(if own {
                Compared::NotNow
            } else {
                Compared::Ranges
            });
        };
        if !(own && plan.in_place) && pays(&plan.pieces, content.stat.size) {
            return self.rebuild(at, name, (row, base), content, &plan.pieces, entry);
        }
        if own {
            entry.dirt.whole = false;
            entry.dirt.ranges = plan.differing;
        }
        Ok(Compared::Ranges)
    }

    /// The pieces of a new file against what it replaces; `None` when it is better sent plainly.
    pub(super) fn delta_to(&mut self, content: &OpenContent, base: &FileRow) -> Option<Vec<Piece>> {
        let plan = self.plan(content, base, Mode::Rebuild)?;
        pays(&plan.pieces, content.stat.size).then_some(plan.pieces)
    }

    /// The file's content moved within it, or came from a sibling: the receiver builds a new file from
    /// the base, which takes over all names of the old one.
    fn rebuild(
        &mut self,
        at: &At<'_>,
        name: &Name,
        (row, base): (&FileRow, &FileRow),
        content: &OpenContent,
        pieces: &[Piece],
        entry: &DirtyFile,
    ) -> Result<Compared> {
        let why = Why::of(entry.mark);
        let Some(attributes) = self.attributes_at(at, name, &content.stat) else {
            return Ok(Compared::NotNow);
        };
        let file = self.create_row(&content.stat, attributes, false, why)?;
        self.send_pieces(content, file, base.id, pieces, why)?;
        self.blame(row.id, at, entry.mark, false);
        for (parent, name) in self.state.index.names_of(row.id)? {
            self.detach(parent, &name, row.id, entry.mark)?;
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
            self.tools.waits.wait_for(asked)
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

/// May the content have moved within the file? Not if all that was written is known, and nothing was
/// cut off: looking for moved content would be dear and in vain.
fn may_have_moved(entry: &DirtyFile) -> bool {
    entry.dirt.whole || entry.dirt.appended || entry.dirt.ranges.reaches_the_end()
}

/// Is building from the base better than sending plainly?
fn pays(pieces: &[Piece], size: u64) -> bool {
    let data = data_bytes(pieces);
    data <= DELTA_DATA_BYTES_MAX && data * 2 <= size
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

//! The ladder itself: which rung follows which.
//!
//! 1. Short content goes whole: a question would cost more.
//! 2. Blocks at the same offset, by digest. The new content is read once here, and its own digest
//!    made.
//! 3. Where few blocks differ, or the base is changed in place: the same again with smaller blocks,
//!    in those that differ.
//! 4. Where many do, content has moved: blocks counted from the end. One insertion anywhere is
//!    found so, but for the blocks around it.
//! 5. What is left is rolled over, see [`super::roll`].

use std::ops::Range;

use everwrite_protocol::ids::{FileId, SequenceNumber};

use super::base::{Base, QUESTIONS};
use super::blocks::{self, Aligned, looks_moved};
use super::content::Content;
use super::matches::Matches;
use super::pieces::pieces;
use super::roll::{regions, roll};
use super::signature::block_size;
use super::{LadderError, Mode, Piece, Plan, ReadAt};
use crate::network_backup::Ask;

/// Up to here content that replaces other content goes whole, in bytes.
const WHOLE_BYTES_MAX: u64 = 128 << 10;
/// The same for content that changed where it is, of which often little did.
const WHOLE_IN_PLACE_BYTES_MAX: u64 = 32 << 10;
/// Blocks of the first look, in bytes.
const LARGE_BLOCK: u32 = 64 << 10;
/// Blocks of the second look; of the first where content is short.
const SMALL_BLOCK: u32 = 4 << 10;
/// Up to here content is looked at with small blocks at once, in bytes.
const SHORT_BYTES_MAX: u64 = 1 << 20;
/// Bytes of content in one question of the first look: both sides hash so much side by side.
const CHUNK_BYTES: u64 = 256 << 20;
/// Bytes of content in one question of the second look.
const FINE_CHUNK_BYTES: u64 = 32 << 20;
/// When so much of what differs was looked at twice in vain, the rest goes as it is.
const IN_VAIN_BYTES_MAX: u64 = 64 << 20;

/// Compares `new_length` bytes of `new` with the file `base`, `base_length` bytes long, as it is at
/// the receiver once batch `after` is in its mirror. Reads all of the new content at least once.
pub async fn ladder(
    new: &impl ReadAt,
    new_length: u64,
    base: FileId,
    base_length: u64,
    after: SequenceNumber,
    receiver: &impl Ask,
    mode: Mode,
) -> Result<Plan, LadderError> {
    let content = blocking(|| Content::new(new, new_length))?;
    let base = Base {
        receiver,
        file: base,
        length: base_length,
        after,
    };
    let climb = Climb {
        content,
        base,
        mode,
        hasher: blake3::Hasher::new(),
    };
    climb.run().await
}

struct Climb<'a, R, A> {
    content: Content<'a, R>,
    base: Base<'a, A>,
    mode: Mode,
    /// Of the new content, in order.
    hasher: blake3::Hasher,
}

impl<R: ReadAt, A: Ask> Climb<'_, R, A> {
    async fn run(mut self) -> Result<Plan, LadderError> {
        let matches = if self.goes_whole() {
            Matches::default()
        } else {
            self.compare().await?
        };
        self.read_rest()?;
        let pieces = pieces(
            &matches,
            self.content.length(),
            self.content.holes(),
            self.mode,
        );
        let in_place = !pieces
            .iter()
            .any(|piece| matches!(piece, Piece::Copy { .. }));
        Ok(Plan {
            pieces,
            in_place,
            differing: matches.elsewhere(self.content.length()),
            digest: *self.hasher.finalize().as_bytes(),
        })
    }

    fn goes_whole(&self) -> bool {
        let limit = match self.mode {
            Mode::InPlace => WHOLE_IN_PLACE_BYTES_MAX,
            Mode::Rebuild => WHOLE_BYTES_MAX,
        };
        self.content.length() <= limit || self.base.length == 0
    }

    /// Bytes that both have.
    fn common(&self) -> u64 {
        self.content.length().min(self.base.length)
    }

    fn block(&self) -> u32 {
        if self.common() <= SHORT_BYTES_MAX {
            SMALL_BLOCK
        } else {
            LARGE_BLOCK
        }
    }

    async fn compare(&mut self) -> Result<Matches, LadderError> {
        let mut matches = self.same_offset().await?;
        if self.mode == Mode::Rebuild && looks_moved(&matches, self.common()) {
            self.counted_from_the_end(&mut matches).await?;
            self.rolled(&mut matches).await?;
        } else if self.block() > SMALL_BLOCK {
            self.finer(&mut matches).await?;
        }
        Ok(matches)
    }

    /// Both sides hash a chunk at the same time.
    async fn same_offset(&mut self) -> Result<Matches, LadderError> {
        let block = self.block();
        let mut matches = Matches::default();
        for range in chunks(0..self.common(), CHUNK_BYTES) {
            let ranges = [range.clone()];
            let (content, hasher) = (&self.content, &mut self.hasher);
            let see = |stretch: &[u8]| {
                hasher.update(stretch);
            };
            let ours = async { blocking(|| blocks::digests(content, range.clone(), block, see)) };
            let (theirs, ours) = tokio::join!(self.base.digests(&ranges, block), ours);
            let aligned = Aligned {
                from: range.start,
                range,
                block,
            };
            let found = aligned.matches(&ours?, &theirs?.concat());
            found.iter().for_each(|&found| matches.push(found));
        }
        Ok(matches)
    }

    /// What the first look did not read, for the digest of the whole.
    fn read_rest(&mut self) -> Result<(), LadderError> {
        let rest = self.hasher.count()..self.content.length();
        let (content, hasher) = (&self.content, &mut self.hasher);
        blocking(|| {
            content.scan(rest, |stretch| {
                hasher.update(stretch);
            })
        })
    }

    /// The differing blocks once more, in small ones.
    async fn finer(&self, matches: &mut Matches) -> Result<(), LadderError> {
        let gaps = matches.gaps(self.common());
        let ranges: Vec<_> = gaps
            .into_iter()
            .flat_map(|gap| chunks(gap, FINE_CHUNK_BYTES))
            .collect();
        let mut fine = Matches::default();
        let (mut looked_at, mut found) = (0, 0);
        for ranges in ranges.chunks(QUESTIONS) {
            let theirs = self.base.digests(ranges, SMALL_BLOCK).await?;
            for (range, theirs) in ranges.iter().zip(theirs) {
                let aligned = Aligned {
                    range: range.clone(),
                    from: range.start,
                    block: SMALL_BLOCK,
                };
                looked_at += range.end - range.start;
                for &same in self.aligned(&aligned, &theirs)?.iter() {
                    found += same.length;
                    fine.push(same);
                }
            }
            if looked_at >= IN_VAIN_BYTES_MAX && found < looked_at / 4 {
                break;
            }
        }
        matches.fill(&fine, self.content.length());
        Ok(())
    }

    fn aligned(
        &self,
        aligned: &Aligned,
        theirs: &[super::base::Digest],
    ) -> Result<Matches, LadderError> {
        let range = aligned.range.clone();
        let digests = || blocks::digests(&self.content, range, aligned.block, |_| {});
        Ok(aligned.matches(&blocking(digests)?, theirs))
    }

    /// Blocks counted from both ends, as far back as the first difference.
    async fn counted_from_the_end(&self, matches: &mut Matches) -> Result<(), LadderError> {
        let (new, base) = (self.content.length(), self.base.length);
        let block = u64::from(self.block());
        let first = matches.gaps(new).first().map_or(new, |gap| gap.start);
        let blocks = (self.common() - first.min(self.common())) / block;
        if new == base {
            return Ok(());
        }
        let moved = chunks(base - blocks * block..base, CHUNK_BYTES);
        for from in moved {
            let theirs = self
                .base
                .digests(std::slice::from_ref(&from), self.block())
                .await?;
            let start = new - (base - from.start);
            let aligned = Aligned {
                range: start..start + (from.end - from.start),
                from: from.start,
                block: self.block(),
            };
            let found = self.aligned(&aligned, &theirs.concat())?;
            matches.fill(&found, new);
        }
        Ok(())
    }

    async fn rolled(&self, matches: &mut Matches) -> Result<(), LadderError> {
        let new = self.content.length();
        for region in regions(matches, new, self.base.length) {
            let block = block_size(region.base.end - region.base.start);
            if region.new.end - region.new.start < u64::from(block) {
                continue;
            }
            let signature = self.base.signature(region.base.clone(), block).await?;
            let found = blocking(|| roll(&self.content, &region, &signature, block))?;
            matches.fill(&found, new);
        }
        Ok(())
    }
}

/// `range` in parts of `bytes`, the last one shorter.
fn chunks(range: Range<u64>, bytes: u64) -> impl Iterator<Item = Range<u64>> {
    let Range { start, end } = range;
    (start..end)
        .step_by(bytes as usize)
        .map(move |at| at..end.min(at + bytes))
}

/// Reading and hashing would hold up the other tasks of this thread.
fn blocking<T>(work: impl FnOnce() -> T) -> T {
    use tokio::runtime::{Handle, RuntimeFlavor};
    match Handle::try_current().map(|runtime| runtime.runtime_flavor()) {
        Ok(RuntimeFlavor::MultiThread) => tokio::task::block_in_place(work),
        _ => work(),
    }
}

//! The last rung: content that moved by any number of bytes, found by a rolling checksum.
//!
//! It is the dear one (a second of CPU for some hundred megabytes, ten times that where nothing is
//! found), so it sees only what the rungs before left over, and gives up on what is plainly new.

use std::ops::Range;

use super::content::Content;
use super::librsync;
use super::matches::{Match, Matches};
use super::signature::BASE_BYTES_MAX;
use super::{LadderError, ReadAt};

/// Bytes of new content in memory at once.
const WINDOW_BYTES: u64 = 32 << 20;
/// After so much that was three quarters new, the rest is taken to be new too.
const NEW_BYTES_MAX: u64 = 64 << 20;
/// Gaps nearer to each other than this are looked at together.
const NEAR_BYTES: u64 = 4 << 20;
/// So much of the base on either side of where a gap's bytes should come from.
const MARGIN_BYTES: u64 = 64 << 10;

/// A stretch of the new content, and the part of the base where it may come from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Region {
    pub(super) new: Range<u64>,
    pub(super) base: Range<u64>,
}

/// The regions that cover all gaps in `matches`: pure.
pub(super) fn regions(matches: &Matches, new_length: u64, base_length: u64) -> Vec<Region> {
    let mut stretches: Vec<Range<u64>> = Vec::new();
    for gap in matches.gaps(new_length) {
        match stretches.last_mut() {
            Some(last) if gap.start - last.end < NEAR_BYTES => last.end = gap.end,
            _ => stretches.push(gap),
        }
    }
    let region = |new: Range<u64>| {
        let base = base_of(&new, matches, base_length);
        Region { new, base }
    };
    stretches.into_iter().map(region).collect()
}

/// Between what is before the stretch and what is after it, and a little beyond; all of the base
/// where those are not in order.
fn base_of(new: &Range<u64>, matches: &Matches, base_length: u64) -> Range<u64> {
    let (before, after) = (matches.before(new.start), matches.after(new.end));
    let start = before
        .map_or(0, Match::base_end)
        .saturating_sub(MARGIN_BYTES);
    let end = after
        .map_or(base_length, |after| after.from)
        .saturating_add(MARGIN_BYTES);
    let (start, end) = (start.min(base_length), end.min(base_length));
    let base = if start < end {
        start..end
    } else {
        0..base_length
    };
    base.start..base.end.min(base.start.saturating_add(BASE_BYTES_MAX))
}

/// What of `region` is in the base, by its signature.
pub(super) fn roll<R: ReadAt>(
    content: &Content<'_, R>,
    region: &Region,
    signature: &fast_rsync::Signature,
    block: u32,
) -> Result<Matches, LadderError> {
    let index = signature.index();
    let mut found = Matches::default();
    let mut patience = Patience::default();
    let mut at = region.new.start;
    let mut window = Vec::new();
    let mut delta = Vec::new();
    while at < region.new.end && patience.lasts() {
        let end = region.new.end.min(at + WINDOW_BYTES);
        window.resize((end - at) as usize, 0);
        content.read(&mut window, at)?;
        delta.clear();
        fast_rsync::diff(&index, &window, &mut delta)
            .map_err(|_| LadderError::Nonsense("signature"))?;
        let (matches, _) =
            librsync::matches(&delta).map_err(|_| LadderError::Nonsense("signature"))?;
        let matches: Vec<Match> = matches
            .into_iter()
            .filter_map(|found| placed(found, at, &region.base))
            .collect();
        patience.window(end - at, matches.iter().map(|found| found.length).sum());
        let reached = matches.last().map_or(at, Match::end);
        matches.into_iter().for_each(|next| found.push(next));
        // A block that straddles the border is found in the next window.
        let again = (end - reached).min(u64::from(block) - 1);
        at = if end == region.new.end {
            end
        } else {
            end - again
        };
    }
    Ok(found)
}

/// From a place in window and signature to one in the new content and the base. What lies beyond
/// the base can only be a signature's lie.
fn placed(found: Match, window: u64, base: &Range<u64>) -> Option<Match> {
    let placed = Match {
        offset: found.offset + window,
        length: found.length,
        from: found.from.checked_add(base.start)?,
    };
    (placed.from.checked_add(placed.length)? <= base.end).then_some(placed)
}

/// The stop rule.
#[derive(Default)]
struct Patience {
    /// Bytes in a row that were mostly new.
    new_bytes: u64,
}

impl Patience {
    fn window(&mut self, bytes: u64, found: u64) {
        let mostly_new = found < bytes / 4;
        self.new_bytes = if mostly_new {
            self.new_bytes + bytes
        } else {
            0
        };
    }

    const fn lasts(&self) -> bool {
        self.new_bytes < NEW_BYTES_MAX
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    fn found(all: &[(u64, u64, u64)]) -> Matches {
        let from_parts = |&(offset, length, from)| Match {
            offset,
            length,
            from,
        };
        all.iter().map(from_parts).collect()
    }

    #[test]
    fn a_gap_comes_from_between_its_neighbours() {
        // One byte was inserted into the block at 10 MiB.
        let rest = 20 * MIB - 10 * MIB - 65536;
        let matches = found(&[(0, 10 * MIB, 0), (10 * MIB + 65537, rest, 10 * MIB + 65536)]);
        let regions = regions(&matches, 20 * MIB + 1, 20 * MIB);
        let wanted = Region {
            new: 10 * MIB..10 * MIB + 65537,
            base: 10 * MIB - MARGIN_BYTES..10 * MIB + 65536 + MARGIN_BYTES,
        };
        assert_eq!(regions, [wanted]);
    }

    #[test]
    fn near_gaps_are_one_region_and_far_ones_are_not() {
        let matches = found(&[(MIB, MIB, MIB), (3 * MIB, 10 * MIB, 3 * MIB)]);
        let regions = regions(&matches, 14 * MIB, 14 * MIB);
        let new: Vec<_> = regions.into_iter().map(|region| region.new).collect();
        assert_eq!(new, [0..3 * MIB, 13 * MIB..14 * MIB]);
    }

    #[test]
    fn without_neighbours_in_order_all_of_the_base_is_asked() {
        let swapped = found(&[(0, MIB, 5 * MIB), (9 * MIB, MIB, MIB)]);
        assert_eq!(regions(&swapped, 10 * MIB, 10 * MIB)[0].base, 0..10 * MIB);
        assert_eq!(regions(&found(&[]), MIB, 2 * MIB)[0].base, 0..2 * MIB);
        assert_eq!(
            regions(&found(&[]), MIB, u64::MAX)[0].base,
            0..BASE_BYTES_MAX
        );
    }

    #[test]
    fn patience_ends_after_much_that_is_new_in_a_row() {
        let mut patience = Patience::default();
        patience.window(WINDOW_BYTES, 0);
        assert!(patience.lasts());
        patience.window(WINDOW_BYTES, WINDOW_BYTES / 2);
        patience.window(WINDOW_BYTES, WINDOW_BYTES / 10);
        assert!(patience.lasts());
        patience.window(WINDOW_BYTES, WINDOW_BYTES / 10);
        assert!(!patience.lasts());
    }
}

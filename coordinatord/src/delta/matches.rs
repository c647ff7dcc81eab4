//! What of the new content was found in the base, and what was not: pure.

use std::ops::Range;

use crate::ranges::RangeSet;

/// A run of bytes that both have.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Match {
    /// First byte in the new content.
    pub(super) offset: u64,
    /// Bytes, not 0.
    pub(super) length: u64,
    /// First byte in the base.
    pub(super) from: u64,
}

impl Match {
    pub(super) const fn end(&self) -> u64 {
        self.offset + self.length
    }

    pub(super) const fn base_end(&self) -> u64 {
        self.from + self.length
    }

    fn continues(&self, before: &Self) -> bool {
        before.end() == self.offset && before.base_end() == self.from
    }

    /// The part of it that lies in `range` of the new content.
    fn within(&self, range: &Range<u64>) -> Option<Self> {
        let offset = self.offset.max(range.start);
        let end = self.end().min(range.end);
        let from = self.from + (offset - self.offset);
        (offset < end).then_some(Self {
            offset,
            length: end - offset,
            from,
        })
    }
}

/// Matches in the order of the new content, without overlaps.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Matches(Vec<Match>);

impl Matches {
    /// Appends one that begins at or after the end of the last.
    pub(super) fn push(&mut self, next: Match) {
        match self.0.last_mut() {
            Some(last) if next.continues(last) => last.length += next.length,
            _ => self.0.push(next),
        }
    }

    pub(super) fn iter(&self) -> std::slice::Iter<'_, Match> {
        self.0.iter()
    }

    /// The last that ends at or before `offset`.
    pub(super) fn before(&self, offset: u64) -> Option<&Match> {
        let end = self.0.partition_point(|found| found.end() <= offset);
        self.0[..end].last()
    }

    /// The first that begins at or after `offset`.
    pub(super) fn after(&self, offset: u64) -> Option<&Match> {
        let start = self.0.partition_point(|found| found.offset < offset);
        self.0[start..].first()
    }

    /// What of `length` bytes has no match.
    pub(super) fn gaps(&self, length: u64) -> Vec<Range<u64>> {
        let starts = std::iter::once(0).chain(self.0.iter().map(Match::end));
        let ends = self.0.iter().map(|found| found.offset).chain([length]);
        let gaps = starts.zip(ends).map(|(start, end)| start..end);
        gaps.filter(|gap| gap.start < gap.end).collect()
    }

    /// What of `length` bytes is not at the same place in the base.
    pub(super) fn elsewhere(&self, length: u64) -> RangeSet {
        let in_place = self.0.iter().filter(|found| found.offset == found.from);
        let in_place = Self(in_place.copied().collect());
        let mut elsewhere = RangeSet::default();
        for gap in in_place.gaps(length) {
            elsewhere.add(gap.start, gap.end - gap.start);
        }
        elsewhere
    }

    /// Takes in those of `found` that lie in gaps: what was found first, and nearer, stays.
    pub(super) fn fill(&mut self, found: &Self, length: u64) {
        let gaps = self.gaps(length);
        let mut new = Vec::new();
        let mut at = 0;
        for gap in &gaps {
            while found
                .0
                .get(at)
                .is_some_and(|found| found.end() <= gap.start)
            {
                at += 1;
            }
            let reach = found.0[at..]
                .iter()
                .take_while(|found| found.offset < gap.end);
            new.extend(reach.filter_map(|found| found.within(gap)));
        }
        let mut all = std::mem::take(&mut self.0);
        all.extend(new);
        all.sort_unstable_by_key(|found| found.offset);
        all.into_iter().for_each(|next| self.push(next));
    }
}

impl FromIterator<Match> for Matches {
    fn from_iter<I: IntoIterator<Item = Match>>(matches: I) -> Self {
        let mut all = Self::default();
        matches.into_iter().for_each(|next| all.push(next));
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(all: &[(u64, u64, u64)]) -> Matches {
        let from_parts = |&(offset, length, from)| Match {
            offset,
            length,
            from,
        };
        all.iter().map(from_parts).collect()
    }

    #[test]
    fn neighbours_become_one() {
        assert_eq!(matches(&[(0, 4, 10), (4, 4, 14)]), matches(&[(0, 8, 10)]));
        assert_eq!(matches(&[(0, 4, 10), (4, 4, 15)]).iter().count(), 2);
        assert_eq!(matches(&[(0, 4, 10), (5, 4, 14)]).iter().count(), 2);
    }

    #[test]
    fn what_is_not_at_its_place_differs() {
        let elsewhere = |all: &[(u64, u64, u64)]| -> Vec<_> {
            let elsewhere = matches(all).elsewhere(100);
            elsewhere.iter().collect()
        };
        assert_eq!(elsewhere(&[]), [(0, 100)]);
        assert_eq!(elsewhere(&[(0, 100, 0)]), []);
        assert_eq!(elsewhere(&[(0, 100, 1)]), [(0, 100)]);
        let found = [(0, 10, 0), (10, 20, 40), (50, 50, 50)];
        assert_eq!(elsewhere(&found), [(10, 40)]);
    }

    #[test]
    fn gaps_are_all_the_rest() {
        let gaps = |all: &[(u64, u64, u64)]| -> Vec<_> {
            matches(all)
                .gaps(100)
                .into_iter()
                .map(|gap| (gap.start, gap.end))
                .collect()
        };
        assert_eq!(gaps(&[]), [(0, 100)]);
        assert_eq!(gaps(&[(0, 100, 0)]), []);
        assert_eq!(gaps(&[(10, 10, 0), (30, 70, 0)]), [(0, 10), (20, 30)]);
    }

    #[test]
    fn what_fills_gaps_is_cut_to_them() {
        let mut first = matches(&[(10, 10, 10), (40, 10, 40)]);
        first.fill(&matches(&[(5, 50, 105), (90, 20, 0)]), 100);
        let wanted = [
            (5, 5, 105),
            (10, 10, 10),
            (20, 20, 120),
            (40, 10, 40),
            (50, 5, 150),
            (90, 10, 0),
        ];
        assert_eq!(first, matches(&wanted));
    }
}

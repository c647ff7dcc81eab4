//! A set of byte ranges of one file, of bounded size: under pressure it grows wider, never emptier.

/// Ranges that are kept apart. When there are more, the smallest gaps are closed until half of the
/// room is free again, so that a stream of scattered ranges pays for that only now and then.
pub const RANGES_MAX: usize = 512;

/// Byte ranges, ascending, neither touching nor overlapping. Pure.
///
/// Invariant: every byte ever added is covered until taken; bytes never added may be covered too.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct RangeSet {
    /// `(first, end)`, end exclusive.
    ranges: Vec<(u64, u64)>,
}

impl RangeSet {
    /// Adds `length` bytes from `offset`; lengths that pass the end of numbers are cut there.
    pub fn add(&mut self, offset: u64, length: u64) {
        let end = offset.saturating_add(length);
        if offset >= end {
            return;
        }
        let from = self.ranges.partition_point(|range| range.1 < offset);
        let to = self.ranges.partition_point(|range| range.0 <= end);
        let merged = self.ranges[from..to]
            .iter()
            .fold((offset, end), |all, range| {
                (all.0.min(range.0), all.1.max(range.1))
            });
        self.ranges.splice(from..to, [merged]);
        if self.ranges.len() > RANGES_MAX {
            self.narrow_to(RANGES_MAX / 2);
        }
    }

    /// Adds all of `other`.
    pub fn add_all(&mut self, other: &Self) {
        for range in &other.ranges {
            self.add(range.0, range.1 - range.0);
        }
    }

    /// The ranges as `(offset, length)`; to the end of numbers is `u64::MAX` long.
    pub fn iter(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        let length = |start, end| if end == u64::MAX { end } else { end - start };
        self.ranges
            .iter()
            .map(move |&(start, end)| (start, length(start, end)))
    }

    /// The ranges as `(offset, length)`, cut at `size`.
    pub fn within(&self, size: u64) -> impl Iterator<Item = (u64, u64)> + '_ {
        self.ranges
            .iter()
            .map(move |range| (range.0, range.1.min(size)))
            .filter(|range| range.0 < range.1)
            .map(|range| (range.0, range.1 - range.0))
    }

    /// Takes the first ranges, up to `bytes` of them below `size`; what lies beyond `size` is dropped,
    /// for there is nothing to read. Leaves the rest.
    pub fn take(&mut self, bytes: u64, size: u64) -> Vec<(u64, u64)> {
        let mut taken = Vec::new();
        let mut left = bytes;
        let mut rest = Vec::new();
        for (offset, length) in self.within(size) {
            let now = length.min(left);
            left -= now;
            if now > 0 {
                taken.push((offset, now));
            }
            if now < length {
                rest.push((offset + now, offset + length));
            }
        }
        self.ranges = rest;
        taken
    }

    /// Covered bytes below `size`.
    pub fn bytes(&self, size: u64) -> u64 {
        self.within(size).map(|range| range.1).sum()
    }

    /// Is one of them without an end, as what is left of a truncated file?
    pub fn reaches_the_end(&self) -> bool {
        self.ranges.last().is_some_and(|range| range.1 == u64::MAX)
    }

    /// Is all of this covered?
    pub fn contains(&self, offset: u64, length: u64) -> bool {
        let end = offset.saturating_add(length);
        let holds = |range: &&(u64, u64)| range.0 <= offset && end <= range.1;
        self.ranges.iter().any(|range| holds(&range))
    }

    /// Does one of them that has an end, end beyond `size`?
    pub fn pass(&self, size: u64) -> bool {
        let ends = self.ranges.iter().map(|range| range.1);
        ends.rev().find(|end| *end != u64::MAX) > Some(size)
    }

    /// Nothing in it?
    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// Number of ranges.
    pub fn len(&self) -> usize {
        self.ranges.len()
    }

    /// Closes the smallest gaps until at most `most` ranges (at least one) are left.
    pub fn narrow_to(&mut self, most: usize) {
        let surplus = self.ranges.len().saturating_sub(most.max(1));
        if surplus == 0 {
            return;
        }
        let gap = |pair: &[(u64, u64)]| pair[1].0 - pair[0].1;
        let mut gaps: Vec<u64> = self.ranges.windows(2).map(gap).collect();
        let (_, limit, _) = gaps.select_nth_unstable(surplus - 1);
        let limit = *limit;
        self.ranges.dedup_by(|next, kept| {
            let close = next.0 - kept.1 <= limit;
            if close {
                kept.1 = next.1;
            }
            close
        });
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn neighbours_become_one() {
        let mut set = RangeSet::default();
        set.add(10, 5);
        set.add(20, 5);
        set.add(15, 5);
        assert_eq!(set.within(100).collect::<Vec<_>>(), [(10, 15)]);
    }

    #[test]
    fn taking_leaves_the_rest_and_drops_what_is_beyond_the_end() {
        let mut set = RangeSet::default();
        set.add(0, 10);
        set.add(90, u64::MAX);
        assert_eq!(set.take(12, 100), [(0, 10), (90, 2)]);
        assert_eq!(set.within(u64::MAX).collect::<Vec<_>>(), [(92, 8)]);
        assert_eq!(set.take(100, 50), []);
        assert!(set.is_empty());
    }

    #[test]
    fn a_range_to_the_end_says_so() {
        let mut set = RangeSet::default();
        set.add(2, 1);
        assert!(!set.reaches_the_end());
        set.add(5, u64::MAX);
        assert!(set.reaches_the_end());
        assert_eq!(set.iter().collect::<Vec<_>>(), [(2, 1), (5, u64::MAX)]);
    }

    #[test]
    fn the_smallest_gaps_close_first() {
        let mut set = RangeSet::default();
        for offset in [0, 2, 100, 103] {
            set.add(offset, 1);
        }
        set.narrow_to(3);
        assert_eq!(set.iter().collect::<Vec<_>>(), [(0, 3), (100, 1), (103, 1)]);
        set.narrow_to(1);
        assert_eq!(set.iter().collect::<Vec<_>>(), [(0, 104)]);
    }

    #[test]
    fn the_number_of_ranges_is_bounded() {
        let mut set = RangeSet::default();
        (0..10_000u64).for_each(|at| set.add(at * 10, 3));
        assert!(set.ranges.len() <= RANGES_MAX);
        assert!(set.bytes(u64::MAX) >= 30_000);
    }

    proptest! {
        #[test]
        fn like_a_bitmap(adds in prop::collection::vec((0u64..400, 0u64..40), 0..60), takes in 0u64..500) {
            let mut set = RangeSet::default();
            let mut bitmap = vec![false; 500];
            for (offset, length) in adds {
                set.add(offset, length);
                (offset..offset + length).for_each(|at| bitmap[at as usize] = true);
            }
            let covered = bitmap.iter().filter(|bit| **bit).count() as u64;
            prop_assert_eq!(set.bytes(u64::MAX), covered);
            let taken: u64 = set.take(takes, 500).iter().map(|range| range.1).sum();
            prop_assert_eq!(taken, covered.min(takes));
            prop_assert_eq!(set.bytes(500), covered - taken);
        }

        #[test]
        fn narrowing_covers_more_in_fewer(
            adds in prop::collection::vec((0u64..200, 0u64..20), 0..60),
            most in 1usize..40,
        ) {
            let mut set = RangeSet::default();
            adds.iter().for_each(|&(offset, length)| set.add(offset, length));
            let before = set.clone();
            set.narrow_to(most);
            prop_assert!(set.len() <= most.max(1));
            let mut both = set.clone();
            both.add_all(&before);
            prop_assert_eq!(both, set);
        }
    }
}

//! A set of byte ranges of one file, of bounded size.

/// More ranges than this are not kept apart: the two nearest become one, gap included.
const RANGES_MAX: usize = 256;

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
            self.merge_nearest();
        }
    }

    /// Adds all of `other`.
    pub fn add_all(&mut self, other: &Self) {
        for range in &other.ranges {
            self.add(range.0, range.1 - range.0);
        }
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

    /// Nothing in it?
    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    fn merge_nearest(&mut self) {
        let gap = |at: usize| self.ranges[at + 1].0 - self.ranges[at].1;
        if let Some(at) = (0..self.ranges.len() - 1).min_by_key(|at| gap(*at)) {
            self.ranges[at].1 = self.ranges[at + 1].1;
            self.ranges.remove(at + 1);
        }
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
    }
}

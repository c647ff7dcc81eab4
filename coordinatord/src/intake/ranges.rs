//! A set of byte ranges of bounded size: under pressure it grows wider, never emptier.

/// Disjoint ranges `start .. end`, ascending, no two touching.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Ranges {
    list: Vec<(u64, u64)>,
}

impl Ranges {
    /// Adds `offset .. offset + length`; a range past the end of numbers ends there.
    pub(super) fn add(&mut self, offset: u64, length: u64) {
        let (mut start, mut end) = (offset, offset.saturating_add(length));
        let first = self.list.partition_point(|&(_, old_end)| old_end < start);
        let behind = self
            .list
            .partition_point(|&(old_start, _)| old_start <= end);
        if let (Some(&(low, _)), Some(&(_, high))) =
            (self.list.get(first), self.list.get(behind.wrapping_sub(1)))
            && first < behind
        {
            start = start.min(low);
            end = end.max(high);
        }
        self.list.splice(first..behind, [(start, end)]);
    }

    /// Number of ranges.
    pub(super) fn len(&self) -> usize {
        self.list.len()
    }

    /// Closes the smallest gaps until at most `most` ranges (at least one) are left.
    pub(super) fn narrow_to(&mut self, most: usize) {
        let surplus = self.list.len().saturating_sub(most.max(1));
        if surplus == 0 {
            return;
        }
        let gap = |pair: &[(u64, u64)]| pair[1].0 - pair[0].1;
        let mut gaps: Vec<u64> = self.list.windows(2).map(gap).collect();
        let (_, limit, _) = gaps.select_nth_unstable(surplus - 1);
        let limit = *limit;
        self.list.dedup_by(|next, kept| {
            let close = next.0 - kept.1 <= limit;
            if close {
                kept.1 = next.1;
            }
            close
        });
    }

    /// The ranges as (offset, length), ascending. A range to the end of numbers has the length
    /// `u64::MAX`.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u64, u64)> {
        self.list.iter().map(|&(start, end)| match end {
            u64::MAX => (start, u64::MAX),
            _ => (start, end - start),
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(list: &[(u64, u64)]) -> Ranges {
        let mut ranges = Ranges::default();
        list.iter()
            .for_each(|&(offset, length)| ranges.add(offset, length));
        ranges
    }

    #[test]
    fn touching_ranges_become_one() {
        assert_eq!(of(&[(0, 4), (8, 4), (4, 4)]), of(&[(0, 12)]));
        assert_eq!(
            of(&[(8, 4), (0, 4)]).iter().collect::<Vec<_>>(),
            [(0, 4), (8, 4)]
        );
        assert_eq!(
            of(&[(5, u64::MAX)]).iter().collect::<Vec<_>>(),
            [(5, u64::MAX)]
        );
    }

    #[test]
    fn the_smallest_gaps_close_first() {
        let mut ranges = of(&[(0, 1), (2, 1), (100, 1), (103, 1)]);
        ranges.narrow_to(3);
        assert_eq!(ranges, of(&[(0, 3), (100, 1), (103, 1)]));
        ranges.narrow_to(1);
        assert_eq!(ranges, of(&[(0, 104)]));
    }

    proptest! {
        /// Against one flag per byte.
        #[test]
        fn covers_what_was_added(
            list in proptest::collection::vec((0u64..200, 0u64..20), 0..60),
            most in 1usize..40,
        ) {
            let mut ranges = of(&list);
            let covered = |ranges: &Ranges, byte: u64| {
                ranges.iter().any(|(offset, length)| (offset..offset + length).contains(&byte))
            };
            for byte in 0..230 {
                let expected = list.iter().any(|&(o, l)| (o..o + l).contains(&byte));
                prop_assert_eq!(covered(&ranges, byte), expected);
            }
            prop_assert!(ranges.list.windows(2).all(|pair| pair[0].1 < pair[1].0));
            let before = ranges.clone();
            ranges.narrow_to(most);
            prop_assert!(ranges.len() <= most);
            for byte in 0..230 {
                prop_assert!(!covered(&before, byte) || covered(&ranges, byte));
            }
        }
    }
}

//! Comparing blocks by digest: pure, but for reading the new content.

use std::ops::Range;

use everwrite_protocol::wire::DIGEST_BYTES;

use super::base::Digest;
use super::content::Content;
use super::matches::{Match, Matches};
use super::{LadderError, ReadAt};

/// Digests of the blocks of a range of the new content. Everything read is also shown to `see`.
pub(super) fn digests<R: ReadAt>(
    content: &Content<'_, R>,
    range: Range<u64>,
    block: u32,
    mut see: impl FnMut(&[u8]),
) -> Result<Vec<Digest>, LadderError> {
    let blocks = (range.end - range.start).div_ceil(u64::from(block));
    let mut digests = Vec::with_capacity(blocks as usize);
    content.scan(range, |stretch| {
        see(stretch);
        // Stretches are a whole number of blocks long, but for the last.
        digests.extend(stretch.chunks(block as usize).map(digest));
    })?;
    Ok(digests)
}

fn digest(block: &[u8]) -> Digest {
    let mut digest = [0; DIGEST_BYTES];
    digest.copy_from_slice(&blake3::hash(block).as_bytes()[..DIGEST_BYTES]);
    digest
}

/// Two equally long ranges cut into the same blocks.
#[derive(Clone, Debug)]
pub(super) struct Aligned {
    /// Of the new content.
    pub(super) range: Range<u64>,
    /// Where the first block is in the base.
    pub(super) from: u64,
    /// Size of a block.
    pub(super) block: u32,
}

impl Aligned {
    /// The blocks whose digests are alike.
    pub(super) fn matches(&self, new: &[Digest], base: &[Digest]) -> Matches {
        let block = u64::from(self.block);
        let alike = new
            .iter()
            .zip(base)
            .enumerate()
            .filter(|(_, (new, base))| new == base);
        alike
            .map(|(index, _)| {
                let at = index as u64 * block;
                let offset = self.range.start + at;
                Match {
                    offset,
                    length: block.min(self.range.end - offset),
                    from: self.from + at,
                }
            })
            .collect()
    }
}

/// Has content moved, rather than changed where it is? So it looks when more than three in ten
/// bytes of `0..common` differ from the first difference on.
pub(super) fn looks_moved(same: &Matches, common: u64) -> bool {
    let gaps = same.gaps(common);
    let Some(first) = gaps.first() else {
        return false;
    };
    let differing: u64 = gaps.iter().map(|gap| gap.end - gap.start).sum();
    u128::from(differing) * 10 > u128::from(common - first.start) * 3
}

#[cfg(test)]
mod tests {
    use super::*;

    fn same(ranges: &[(u64, u64)]) -> Matches {
        let found = |&(start, end): &(u64, u64)| Match {
            offset: start,
            length: end - start,
            from: start,
        };
        ranges.iter().map(found).collect()
    }

    #[test]
    fn equal_digests_are_matches_and_the_last_block_may_be_short() {
        let aligned = Aligned {
            range: 100..350,
            from: 1000,
            block: 100,
        };
        let [a, b, c] = [[1; 16], [2; 16], [3; 16]];
        let found = aligned.matches(&[a, b, c], &[a, a, c]);
        let wanted = [
            Match {
                offset: 100,
                length: 100,
                from: 1000,
            },
            Match {
                offset: 300,
                length: 50,
                from: 1200,
            },
        ];
        assert_eq!(found, wanted.into_iter().collect());
    }

    #[test]
    fn much_difference_after_the_first_looks_moved() {
        assert!(!looks_moved(&same(&[(0, 1000)]), 1000));
        assert!(!looks_moved(&same(&[(0, 500), (510, 1000)]), 1000));
        assert!(!looks_moved(&same(&[(0, 100), (200, 800)]), 800));
        assert!(looks_moved(&same(&[(0, 900)]), 1000));
        assert!(looks_moved(&same(&[(0, 100), (200, 300)]), 1000));
        assert!(looks_moved(&same(&[]), 1000));
        assert!(!looks_moved(&same(&[]), 0));
    }
}

//! Signatures that came from another machine: checked before they are used, and put together from
//! windows.
//!
//! `fast_rsync` believes the block size in a signature, and a size of 0 makes it panic. So nothing
//! of a header is believed that was not asked for.

use std::ops::Range;

use fast_rsync::Signature;

/// MD4 in librsync's signature format; the only kind that `fast_rsync` can use.
const MAGIC: u32 = 0x7273_0136;
const HEADER_BYTES: usize = 12;
/// Of the MD4 of a block. Whole: a shorter one would be fooled by chance.
const STRONG_BYTES: u32 = 16;
/// CRC and MD4 of a block.
const BLOCK_BYTES: u64 = 4 + STRONG_BYTES as u64;

/// Longest range of one signature, in bytes.
pub(super) const WINDOW_BYTES: u64 = 32 << 20;
/// More blocks than this make an index of more than 86 MB.
const BLOCKS_MAX: u64 = 1 << 20;

/// Bytes of a base that can be indexed with the largest blocks.
pub(super) const BASE_BYTES_MAX: u64 = BLOCKS_MAX * BLOCK_SIZE_MAX;
const BLOCK_SIZE_MIN: u64 = 2 << 10;
const BLOCK_SIZE_MAX: u64 = 128 << 10;

/// rsync's rule: about the square root of the length, a power of two.
pub(super) fn block_size(length: u64) -> u32 {
    let mut size = BLOCK_SIZE_MIN;
    // The next power of two is nearer, by ratio, once length exceeds size² · 2.
    while size < BLOCK_SIZE_MAX && length > size * size * 2 {
        size *= 2;
    }
    size as u32
}

/// The ranges in which the signature of `base` is asked for.
pub(super) fn windows(base: Range<u64>) -> Vec<Range<u64>> {
    let starts = (base.start..base.end).step_by(WINDOW_BYTES as usize);
    starts
        .map(|start| start..base.end.min(start + WINDOW_BYTES))
        .collect()
}

/// A signature that grows by windows.
#[derive(Debug)]
pub(super) struct Growing {
    block_size: u32,
    bytes: Vec<u8>,
}

impl Growing {
    pub(super) fn new(block_size: u32) -> Self {
        Self {
            block_size,
            bytes: header(block_size).to_vec(),
        }
    }

    /// Adds the signature of the next window, `length` bytes long; all but the last are a whole
    /// number of blocks. False when it is not what was asked for.
    pub(super) fn add(&mut self, window: &[u8], length: u64) -> bool {
        let blocks = length.div_ceil(u64::from(self.block_size));
        let meant = window.len() as u64 == HEADER_BYTES as u64 + blocks * BLOCK_BYTES
            && window.starts_with(&header(self.block_size));
        if meant {
            self.bytes.extend_from_slice(&window[HEADER_BYTES..]);
        }
        meant
    }

    /// The signature of all windows; `None` can't happen with a header of ours.
    pub(super) fn finish(self) -> Option<Signature> {
        Signature::deserialize(self.bytes).ok()
    }
}

fn header(block_size: u32) -> [u8; HEADER_BYTES] {
    let mut header = [0; HEADER_BYTES];
    header[0..4].copy_from_slice(&MAGIC.to_be_bytes());
    header[4..8].copy_from_slice(&block_size.to_be_bytes());
    header[8..12].copy_from_slice(&STRONG_BYTES.to_be_bytes());
    header
}

#[cfg(test)]
mod tests {
    use fast_rsync::SignatureOptions;
    use proptest::prelude::*;

    use super::*;

    fn sign(data: &[u8], block_size: u32) -> Vec<u8> {
        let options = SignatureOptions {
            block_size,
            crypto_hash_size: STRONG_BYTES,
        };
        Signature::calculate(data, options).into_serialized()
    }

    #[test]
    fn block_sizes_follow_the_root() {
        for (length, size) in [
            (0, 2 << 10),
            (1 << 20, 2 << 10),
            (50 << 20, 8 << 10),
            (1 << 30, 32 << 10),
            (1 << 40, 128 << 10),
        ] {
            assert_eq!(block_size(length), size, "{length}");
        }
    }

    #[test]
    fn windows_cover_all_once() {
        assert_eq!(windows(5..5), []);
        let start = 100;
        let end = start + 2 * WINDOW_BYTES + 1;
        let windows = windows(start..end);
        assert_eq!(windows.len(), 3);
        assert!(windows.windows(2).all(|pair| pair[0].end == pair[1].start));
        assert_eq!((windows[0].start, windows[2].end), (start, end));
    }

    #[test]
    fn grown_by_windows_it_is_the_signature_of_the_whole() {
        let data: Vec<u8> = (0..100_000u32)
            .map(|at| (at.wrapping_mul(at) >> 7) as u8)
            .collect();
        let mut growing = Growing::new(2048);
        for window in data.chunks(2048 * 5) {
            assert!(growing.add(&sign(window, 2048), window.len() as u64));
        }
        assert_eq!(
            growing.finish().unwrap().into_serialized(),
            sign(&data, 2048)
        );
    }

    #[test]
    fn what_was_not_asked_for_is_refused() {
        let good = sign(&[7; 5000], 2048);
        let refuses = |window: &[u8], length| !Growing::new(2048).add(window, length);
        assert!(!refuses(&good, 5000));
        assert!(refuses(&good, 8000));
        assert!(refuses(&good[..good.len() - 1], 5000));
        assert!(refuses(&sign(&[7; 5000], 1024), 5000));
        assert!(refuses(&[], 0));
        let mut no_blocks = good.clone();
        no_blocks[4..8].fill(0);
        assert!(refuses(&no_blocks, 5000));
    }

    proptest! {
        /// Whatever stands in for digests, a diff against it neither panics nor finds anything
        /// outside the base.
        #[test]
        fn digests_of_nonsense_do_no_harm(body: Vec<u8>, data: Vec<u8>) {
            let blocks = body.len() / BLOCK_BYTES as usize;
            let window =
                [&header(2048)[..], &body[..blocks * BLOCK_BYTES as usize]].concat();
            let mut growing = Growing::new(2048);
            prop_assert!(growing.add(&window, blocks as u64 * 2048));
            let signature = growing.finish().unwrap();
            let mut delta = Vec::new();
            fast_rsync::diff(&signature.index(), &data.repeat(50), &mut delta).unwrap();
            prop_assert!(super::super::librsync::matches(&delta).is_ok());
        }
    }
}

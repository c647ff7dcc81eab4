//! A digest of content that does not care where holes are: of every block that is not all zeros,
//! with its place, and of the size. A file of a terabyte with one byte in it costs one block.

use std::fs::File;
use std::io;

use crate::mirror::{data_ranges, read_at};

/// Bytes of a block.
const BLOCK_BYTES: u64 = 1 << 16;

/// Takes content in ascending order.
#[derive(Debug)]
pub(super) struct ContentDigest {
    hasher: blake3::Hasher,
    /// Number of the block under way, and its bytes.
    block: u64,
    bytes: Vec<u8>,
}

impl ContentDigest {
    pub(super) fn new() -> Self {
        Self {
            hasher: blake3::Hasher::new(),
            block: 0,
            bytes: vec![0; BLOCK_BYTES as usize],
        }
    }

    /// `data` lies at `offset`, not before what was put so far.
    pub(super) fn put(&mut self, mut offset: u64, mut data: &[u8]) {
        while !data.is_empty() {
            if offset / BLOCK_BYTES != self.block {
                self.end_block();
                self.block = offset / BLOCK_BYTES;
            }
            let start = (offset % BLOCK_BYTES) as usize;
            let length = data.len().min(self.bytes.len() - start);
            self.bytes[start..start + length].copy_from_slice(&data[..length]);
            data = &data[length..];
            offset += length as u64;
        }
    }

    fn end_block(&mut self) {
        if self.bytes.iter().any(|byte| *byte != 0) {
            self.hasher.update(&self.block.to_le_bytes());
            self.hasher.update(&self.bytes);
            self.bytes.fill(0);
        }
    }

    /// The digest of a file of `size` bytes.
    pub(super) fn finish(mut self, size: u64) -> blake3::Hash {
        self.end_block();
        self.hasher.update(&size.to_le_bytes());
        self.hasher.finalize()
    }
}

/// The digest of a file on the disk.
pub(super) fn of_file(file: &File) -> io::Result<blake3::Hash> {
    let size = file.metadata()?.len();
    let mut digest = ContentDigest::new();
    let mut buffer = vec![0; 1 << 20];
    for range in data_ranges(file, 0..size, buffer.len() as u64)? {
        let length = (range.end - range.start) as usize;
        let read = read_at(file, &mut buffer[..length], range.start)?;
        digest.put(range.start, &buffer[..read]);
    }
    Ok(digest.finish(size))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::FileExt;

    use super::*;

    fn of_pieces(size: u64, pieces: &[(u64, &[u8])]) -> blake3::Hash {
        let mut digest = ContentDigest::new();
        pieces
            .iter()
            .for_each(|(offset, data)| digest.put(*offset, data));
        digest.finish(size)
    }

    #[test]
    fn pieces_and_holes_do_not_matter() {
        let data: Vec<u8> = (0..200_000u32).map(|at| at as u8).collect();
        let (head, tail) = data.split_at(77_777);
        let whole = of_pieces(300_000, &[(0, &data)]);
        assert_eq!(of_pieces(300_000, &[(0, head), (77_777, tail)]), whole);
        assert_eq!(of_pieces(300_000, &[(0, &data), (250_000, &[0; 9])]), whole);
        assert_ne!(of_pieces(300_001, &[(0, &data)]), whole);
        assert_ne!(of_pieces(300_000, &[(1, &data)]), whole);
    }

    #[test]
    fn a_file_on_the_disk_has_the_same() {
        let file = tempfile::tempfile().unwrap();
        file.set_len(1 << 40).unwrap();
        file.write_all_at(b"far away", 1 << 39).unwrap();
        assert_eq!(
            of_file(&file).unwrap(),
            of_pieces(1 << 40, &[(1 << 39, b"far away")])
        );
    }
}

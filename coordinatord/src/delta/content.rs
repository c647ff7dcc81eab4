//! The new content, with what is known of its holes.

use std::io;
use std::ops::Range;

use super::{LadderError, ReadAt};

/// Bytes read at once where they are only hashed.
const READ_BYTES: u64 = 1 << 20;

/// New content of a known length. Holes are not read.
pub(super) struct Content<'c, R> {
    reader: &'c R,
    length: u64,
    /// Ascending.
    holes: Vec<Range<u64>>,
}

impl<'c, R: ReadAt> Content<'c, R> {
    pub(super) fn new(reader: &'c R, length: u64) -> Result<Self, LadderError> {
        let holes = holes(reader, length)?;
        Ok(Self {
            reader,
            length,
            holes,
        })
    }

    pub(super) const fn length(&self) -> u64 {
        self.length
    }

    pub(super) fn holes(&self) -> &[Range<u64>] {
        &self.holes
    }

    /// Fills `buffer` from `offset` on.
    pub(super) fn read(&self, buffer: &mut [u8], offset: u64) -> Result<(), LadderError> {
        if self.is_hole(offset..offset + buffer.len() as u64) {
            buffer.fill(0);
            return Ok(());
        }
        let mut filled = 0;
        while filled < buffer.len() {
            match self
                .reader
                .read_at(&mut buffer[filled..], offset + filled as u64)
            {
                Ok(0) => return Err(LadderError::Shrunk),
                Ok(read) => filled += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Passes `range` to `see` in stretches of 1 MiB, the last one shorter.
    pub(super) fn scan(
        &self,
        range: Range<u64>,
        mut see: impl FnMut(&[u8]),
    ) -> Result<(), LadderError> {
        let mut buffer = vec![0; READ_BYTES.min(range.end - range.start) as usize];
        let mut at = range.start;
        while at < range.end {
            let stretch = &mut buffer[..(range.end - at).min(READ_BYTES) as usize];
            self.read(stretch, at)?;
            see(stretch);
            at += stretch.len() as u64;
        }
        Ok(())
    }

    fn is_hole(&self, range: Range<u64>) -> bool {
        let after = self.holes.partition_point(|hole| hole.end < range.end);
        let hole = self.holes.get(after);
        hole.is_some_and(|hole| hole.start <= range.start && range.end <= hole.end)
    }
}

fn holes(reader: &impl ReadAt, length: u64) -> Result<Vec<Range<u64>>, LadderError> {
    let mut holes = Vec::new();
    let mut at = 0;
    while at < length {
        let data = reader.next_data(at)?.unwrap_or(length..length);
        let start = data.start.min(length);
        if at < start {
            holes.push(at..start);
        }
        // A reader that gives an empty range would otherwise hold us here for ever.
        at = data.end.max(start.saturating_add(1));
    }
    Ok(holes)
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::unix::fs::FileExt;

    use super::*;

    const MIB: u64 = 1 << 20;

    #[test]
    fn holes_of_a_file_are_found_and_read_as_zeros() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&[1; 4096]).unwrap();
        file.write_all_at(&[2; 4096], 2 * MIB).unwrap();
        file.set_len(4 * MIB).unwrap();
        let content = Content::new(&file, 4 * MIB).unwrap();
        let covered: u64 = content
            .holes()
            .iter()
            .map(|hole| hole.end - hole.start)
            .sum();
        // How fine holes are is the file system's business.
        assert!(covered >= 3 * MIB, "{:?}", content.holes());
        let mut seen = Vec::new();
        content
            .scan(0..4 * MIB, |stretch| seen.extend_from_slice(stretch))
            .unwrap();
        let mut wanted = vec![0; 4 << 20];
        wanted[..4096].fill(1);
        wanted[2 << 20..][..4096].fill(2);
        assert!(seen == wanted);
    }

    #[test]
    fn a_file_that_became_shorter_is_told() {
        let content = vec![7u8; 100];
        let content = Content::new(&content, 200).unwrap();
        let end = content.scan(0..200, |_| {});
        // The end of a vector is a hole to it; what lies before is read.
        assert!(matches!(end, Err(LadderError::Shrunk)));
    }
}

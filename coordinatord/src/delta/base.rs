//! The base: a file at the receiver, known by digests only.

use std::ops::Range;

use everwrite_protocol::ids::{FileId, SequenceNumber};
use everwrite_protocol::wire::{Answer, DIGEST_BYTES, Query};

use super::LadderError;
use super::signature::{Growing, windows};
use crate::network_backup::Ask;

/// First half of a block's BLAKE3.
pub(super) type Digest = [u8; DIGEST_BYTES];

/// Questions that are on the line at once.
pub(super) const QUESTIONS: usize = 8;

/// A file at a receiver, once a batch is in its mirror.
pub(super) struct Base<'a, A> {
    pub(super) receiver: &'a A,
    pub(super) file: FileId,
    pub(super) length: u64,
    pub(super) after: SequenceNumber,
}

impl<A: Ask> Base<'_, A> {
    /// Digests of the blocks of several ranges, in order. Each has few enough for one answer.
    pub(super) async fn digests(
        &self,
        ranges: &[Range<u64>],
        block: u32,
    ) -> Result<Vec<Vec<Digest>>, LadderError> {
        let query = |range: &Range<u64>| Query::Digests {
            file: self.file,
            offset: range.start,
            length: range.end - range.start,
            block,
            after: self.after,
        };
        let answers = self
            .receiver
            .ask_all(ranges.iter().map(query).collect())
            .await?;
        let both = ranges.iter().zip(answers);
        both.map(|(range, answer)| self.check(range, block, answer))
            .collect()
    }

    fn check(
        &self,
        range: &Range<u64>,
        block: u32,
        answer: (Answer, Vec<u8>),
    ) -> Result<Vec<Digest>, LadderError> {
        let (Answer::Digests { size, blocks }, payload) = answer else {
            return Err(LadderError::Nonsense("answer to a question for digests"));
        };
        if size != self.length {
            return Err(LadderError::Base {
                expected: self.length,
                found: size,
            });
        }
        let (digests, rest) = payload.as_chunks();
        let wanted = (range.end - range.start).div_ceil(u64::from(block));
        if u64::from(blocks) != wanted || digests.len() as u64 != wanted || !rest.is_empty() {
            return Err(LadderError::Nonsense("number of digests"));
        }
        Ok(digests.to_vec())
    }

    /// The signature of a range.
    pub(super) async fn signature(
        &self,
        range: Range<u64>,
        block: u32,
    ) -> Result<fast_rsync::Signature, LadderError> {
        let mut growing = Growing::new(block);
        for windows in windows(range).chunks(QUESTIONS) {
            let query = |window: &Range<u64>| Query::Signature {
                file: self.file,
                offset: window.start,
                length: window.end - window.start,
                block,
                after: self.after,
            };
            let answers = self
                .receiver
                .ask_all(windows.iter().map(query).collect())
                .await?;
            for (window, (answer, payload)) in windows.iter().zip(answers) {
                let meant =
                    answer == Answer::Signature && growing.add(&payload, window.end - window.start);
                if !meant {
                    return Err(LadderError::Nonsense("signature"));
                }
            }
        }
        growing.finish().ok_or(LadderError::Nonsense("signature"))
    }
}

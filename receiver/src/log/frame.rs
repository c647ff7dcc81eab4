//! The frame of the log: a fixed header, an encoded part, a payload, padding to eight bytes.
//!
//! ```text
//!  0  magic          u32  "EWL1"
//!  4  kind           u8   FrameKind
//!  5  flags          u8   bit 0: payload is zstd
//!  6  version        u16  of the encoded part
//!  8  encoded_bytes  u32
//! 12  payload_bytes  u32  as stored
//! 16  raw_bytes      u32  of the payload when decompressed
//! 20  part           u32
//! 24  sequence       u64  batch; of a SEGMENT: its number
//! 32  body_crc       u32  CRC-32C of encoded part and payload
//! 36  chain          u64  first 8 bytes of BLAKE3(chain of the frame before ‖ bytes 0..36)
//! 44  header_crc     u32  CRC-32C of bytes 0..44
//! 48  encoded part, payload, zeros up to a multiple of 8
//! ```
//! All numbers little endian. The chain makes the order of frames part of their identity: a frame
//! that was lost, doubled or moved shows, even where each checksum is right.

use bincode::{Decode, Encode};
use crc_fast::{CrcAlgorithm, checksum};
use everwrite_protocol::codec::ENCODED_BYTES_MAX;
use everwrite_protocol::wire::PAYLOAD_BYTES_MAX;

/// Size of the header in bytes.
pub const HEADER_BYTES: usize = 48;
/// Frames begin at multiples of this, so that a search for them is quick.
pub const ALIGNMENT: u64 = 8;
const MAGIC: u32 = u32::from_le_bytes(*b"EWL1");
const FLAG_ZSTD: u8 = 1;

/// What a frame holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum FrameKind {
    /// First in every segment: a [`SegmentHead`](super::segment::SegmentHead).
    Segment = 1,
    /// A [`Part`](everwrite_protocol::wire::Part) of a batch, as received.
    Data = 2,
    /// [`StoredCut`](super::StoredCut).
    Cut = 3,
    /// [`Preimages`](super::Preimages).
    Preimage = 4,
    /// [`WindowMark`](super::WindowMark).
    Window = 5,
    /// Empty: the window has come to the [`Phase`](super::Phase) that `part` tells, durably.
    Phase = 6,
}

impl FrameKind {
    fn from_byte(byte: u8) -> Option<Self> {
        Some(match byte {
            1 => Self::Segment,
            2 => Self::Data,
            3 => Self::Cut,
            4 => Self::Preimage,
            5 => Self::Window,
            6 => Self::Phase,
            _ => return None,
        })
    }
}

/// Where a frame begins. Ordered as the log is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Encode, Decode)]
pub struct FramePosition {
    /// Number of the segment, from 1.
    pub segment: u32,
    /// First byte in it.
    pub offset: u32,
}

impl FramePosition {
    /// As one number for the catalog; never 0 for a frame.
    pub fn to_number(self) -> i64 {
        (i64::from(self.segment) << 32) | i64::from(self.offset)
    }

    /// From the catalog's number.
    pub fn from_number(number: i64) -> Self {
        Self {
            segment: (number >> 32) as u32,
            offset: number as u32,
        }
    }
}

/// The running hash over all frames up to one.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Encode, Decode)]
pub struct Chain(pub u64);

impl Chain {
    fn next(self, header: &[u8]) -> Self {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&self.0.to_le_bytes());
        hasher.update(header);
        let mut first = [0u8; 8];
        first.copy_from_slice(&hasher.finalize().as_bytes()[..8]);
        Self(u64::from_le_bytes(first))
    }
}

/// A frame to be written.
#[derive(Clone, Debug)]
pub struct NewFrame {
    /// What it holds.
    pub kind: FrameKind,
    /// Batch.
    pub sequence: u64,
    /// Part, where that has a meaning.
    pub part: u32,
    /// Encoded part.
    pub encoded: Vec<u8>,
    /// Payload as stored.
    pub payload: Vec<u8>,
    /// Length of the payload when decompressed, in bytes.
    pub raw_bytes: usize,
    /// The payload is zstd.
    pub compressed: bool,
}

impl NewFrame {
    /// A frame without a payload.
    pub fn bare(kind: FrameKind, sequence: u64, encoded: Vec<u8>) -> Self {
        let (payload, raw_bytes) = (Vec::new(), 0);
        Self {
            kind,
            sequence,
            part: 0,
            encoded,
            payload,
            raw_bytes,
            compressed: false,
        }
    }

    /// Bytes it takes in a segment.
    pub fn stored_bytes(&self) -> u64 {
        stored_bytes(self.encoded.len(), self.payload.len())
    }

    /// Its header after a frame with `previous` chain, and the chain with it.
    pub fn seal(&self, previous: Chain) -> ([u8; HEADER_BYTES], Chain) {
        let mut bytes = [0u8; HEADER_BYTES];
        bytes[0..4].copy_from_slice(&MAGIC.to_le_bytes());
        bytes[4] = self.kind as u8;
        bytes[5] = if self.compressed { FLAG_ZSTD } else { 0 };
        bytes[6..8].copy_from_slice(&1u16.to_le_bytes());
        bytes[8..12].copy_from_slice(&(self.encoded.len() as u32).to_le_bytes());
        bytes[12..16].copy_from_slice(&(self.payload.len() as u32).to_le_bytes());
        bytes[16..20].copy_from_slice(&(self.raw_bytes as u32).to_le_bytes());
        bytes[20..24].copy_from_slice(&self.part.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.sequence.to_le_bytes());
        let body = body_crc(&self.encoded, &self.payload);
        bytes[32..36].copy_from_slice(&body.to_le_bytes());
        let chain = previous.next(&bytes[0..36]);
        bytes[36..44].copy_from_slice(&chain.0.to_le_bytes());
        let crc = crc32c(&bytes[0..44]);
        bytes[44..48].copy_from_slice(&crc.to_le_bytes());
        (bytes, chain)
    }
}

/// A header read back; its own checksum is right.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Header {
    /// What the frame holds.
    pub kind: FrameKind,
    /// The payload is zstd.
    pub compressed: bool,
    /// Length of the encoded part in bytes.
    pub encoded_bytes: usize,
    /// Length of the payload as stored, in bytes.
    pub payload_bytes: usize,
    /// Length of the payload when decompressed, in bytes.
    pub raw_bytes: usize,
    /// Part, where that has a meaning.
    pub part: u32,
    /// Batch.
    pub sequence: u64,
    /// The chain up to and with this frame, as written.
    pub chain: Chain,
    body_crc: u32,
    chained: [u8; 36],
}

/// Why bytes are not a frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum FrameError {
    /// No frame was ever written here.
    #[error("nothing written")]
    Empty,
    /// The first four bytes are wrong.
    #[error("not a frame")]
    Magic,
    /// The header does not match its checksum.
    #[error("frame header damaged")]
    HeaderChecksum,
    /// Kind, flags, version or a length that this build does not write.
    #[error("frame of an unknown form")]
    Form,
    /// Encoded part and payload do not match their checksum, or are cut short.
    #[error("frame body damaged")]
    BodyChecksum,
    /// Not the frame that followed the one before it when they were written.
    #[error("frame out of its chain")]
    Chain,
}

impl Header {
    /// From bytes. Lengths are within their limits.
    pub fn decode(bytes: &[u8; HEADER_BYTES]) -> Result<Self, FrameError> {
        let word = |at: usize| u32::from_le_bytes([0, 1, 2, 3].map(|i| bytes[at + i]));
        let long = |at: usize| u64::from(word(at)) | (u64::from(word(at + 4)) << 32);
        match word(0) {
            MAGIC => {}
            0 => return Err(FrameError::Empty),
            _ => return Err(FrameError::Magic),
        }
        if word(44) != crc32c(&bytes[0..44]) {
            return Err(FrameError::HeaderChecksum);
        }
        let version = u16::from_le_bytes([bytes[6], bytes[7]]);
        if bytes[5] & !FLAG_ZSTD != 0 || version != 1 {
            return Err(FrameError::Form);
        }
        let mut chained = [0u8; 36];
        chained.copy_from_slice(&bytes[0..36]);
        Ok(Self {
            kind: FrameKind::from_byte(bytes[4]).ok_or(FrameError::Form)?,
            compressed: bytes[5] == FLAG_ZSTD,
            encoded_bytes: limited(word(8), ENCODED_BYTES_MAX)?,
            payload_bytes: limited(word(12), PAYLOAD_BYTES_MAX)?,
            raw_bytes: limited(word(16), PAYLOAD_BYTES_MAX)?,
            part: word(20),
            sequence: long(24),
            chain: Chain(long(36)),
            body_crc: word(32),
            chained,
        })
    }

    /// Did this frame follow one with `previous` chain?
    pub fn follows(&self, previous: Chain) -> bool {
        previous.next(&self.chained) == self.chain
    }

    /// Is `body` (encoded part and payload together) what was written?
    pub fn owns(&self, body: &[u8]) -> bool {
        self.body_crc == crc32c(body)
    }

    /// Length of encoded part and payload.
    pub fn body_bytes(&self) -> usize {
        self.encoded_bytes + self.payload_bytes
    }

    /// Bytes the frame takes in its segment.
    pub fn stored_bytes(&self) -> u64 {
        stored_bytes(self.encoded_bytes, self.payload_bytes)
    }
}

fn stored_bytes(encoded: usize, payload: usize) -> u64 {
    ((HEADER_BYTES + encoded + payload) as u64).next_multiple_of(ALIGNMENT)
}

fn limited(length: u32, limit: usize) -> Result<usize, FrameError> {
    match usize::try_from(length) {
        Ok(bytes) if bytes <= limit => Ok(bytes),
        _ => Err(FrameError::Form),
    }
}

fn body_crc(encoded: &[u8], payload: &[u8]) -> u32 {
    let mut digest = crc_fast::Digest::new(CrcAlgorithm::Crc32Iscsi);
    digest.update(encoded);
    digest.update(payload);
    digest.finalize() as u32
}

fn crc32c(bytes: &[u8]) -> u32 {
    checksum(CrcAlgorithm::Crc32Iscsi, bytes) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame() -> NewFrame {
        NewFrame {
            kind: FrameKind::Data,
            sequence: 7,
            part: 2,
            encoded: b"part".to_vec(),
            payload: b"payload".to_vec(),
            raw_bytes: 7,
            compressed: false,
        }
    }

    #[test]
    fn a_header_comes_back() {
        let (bytes, chain) = frame().seal(Chain(5));
        let header = Header::decode(&bytes).unwrap();
        assert_eq!(
            (header.kind, header.sequence, header.part),
            (FrameKind::Data, 7, 2)
        );
        assert_eq!(header.stored_bytes(), 64);
        assert!(header.follows(Chain(5)) && !header.follows(Chain(6)));
        assert_eq!(header.chain, chain);
        assert!(header.owns(b"partpayload") && !header.owns(b"partpayloaD"));
    }

    #[test]
    fn every_flipped_bit_of_a_header_shows() {
        let (bytes, _) = frame().seal(Chain(0));
        for bit in 0..HEADER_BYTES * 8 {
            let mut damaged = bytes;
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(Header::decode(&damaged).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn zeros_are_the_end_not_damage() {
        assert_eq!(Header::decode(&[0; HEADER_BYTES]), Err(FrameError::Empty));
    }
}

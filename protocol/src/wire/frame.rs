//! The frame: a fixed header, an encoded part, a payload.
//!
//! ```text
//!  0  magic            u32   "EWF1"
//!  4  type             u8    FrameType
//!  5  flags            u8    bit 0: payload is zstd
//!  6  version          u16   of the encoded part
//!  8  encoded_bytes    u32   ≤ ENCODED_BYTES_MAX
//! 12  payload_bytes    u32   as sent, ≤ PAYLOAD_BYTES_MAX
//! 16  raw_bytes        u32   of the payload when decompressed, ≤ PAYLOAD_BYTES_MAX
//! 20  reserved         u32   0
//! 24  body_crc         u32   CRC-32C of encoded part and payload as sent
//! 28  header_crc       u32   CRC-32C of bytes 0..28
//! 32  encoded part, then payload
//! ```
//! All numbers little endian.

use crc_fast::{CrcAlgorithm, checksum};

use super::command::PAYLOAD_BYTES_MAX;
use crate::codec::ENCODED_BYTES_MAX;

/// Size of the header in bytes.
pub const HEADER_BYTES: usize = 32;
/// First four bytes of every frame.
pub const MAGIC: u32 = u32::from_le_bytes(*b"EWF1");
/// Version of the encoded parts that this build writes.
pub const ENCODED_VERSION: u16 = 1;

const FLAG_ZSTD: u8 = 1;

/// What a frame holds. The receiver refuses types it does not know.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum FrameType {
    /// [`Hello`](super::Hello), coordinator → receiver, first on a connection.
    Hello = 1,
    /// [`Welcome`](super::Welcome) or refusal, receiver → coordinator.
    Welcome = 2,
    /// [`Enrol`](super::Enrol), in place of `Hello` when pairing.
    Enrol = 3,
    /// [`Enrolled`](super::Enrolled), answer to it.
    Enrolled = 4,
    /// [`Part`](super::Part) of a batch, with payload.
    Part = 10,
    /// [`Cut`](super::Cut): the batch is complete.
    Cut = 11,
    /// [`Reply`](super::Reply), receiver → coordinator on a live connection.
    Reply = 12,
    /// Empty; answered by `Pong`.
    Ping = 13,
    /// Empty.
    Pong = 14,
    /// [`Query`](super::Query).
    Query = 20,
    /// [`Answer`](super::Answer), with payload.
    Answer = 21,
}

impl FrameType {
    fn from_byte(byte: u8) -> Option<Self> {
        Some(match byte {
            1 => Self::Hello,
            2 => Self::Welcome,
            3 => Self::Enrol,
            4 => Self::Enrolled,
            10 => Self::Part,
            11 => Self::Cut,
            12 => Self::Reply,
            13 => Self::Ping,
            14 => Self::Pong,
            20 => Self::Query,
            21 => Self::Answer,
            _ => return None,
        })
    }
}

/// A checked header.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Header {
    /// What the frame holds.
    pub frame_type: FrameType,
    /// The payload is compressed with zstd.
    pub compressed: bool,
    /// Version of the encoded part.
    pub version: u16,
    /// Length of the encoded part in bytes.
    pub encoded_bytes: usize,
    /// Length of the payload as sent, in bytes.
    pub payload_bytes: usize,
    /// Length of the payload when decompressed, in bytes.
    pub raw_bytes: usize,
    /// CRC-32C of all that follows the header.
    pub body_crc: u32,
}

/// Why bytes are not a frame. Always the peer's fault, or the line's.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum FrameError {
    /// The first four bytes are wrong.
    #[error("not an Everwrite frame")]
    Magic,
    /// The header does not match its checksum.
    #[error("frame header damaged")]
    HeaderChecksum,
    /// Encoded part and payload do not match their checksum.
    #[error("frame body damaged")]
    BodyChecksum,
    /// A type of a later version, or nonsense.
    #[error("unknown frame type {0}")]
    Type(u8),
    /// A flag of a later version, or nonsense.
    #[error("unknown frame flags {0:#x}")]
    Flags(u8),
    /// A length beyond its limit.
    #[error("frame too long: {0} bytes")]
    TooLong(u32),
    /// An uncompressed payload with two lengths.
    #[error("payload lengths contradict each other")]
    Lengths,
}

impl Header {
    /// The header for this body.
    pub fn new(frame_type: FrameType, encoded: &[u8], payload: &[u8]) -> Self {
        Self {
            frame_type,
            compressed: false,
            version: ENCODED_VERSION,
            encoded_bytes: encoded.len(),
            payload_bytes: payload.len(),
            raw_bytes: payload.len(),
            body_crc: body_crc(encoded, payload),
        }
    }

    /// The header for a body whose payload was compressed from `raw_bytes`.
    pub fn compressed(
        frame_type: FrameType,
        encoded: &[u8],
        payload: &[u8],
        raw_bytes: usize,
    ) -> Self {
        Self {
            compressed: true,
            raw_bytes,
            ..Self::new(frame_type, encoded, payload)
        }
    }

    /// As bytes.
    pub fn encode(&self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0u8; HEADER_BYTES];
        bytes[0..4].copy_from_slice(&MAGIC.to_le_bytes());
        bytes[4] = self.frame_type as u8;
        bytes[5] = if self.compressed { FLAG_ZSTD } else { 0 };
        bytes[6..8].copy_from_slice(&self.version.to_le_bytes());
        bytes[8..12].copy_from_slice(&(self.encoded_bytes as u32).to_le_bytes());
        bytes[12..16].copy_from_slice(&(self.payload_bytes as u32).to_le_bytes());
        bytes[16..20].copy_from_slice(&(self.raw_bytes as u32).to_le_bytes());
        bytes[24..28].copy_from_slice(&self.body_crc.to_le_bytes());
        let crc = crc32c(&bytes[0..28]);
        bytes[28..32].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// From bytes; every length is checked against its limit.
    pub fn decode(bytes: &[u8; HEADER_BYTES]) -> Result<Self, FrameError> {
        let word = |at: usize| {
            u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
        };
        if word(0) != MAGIC {
            return Err(FrameError::Magic);
        }
        if word(28) != crc32c(&bytes[0..28]) {
            return Err(FrameError::HeaderChecksum);
        }
        let header = Self {
            frame_type: FrameType::from_byte(bytes[4]).ok_or(FrameError::Type(bytes[4]))?,
            compressed: match bytes[5] {
                0 => false,
                FLAG_ZSTD => true,
                flags => return Err(FrameError::Flags(flags)),
            },
            version: u16::from_le_bytes([bytes[6], bytes[7]]),
            encoded_bytes: limited(word(8), ENCODED_BYTES_MAX)?,
            payload_bytes: limited(word(12), PAYLOAD_BYTES_MAX)?,
            raw_bytes: limited(word(16), PAYLOAD_BYTES_MAX)?,
            body_crc: word(24),
        };
        if !header.compressed && header.payload_bytes != header.raw_bytes {
            return Err(FrameError::Lengths);
        }
        Ok(header)
    }

    /// Does the body belong to this header?
    pub fn check_body(&self, encoded: &[u8], payload: &[u8]) -> Result<(), FrameError> {
        if self.body_crc == body_crc(encoded, payload) {
            Ok(())
        } else {
            Err(FrameError::BodyChecksum)
        }
    }
}

fn limited(length: u32, limit: usize) -> Result<usize, FrameError> {
    match usize::try_from(length) {
        Ok(bytes) if bytes <= limit => Ok(bytes),
        _ => Err(FrameError::TooLong(length)),
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

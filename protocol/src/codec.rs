//! The only door to bincode: always a limit, always all of the input.
//!
//! bincode 2.0.1 without a limit lets nine hostile bytes allocate until the process aborts, and it
//! takes trailing bytes in silence. Both are closed here. Standard configuration: little endian,
//! variable-length integers.

use bincode::{Decode, Encode, config};

/// Longest encoded part of one frame, in bytes. File content is never inside.
pub const ENCODED_BYTES_MAX: usize = 1 << 20;

/// Why bytes could not be decoded.
#[derive(Debug, thiserror::Error)]
pub enum CodecError {
    /// The bytes are not a value of the type.
    #[error("malformed message: {0}")]
    Malformed(#[from] bincode::error::DecodeError),
    /// A value was followed by bytes that belong to nothing.
    #[error("malformed message: {0} bytes too many")]
    Trailing(usize),
    /// The value can't be encoded within [`ENCODED_BYTES_MAX`].
    #[error("message too long: {0} bytes")]
    TooLong(usize),
}

/// Encodes `value`.
pub fn encode<M: Encode>(value: &M) -> Result<Vec<u8>, CodecError> {
    match bincode::encode_to_vec(value, config::standard()) {
        Ok(bytes) if bytes.len() <= ENCODED_BYTES_MAX => Ok(bytes),
        Ok(bytes) => Err(CodecError::TooLong(bytes.len())),
        Err(_) => Err(CodecError::TooLong(0)),
    }
}

/// Decodes a value from exactly `bytes`.
pub fn decode<M: Decode<()>>(bytes: &[u8]) -> Result<M, CodecError> {
    let limited = config::standard().with_limit::<ENCODED_BYTES_MAX>();
    let (value, used) = bincode::decode_from_slice(bytes, limited)?;
    match bytes.len() - used {
        0 => Ok(value),
        trailing => Err(CodecError::Trailing(trailing)),
    }
}

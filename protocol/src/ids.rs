//! Identities and numbers that must not be mistaken for one another, and checked names.

use bincode::de::{BorrowDecoder, Decoder};
use bincode::error::DecodeError;
use bincode::{BorrowDecode, Decode, Encode};
use serde::{Deserialize, Serialize};

/// A file (of any kind) of one source, for as long as it lives. Given by the coordinator, never
/// reused, the same across all roots of the source. Names point at it; it is not a name.
#[derive(
    Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Encode, Decode, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct FileId(pub u64);

impl FileId {
    /// The parent of all roots. Its children are the protected roots, by name.
    pub const TOP: Self = Self(0);
}

/// Number of a batch of one source: 1, 2, 3 … without gaps. A stored batch is a recovery point.
#[derive(
    Clone,
    Copy,
    PartialEq,
    Eq,
    Hash,
    PartialOrd,
    Ord,
    Debug,
    Default,
    Encode,
    Decode,
    Serialize,
    Deserialize,
)]
#[serde(transparent)]
pub struct SequenceNumber(pub u64);

impl SequenceNumber {
    /// The number after this one.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

/// A source, for ever: 16 random bytes made at its first start.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Encode, Decode)]
pub struct SourceId(pub [u8; 16]);

impl std::fmt::Display for SourceId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl std::str::FromStr for SourceId {
    type Err = InvalidSourceId;

    fn from_str(text: &str) -> Result<Self, InvalidSourceId> {
        let mut bytes = [0u8; 16];
        if text.len() != 32 || !text.is_ascii() {
            return Err(InvalidSourceId);
        }
        for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks(2)) {
            let pair = std::str::from_utf8(pair).map_err(|_| InvalidSourceId)?;
            *byte = u8::from_str_radix(pair, 16).map_err(|_| InvalidSourceId)?;
        }
        Ok(Self(bytes))
    }
}

/// A text that is not 32 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("a source id is 32 hexadecimal digits")]
pub struct InvalidSourceId;

/// One component of a path: 1 to 255 bytes, no slash, no NUL, not `.` or `..`. Bytes, not UTF-8.
///
/// Checked when made and when decoded, so that a path built of names can't leave its directory.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Encode)]
pub struct Name(Vec<u8>);

impl Name {
    /// Longest name in bytes (`NAME_MAX`).
    pub const BYTES_MAX: usize = 255;

    /// Checks `bytes`.
    pub fn new(bytes: impl Into<Vec<u8>>) -> Result<Self, InvalidName> {
        let bytes = bytes.into();
        match bytes.as_slice() {
            b"" => Err(InvalidName::Empty),
            b"." | b".." => Err(InvalidName::Dots),
            _ if bytes.len() > Self::BYTES_MAX => Err(InvalidName::TooLong),
            _ if bytes.iter().any(|byte| matches!(byte, b'/' | 0)) => Err(InvalidName::Separator),
            _ => Ok(Self(bytes)),
        }
    }

    /// The bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// As the operating system takes it.
    pub fn as_os_str(&self) -> &std::ffi::OsStr {
        std::os::unix::ffi::OsStrExt::from_bytes(&self.0)
    }
}

impl std::fmt::Debug for Name {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?}", String::from_utf8_lossy(&self.0))
    }
}

impl std::fmt::Display for Name {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.0))
    }
}

impl AsRef<std::path::Path> for Name {
    fn as_ref(&self) -> &std::path::Path {
        std::path::Path::new(self.as_os_str())
    }
}

impl<C> Decode<C> for Name {
    fn decode<D: Decoder<Context = C>>(decoder: &mut D) -> Result<Self, DecodeError> {
        Self::new(Vec::<u8>::decode(decoder)?)
            .map_err(|error| DecodeError::OtherString(error.to_string()))
    }
}

impl<'de, C> BorrowDecode<'de, C> for Name {
    fn borrow_decode<D: BorrowDecoder<'de, Context = C>>(
        decoder: &mut D,
    ) -> Result<Self, DecodeError> {
        Self::decode(decoder)
    }
}

/// Why bytes are not a [`Name`].
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum InvalidName {
    /// No bytes at all.
    #[error("a name can't be empty")]
    Empty,
    /// `.` or `..`.
    #[error("`.` and `..` are not names")]
    Dots,
    /// More than [`Name::BYTES_MAX`] bytes.
    #[error("a name has at most 255 bytes")]
    TooLong,
    /// A slash or a NUL byte.
    #[error("a name has no slash and no NUL byte")]
    Separator,
}

/// A moment on the wall clock, nanoseconds since 1970 (UTC), as the kernel keeps file times.
#[derive(
    Clone,
    Copy,
    PartialEq,
    Eq,
    Hash,
    PartialOrd,
    Ord,
    Debug,
    Default,
    Encode,
    Decode,
    Serialize,
    Deserialize,
)]
#[serde(transparent)]
pub struct Timestamp(pub i64);

impl Timestamp {
    /// From seconds and nanoseconds as `statx(2)` gives them. Saturates at the years 1677 and 2262.
    pub fn from_parts(seconds: i64, nanoseconds: u32) -> Self {
        Self(
            seconds
                .saturating_mul(1_000_000_000)
                .saturating_add(i64::from(nanoseconds)),
        )
    }

    /// Whole seconds, and the nanoseconds (0 to 999,999,999) beyond them.
    pub const fn parts(self) -> (i64, u32) {
        let nanoseconds = self.0.rem_euclid(1_000_000_000) as u32;
        (self.0.div_euclid(1_000_000_000), nanoseconds)
    }
}

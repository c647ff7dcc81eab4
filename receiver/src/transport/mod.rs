//! Frames of the wire language over any stream of bytes, for both ends.
//!
//! Reading believes nothing: the header's lengths are limited before anything is allocated, both
//! checksums are compared before anything is decoded, and a payload is decompressed only into a
//! buffer of the declared, limited length.

mod shrink;

use std::borrow::Cow;
use std::io;

use everwrite_protocol::codec::{self, CodecError, ENCODED_BYTES_MAX};
use everwrite_protocol::wire::PAYLOAD_BYTES_MAX;
use everwrite_protocol::wire::frame::{
    ENCODED_VERSION, FrameError, FrameType, HEADER_BYTES, Header,
};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

pub use shrink::Shrinker;

/// Longest body of a frame in bytes.
pub const BODY_BYTES_MAX: usize = ENCODED_BYTES_MAX + PAYLOAD_BYTES_MAX;

/// One frame, as on the line.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Frame<'p> {
    /// What it holds.
    pub frame_type: FrameType,
    /// The message.
    pub encoded: Vec<u8>,
    /// What goes with it; zstd when `compressed`.
    pub payload: Cow<'p, [u8]>,
    /// Length of the payload when decompressed, in bytes.
    pub raw_bytes: usize,
    /// Is the payload compressed?
    pub compressed: bool,
}

/// Why no frame came or went.
#[derive(Debug, thiserror::Error)]
pub enum TransportError {
    /// The stream ended between two frames.
    #[error("the peer closed the connection")]
    Closed,
    /// The stream failed, or ended within a frame.
    #[error("connection lost: {0}")]
    Io(#[from] io::Error),
    /// What came is not a frame.
    #[error("the peer sent nonsense: {0}")]
    Frame(#[from] FrameError),
    /// The message in a frame can't be read.
    #[error("the peer sent nonsense: {0}")]
    Codec(#[from] CodecError),
    /// The payload can't be decompressed to the length declared.
    #[error("the peer sent a damaged payload")]
    Payload,
    /// A frame that has no place here.
    #[error("the peer sent {0:?} out of turn")]
    OutOfTurn(FrameType),
    /// A message that contradicts what was said before.
    #[error("the peer sent nonsense: {0}")]
    Nonsense(&'static str),
    /// A message of a later version of the language.
    #[error("the peer speaks version {0} of a message; this program knows 1")]
    Version(u16),
    /// Nothing came for too long.
    #[error("no sign of life from the peer for {} s", .0.as_secs())]
    Silence(std::time::Duration),
}

impl<'p> Frame<'p> {
    /// A frame without payload.
    pub fn message<M: bincode::Encode>(
        frame_type: FrameType,
        message: &M,
    ) -> Result<Self, CodecError> {
        Ok(Self::bare(frame_type, codec::encode(message)?))
    }

    /// A frame with an uncompressed payload.
    pub fn with_payload<M: bincode::Encode>(
        frame_type: FrameType,
        message: &M,
        payload: impl Into<Cow<'p, [u8]>>,
    ) -> Result<Self, CodecError> {
        let payload = payload.into();
        let raw_bytes = payload.len();
        Ok(Self {
            payload,
            raw_bytes,
            ..Self::message(frame_type, message)?
        })
    }

    /// `Ping` or `Pong`: nothing but a header.
    pub const fn empty(frame_type: FrameType) -> Self {
        Self::bare(frame_type, Vec::new())
    }

    const fn bare(frame_type: FrameType, encoded: Vec<u8>) -> Self {
        Self {
            frame_type,
            encoded,
            payload: Cow::Borrowed(&[]),
            raw_bytes: 0,
            compressed: false,
        }
    }

    /// The message, when the frame is of the type expected.
    pub fn decode<M: bincode::Decode<()>>(&self, expected: FrameType) -> Result<M, TransportError> {
        if self.frame_type != expected {
            return Err(TransportError::OutOfTurn(self.frame_type));
        }
        Ok(codec::decode(&self.encoded)?)
    }

    /// The payload, decompressed.
    pub fn into_payload(self) -> Result<Vec<u8>, TransportError> {
        if !self.compressed {
            return Ok(self.payload.into_owned());
        }
        match zstd::bulk::decompress(&self.payload, self.raw_bytes) {
            Ok(raw) if raw.len() == self.raw_bytes => Ok(raw),
            _ => Err(TransportError::Payload),
        }
    }

    /// Length on the line, in bytes.
    pub fn wire_bytes(&self) -> u64 {
        (HEADER_BYTES + self.encoded.len() + self.payload.len()) as u64
    }

    fn header(&self) -> Header {
        if self.compressed {
            Header::compressed(
                self.frame_type,
                &self.encoded,
                &self.payload,
                self.raw_bytes,
            )
        } else {
            Header::new(self.frame_type, &self.encoded, &self.payload)
        }
    }
}

/// Reads a frame. Not to be cancelled, unless the stream is given up with it.
pub async fn read_frame(
    stream: &mut (impl AsyncRead + Unpin),
) -> Result<Frame<'static>, TransportError> {
    read_frame_within(stream, BODY_BYTES_MAX).await
}

/// Reads a frame whose body is at most `body_bytes_max` long: strangers get no more.
pub async fn read_frame_within(
    stream: &mut (impl AsyncRead + Unpin),
    body_bytes_max: usize,
) -> Result<Frame<'static>, TransportError> {
    let header = Header::decode(&read_header(stream).await?)?;
    if header.version != ENCODED_VERSION {
        return Err(TransportError::Version(header.version));
    }
    let body_bytes = header.encoded_bytes + header.payload_bytes;
    if body_bytes > body_bytes_max {
        return Err(FrameError::TooLong(u32::try_from(body_bytes).unwrap_or(u32::MAX)).into());
    }
    let mut encoded = vec![0; header.encoded_bytes];
    stream.read_exact(&mut encoded).await?;
    let mut payload = vec![0; header.payload_bytes];
    stream.read_exact(&mut payload).await?;
    header.check_body(&encoded, &payload)?;
    Ok(Frame {
        frame_type: header.frame_type,
        encoded,
        payload: payload.into(),
        raw_bytes: header.raw_bytes,
        compressed: header.compressed,
    })
}

/// Tells an end between frames from one in the middle.
async fn read_header(
    stream: &mut (impl AsyncRead + Unpin),
) -> Result<[u8; HEADER_BYTES], TransportError> {
    let mut header = [0; HEADER_BYTES];
    let first = match stream.read(&mut header).await {
        Ok(0) => return Err(TransportError::Closed),
        // TLS without a farewell: the peer died or was cut off, at a frame's border.
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
            return Err(TransportError::Closed);
        }
        other => other?,
    };
    stream.read_exact(&mut header[first..]).await?;
    Ok(header)
}

/// Writes a frame; the caller flushes when nothing follows at once.
pub async fn write_frame(
    stream: &mut (impl AsyncWrite + Unpin),
    frame: &Frame<'_>,
) -> Result<(), TransportError> {
    stream.write_all(&frame.header().encode()).await?;
    stream.write_all(&frame.encoded).await?;
    stream.write_all(&frame.payload).await?;
    Ok(())
}

/// Writes a frame and sends it off.
pub async fn send_frame(
    stream: &mut (impl AsyncWrite + Unpin),
    frame: &Frame<'_>,
) -> Result<(), TransportError> {
    write_frame(stream, frame).await?;
    Ok(stream.flush().await?)
}

#[cfg(test)]
mod tests {
    use everwrite_protocol::ids::SequenceNumber;
    use everwrite_protocol::wire::Reply;

    use super::*;

    fn reply() -> Frame<'static> {
        Frame::message(FrameType::Reply, &Reply::Stored(SequenceNumber(7))).unwrap()
    }

    async fn bytes_of(frame: &Frame<'_>) -> Vec<u8> {
        let mut bytes = Vec::new();
        send_frame(&mut bytes, frame).await.unwrap();
        bytes
    }

    #[tokio::test]
    async fn what_goes_in_comes_out() {
        let frame = Frame {
            payload: b"abc".into(),
            raw_bytes: 3,
            ..reply()
        };
        let bytes = bytes_of(&frame).await;
        assert_eq!(bytes.len() as u64, frame.wire_bytes());
        let read = read_frame(&mut bytes.as_slice()).await.unwrap();
        assert_eq!(read, frame);
        let message: Reply = read.decode(FrameType::Reply).unwrap();
        assert_eq!(message, Reply::Stored(SequenceNumber(7)));
    }

    #[tokio::test]
    async fn an_end_between_frames_is_not_an_end_within_one() {
        let bytes = bytes_of(&reply()).await;
        let at = async |length: usize| read_frame(&mut &bytes[..length]).await.unwrap_err();
        assert!(matches!(at(0).await, TransportError::Closed));
        for length in 1..bytes.len() {
            assert!(
                matches!(at(length).await, TransportError::Io(_)),
                "{length}"
            );
        }
    }

    #[tokio::test]
    async fn every_damaged_bit_is_noticed() {
        let frame = Frame {
            payload: b"payload".into(),
            raw_bytes: 7,
            ..reply()
        };
        let good = bytes_of(&frame).await;
        for bit in 0..good.len() * 8 {
            let mut bad = good.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(read_frame(&mut bad.as_slice()).await.is_err(), "bit {bit}");
        }
    }

    #[tokio::test]
    async fn strangers_are_kept_short() {
        let frame = Frame {
            payload: vec![0; 5000].into(),
            raw_bytes: 5000,
            ..reply()
        };
        let bytes = bytes_of(&frame).await;
        let error = read_frame_within(&mut bytes.as_slice(), 4096)
            .await
            .unwrap_err();
        assert!(matches!(
            error,
            TransportError::Frame(FrameError::TooLong(_))
        ));
    }

    #[test]
    fn a_payload_of_another_length_than_declared_is_refused() {
        let payload = zstd::bulk::compress(&[7; 4096], 1).unwrap();
        for raw_bytes in [0, 1, 4095, 4097, 1 << 20] {
            let frame = Frame {
                payload: (&payload).into(),
                raw_bytes,
                compressed: true,
                ..reply()
            };
            assert!(frame.into_payload().is_err(), "{raw_bytes}");
        }
    }
}

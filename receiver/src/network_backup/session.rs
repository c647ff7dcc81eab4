//! From the first frame to the end of one connection.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use everwrite_protocol::ids::SequenceNumber;
use everwrite_protocol::wire::frame::FrameType;
use everwrite_protocol::wire::{
    Enrol, Enrolled, Fingerprint, Hello, Refusal, Role, Version, Welcome,
};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;

use super::live::Turn;
use super::replies::Standing;
use super::source::{Source, Sources};
use super::strangers::Stranger;
use super::{WINDOW_BYTES, query};
use crate::pairing::Registrar;
use crate::transport::{Frame, TransportError, read_frame_within, send_frame};

/// A stranger has so long to say who it is.
pub const GREETING_MAX: Duration = Duration::from_secs(10);
/// What older connections finished is on the disk by then, or the disk takes nothing.
const SETTLE_MAX: Duration = Duration::from_secs(3);
/// A peer has so long to hear that the connection ends.
const FAREWELL_MAX: Duration = Duration::from_secs(1);
/// Longest body of a first frame, in bytes.
const GREETING_BYTES_MAX: usize = 4096;

/// Who is at the other end, as far as the transport has proved it.
#[derive(Debug)]
pub enum Caller {
    /// The coordinator in the same process.
    Embedded,
    /// Whoever owns this certificate.
    Certificate {
        /// Its fingerprint.
        fingerprint: Fingerprint,
        /// Where it calls from.
        from: IpAddr,
        /// Knows whose certificate that is.
        registrar: Arc<Registrar>,
        /// A stranger, until it has been let in.
        stranger: Arc<Stranger>,
    },
}

/// How a session ended, other than by the coordinator leaving.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// It never came to a first frame.
    #[error("TLS handshake: {0}")]
    Handshake(std::io::Error),
    /// The line, or the peer on it.
    #[error(transparent)]
    Transport(#[from] TransportError),
    /// Too many others came before it said who it is.
    #[error("too many connections that do not say who they are")]
    Crowd,
    /// Not let in.
    #[error("refused: {0}")]
    Refused(Refusal),
    /// The coordinator broke a rule of batches.
    #[error("batch {} refused: {reason}", sequence.0)]
    Rejected {
        /// The batch.
        sequence: SequenceNumber,
        /// For people.
        reason: String,
    },
    /// The source asks too much at once.
    #[error("too many query connections of one source")]
    QueryConnections,
    /// Our store.
    #[error("store: {0}")]
    Store(String),
    /// A newer live connection of the same source took over.
    #[error("a newer connection of this source took over")]
    Superseded,
    /// The receiver, or this source's store, is being closed.
    #[error("the receiver is closing")]
    Closing,
}

/// Serves one connection to its end.
pub async fn serve(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    caller: Caller,
    sources: &Arc<Sources>,
) -> Result<(), SessionError> {
    let end = greet(&mut stream, &caller, sources).await;
    // The peer may be gone already, and then there is nobody to take leave of.
    let _ = timeout(FAREWELL_MAX, farewell(&mut stream)).await;
    match end {
        Err(SessionError::Transport(TransportError::Closed)) => Ok(()),
        end => end,
    }
}

/// Closes so that what was said last arrives: closing a socket with unread input would discard it.
async fn farewell(stream: &mut (impl AsyncRead + AsyncWrite + Unpin)) -> std::io::Result<()> {
    stream.shutdown().await?;
    tokio::io::copy(stream, &mut tokio::io::sink())
        .await
        .map(|_| ())
}

async fn greet(
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    caller: &Caller,
    sources: &Arc<Sources>,
) -> Result<(), SessionError> {
    let first = timeout(GREETING_MAX, read_frame_within(stream, GREETING_BYTES_MAX))
        .await
        .map_err(|_| TransportError::Silence(GREETING_MAX))??;
    match first.frame_type {
        FrameType::Enrol => enrol(stream, caller, first.decode(FrameType::Enrol)?).await,
        _ => {
            let hello: Hello = first.decode(FrameType::Hello)?;
            match admit(caller, &hello, sources).await {
                Ok(source) => converse(stream, &hello, &source, sources).await,
                Err(refusal) => refuse(stream, refusal).await,
            }
        }
    }
}

/// Is it who it says, and can it be served?
async fn admit(
    caller: &Caller,
    hello: &Hello,
    sources: &Arc<Sources>,
) -> Result<Arc<Source>, Refusal> {
    if let Caller::Certificate {
        fingerprint,
        registrar,
        stranger,
        ..
    } = caller
    {
        let (registrar, fingerprint) = (Arc::clone(registrar), *fingerprint);
        match blocking(move || registrar.peer(&fingerprint)).await {
            Ok(Some(peer)) if peer.source() == hello.source => stranger.is_known(),
            Ok(Some(_)) => return Err(Refusal::Identity),
            Ok(None) => return Err(Refusal::Unknown),
            Err(error) => {
                tracing::error!("{error:#}");
                return Err(Refusal::Store);
            }
        }
    }
    sources.open(hello.source).await.map_err(|error| {
        tracing::error!(source = %hello.source, "open the store: {error}");
        Refusal::Store
    })
}

async fn converse(
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    hello: &Hello,
    source: &Arc<Source>,
    sources: &Sources,
) -> Result<(), SessionError> {
    let end = match hello.role {
        Role::Live => {
            let turn = Turn::take(source);
            match timeout(SETTLE_MAX, turn.settle()).await {
                Ok(settled) => settled?,
                Err(_) => return refuse(stream, Refusal::Stalled).await,
            }
            let standing = welcome(stream, hello, source).await?;
            turn.run(stream, standing).await
        }
        Role::Query => match source.query_connections.try_acquire() {
            Ok(_room) => {
                welcome(stream, hello, source).await?;
                query::run(source, stream).await
            }
            Err(_) => {
                send(
                    stream,
                    FrameType::Welcome,
                    &Welcome::Refused(Refusal::Store),
                )
                .await?;
                return Err(SessionError::QueryConnections);
            }
        },
    };
    if let Err(SessionError::Store(_)) = &end {
        sources.fail(source);
    }
    end
}

async fn refuse(
    stream: &mut (impl AsyncWrite + Unpin),
    refusal: Refusal,
) -> Result<(), SessionError> {
    send(stream, FrameType::Welcome, &Welcome::Refused(refusal)).await?;
    Err(SessionError::Refused(refusal))
}

/// Gives what the coordinator knows of the store then.
async fn welcome(
    stream: &mut (impl AsyncWrite + Unpin),
    hello: &Hello,
    source: &Source,
) -> Result<Standing, SessionError> {
    let mut standing = source.standing.borrow().clone();
    // The store knows first.
    standing.stored = standing.stored.max(source.destination.stored());
    let (stored, applied) = (standing.stored, standing.applied);
    let version = hello.version.min(Version::CURRENT);
    let welcome = Welcome::Accepted {
        version,
        stored,
        applied,
        window_bytes: WINDOW_BYTES,
    };
    send(stream, FrameType::Welcome, &welcome).await?;
    tracing::info!(source = %source.id, role = ?hello.role, stored = stored.0, "connected");
    // The welcome has no word for a stall: it is told as news.
    Ok(standing.without_stalls())
}

async fn enrol(
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    caller: &Caller,
    enrol: Enrol,
) -> Result<(), SessionError> {
    let Caller::Certificate {
        fingerprint,
        from,
        registrar,
        ..
    } = caller
    else {
        return Err(TransportError::OutOfTurn(FrameType::Enrol).into());
    };
    let (registrar, from, fingerprint) = (Arc::clone(registrar), *from, *fingerprint);
    let enrolled = blocking(move || registrar.enrol(from, fingerprint, &enrol)).await;
    let result = enrolled.unwrap_or_else(|error| {
        tracing::error!("pair: {error:#}");
        Err(Refusal::Store)
    });
    let answer = result.map_or_else(Enrolled::Refused, |()| Enrolled::Accepted);
    send(stream, FrameType::Enrolled, &answer).await?;
    result.map_err(SessionError::Refused)
}

/// The registrar reads and locks files.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> anyhow::Result<T> + Send + 'static,
) -> anyhow::Result<T> {
    tokio::task::spawn_blocking(work).await?
}

async fn send(
    stream: &mut (impl AsyncWrite + Unpin),
    frame_type: FrameType,
    message: &impl bincode::Encode,
) -> Result<(), SessionError> {
    let frame = Frame::message(frame_type, message).map_err(TransportError::from)?;
    Ok(send_frame(stream, &frame).await?)
}

//! Making one connection: TCP and TLS, or a pipe to the embedded receiver; then hello and welcome.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use everwrite_protocol::ids::{SequenceNumber, SourceId};
use everwrite_protocol::wire::frame::FrameType;
use everwrite_protocol::wire::{Fingerprint, Hello, Refusal, Role, Version, Welcome};
use everwrite_receiver::identity::Identity;
use everwrite_receiver::network_backup::{Embedded, EmbeddedError};
use everwrite_receiver::tls;
use everwrite_receiver::transport::{Frame, TransportError, read_frame, send_frame};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::Mutex;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::Target;

/// A receiver that has not said welcome by then is not there.
const CONNECT_MAX: Duration = Duration::from_secs(10);

/// No source makes so many batches.
const SEQUENCE_MAX: u64 = 1 << 62;

/// Any stream of bytes both ways.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// A connection that was welcomed.
pub(super) struct Line {
    pub(super) stream: Box<dyn Stream>,
    pub(super) stored: SequenceNumber,
    pub(super) applied: SequenceNumber,
    pub(super) window_bytes: u64,
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// Nobody answers there.
    #[error(
        "can't reach the receiver at {address}: {error}; is `everwrite-receiver serve` running there?"
    )]
    Unreachable {
        /// Where.
        address: String,
        /// Cause.
        error: std::io::Error,
    },
    /// Somebody else answers there.
    #[error(
        "{address} shows another certificate than the one that was pinned: another machine, a reinstalled receiver, or somebody in between; if it was reinstalled, pair again"
    )]
    NotPinned {
        /// Where.
        address: String,
    },
    /// TLS failed otherwise.
    #[error("can't speak TLS with {address}: {error}")]
    Tls {
        /// Where.
        address: String,
        /// Cause.
        error: std::io::Error,
    },
    /// No answer in time.
    #[error("{address} does not answer (waited {} s)", CONNECT_MAX.as_secs())]
    Silent {
        /// Where.
        address: String,
    },
    /// It does not let us in.
    #[error("{address}: {refusal}")]
    Refused {
        /// Where.
        address: String,
        /// Why.
        refusal: Refusal,
    },
    /// It broke off, or spoke nonsense.
    #[error("{address}: {error}")]
    Transport {
        /// Where.
        address: String,
        /// Cause.
        error: TransportError,
    },
    /// The embedded receiver can't have its store.
    #[error(transparent)]
    Embedded(#[from] EmbeddedError),
    /// A question about a store that was never made.
    #[error("there is no store at {}", .0.display())]
    NoStore(PathBuf),
    /// Our own certificate is of no use.
    #[error("our identity can't be used: {0}")]
    Identity(#[from] rustls::Error),
}

impl ConnectError {
    /// Is the receiver there, but without room?
    pub(super) fn is_stall(&self) -> bool {
        let Self::Refused { refusal, .. } = self else {
            return false;
        };
        *refusal == Refusal::Stalled
    }
}

/// Reaches a receiver by a way of its own.
pub trait Dial: Send + Sync {
    /// A stream to it, or why there is none.
    fn dial(&self) -> std::io::Result<Box<dyn Stream>>;
}

/// How the target is reached.
enum Way {
    /// As it says, showing this identity.
    Usual(Arc<Identity>),
    /// The target is a name only.
    Given(Box<dyn Dial>),
}

/// Makes connections to one receiver, as one source.
pub(super) struct Connector {
    target: Target,
    way: Way,
    source: SourceId,
    /// Opened by the first connection, kept until the connector goes.
    embedded: Mutex<Option<Embedded>>,
}

impl Connector {
    pub(super) fn new(target: Target, identity: Arc<Identity>, source: SourceId) -> Self {
        Self {
            target,
            way: Way::Usual(identity),
            source,
            embedded: Mutex::default(),
        }
    }

    pub(super) fn by(dial: Box<dyn Dial>, target: Target, source: SourceId) -> Self {
        Self {
            target,
            way: Way::Given(dial),
            source,
            embedded: Mutex::default(),
        }
    }

    pub(super) fn target(&self) -> &Target {
        &self.target
    }

    /// A connection for this purpose, or why not, within ten seconds.
    pub(super) async fn connect(&self, role: Role) -> Result<Line, ConnectError> {
        let silent = |_| ConnectError::Silent {
            address: self.target.to_string(),
        };
        timeout(CONNECT_MAX, self.open(role))
            .await
            .map_err(silent)?
    }

    async fn open(&self, role: Role) -> Result<Line, ConnectError> {
        let mut stream = self.reach(role).await?;
        let hello = Hello {
            version: Version::CURRENT,
            source: self.source,
            role,
        };
        let broken = |error| ConnectError::Transport {
            address: self.target.to_string(),
            error,
        };
        let welcome = greet(&mut stream, &hello).await.and_then(sound);
        match welcome.map_err(broken)? {
            Welcome::Accepted {
                stored,
                applied,
                window_bytes,
                ..
            } => Ok(Line {
                stream,
                stored,
                applied,
                window_bytes,
            }),
            Welcome::Refused(refusal) => Err(ConnectError::Refused {
                address: self.target.to_string(),
                refusal,
            }),
        }
    }

    async fn reach(&self, role: Role) -> Result<Box<dyn Stream>, ConnectError> {
        match (&self.way, &self.target) {
            (Way::Given(way), target) => way.dial().map_err(|error| ConnectError::Unreachable {
                address: target.to_string(),
                error,
            }),
            (Way::Usual(_), Target::Directory(path)) => self.enter(path, role).await,
            (
                Way::Usual(identity),
                Target::Tcp {
                    address,
                    fingerprint,
                },
            ) => Ok(Box::new(dial(address, identity, *fingerprint).await?)),
        }
    }

    /// The embedded receiver: ours; or, for questions, that of the process that has the store.
    async fn enter(&self, path: &Path, role: Role) -> Result<Box<dyn Stream>, ConnectError> {
        let mut embedded = self.embedded.lock().await;
        if embedded.is_none() && role == Role::Query {
            must_exist(path)?;
            if let Ok(stream) = Embedded::reach(path).await {
                return Ok(Box::new(stream));
            }
        }
        let receiver = match embedded.take() {
            Some(receiver) => receiver,
            None => Embedded::open(path)?,
        };
        Ok(Box::new(embedded.insert(receiver).connect()))
    }
}

/// A path that is no store's directory would be made one, by a question.
fn must_exist(path: &Path) -> Result<(), ConnectError> {
    if path.is_dir() {
        Ok(())
    } else {
        Err(ConnectError::NoStore(path.to_owned()))
    }
}

/// Numbers that no receiver can have come to are no answer.
fn sound(welcome: Welcome) -> Result<Welcome, TransportError> {
    match welcome {
        Welcome::Accepted {
            stored, applied, ..
        } if applied > stored || stored.0 > SEQUENCE_MAX => Err(TransportError::Nonsense(
            "it says that it has batches that can't be",
        )),
        welcome => Ok(welcome),
    }
}

async fn greet(stream: &mut impl Stream, hello: &Hello) -> Result<Welcome, TransportError> {
    send_frame(stream, &Frame::message(FrameType::Hello, hello)?).await?;
    read_frame(stream).await?.decode(FrameType::Welcome)
}

/// TCP, then TLS with the pinned certificate at the other end.
pub(super) async fn dial(
    address: &str,
    identity: &Identity,
    pinned: Fingerprint,
) -> Result<tokio_rustls::client::TlsStream<TcpStream>, ConnectError> {
    let unreachable = |error| ConnectError::Unreachable {
        address: address.to_owned(),
        error,
    };
    let tcp = TcpStream::connect(address).await.map_err(unreachable)?;
    tcp.set_nodelay(true).map_err(unreachable)?;
    let connector = TlsConnector::from(tls::client_config(identity, pinned)?);
    connector
        .connect(tls::server_name(), tcp)
        .await
        .map_err(|error| {
            let address = address.to_owned();
            if error.to_string().contains(tls::NOT_PINNED) {
                ConnectError::NotPinned { address }
            } else {
                ConnectError::Tls { address, error }
            }
        })
}

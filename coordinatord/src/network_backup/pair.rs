//! The source's side of pairing: brings a code to the receiver that printed it.

use std::time::Duration;

use everwrite_protocol::ids::SourceId;
use everwrite_protocol::wire::frame::FrameType;
use everwrite_protocol::wire::{Enrol, Enrolled, Fingerprint, Refusal, Version};
use everwrite_receiver::identity::Identity;
use everwrite_receiver::pairing::{InvalidCode, PairingCode};
use everwrite_receiver::transport::{Frame, TransportError, read_frame, send_frame};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;

use super::connect::{ConnectError, dial};

/// All of it takes no longer, or has failed.
const PAIR_MAX: Duration = Duration::from_secs(15);

/// A receiver that trusts us now, and how to know it again.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PairedReceiver {
    /// `HOST:PORT`.
    pub address: String,
    /// Its certificate.
    pub fingerprint: Fingerprint,
}

/// Why pairing failed. Nothing has changed then, at either end.
#[derive(Debug, thiserror::Error)]
pub enum PairError {
    /// Not a code.
    #[error(transparent)]
    Code(#[from] InvalidCode),
    /// The certificate at that address is not the one in the code.
    #[error(
        "the certificate at {address} is not the one in the code: a mistyped code, another receiver, or somebody in between; get a new code with `everwrite-receiver pair`"
    )]
    NotTheReceiver {
        /// Where.
        address: String,
    },
    /// No connection.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// It refused.
    #[error("{0}")]
    Refused(Refusal),
    /// It broke off.
    #[error("{address}: {error}")]
    Transport {
        /// Where.
        address: String,
        /// Cause.
        error: TransportError,
    },
    /// It took too long.
    #[error("{address} does not answer (waited {} s)", PAIR_MAX.as_secs())]
    Silent {
        /// Where.
        address: String,
    },
}

/// Makes the receiver that printed `code` trust `identity` as `source`.
pub async fn pair(
    code: &str,
    identity: &Identity,
    source: SourceId,
) -> Result<PairedReceiver, PairError> {
    let code: PairingCode = code.parse()?;
    let silent = |_| PairError::Silent {
        address: code.address.clone(),
    };
    timeout(PAIR_MAX, enrol(&code, identity, source))
        .await
        .map_err(silent)??;
    Ok(PairedReceiver {
        address: code.address,
        fingerprint: code.fingerprint,
    })
}

async fn enrol(code: &PairingCode, identity: &Identity, source: SourceId) -> Result<(), PairError> {
    let mut stream = match dial(&code.address, identity, code.fingerprint).await {
        Err(ConnectError::NotPinned { address }) => {
            return Err(PairError::NotTheReceiver { address });
        }
        other => other?,
    };
    let enrol = Enrol {
        version: Version::CURRENT,
        source,
        secret: code.secret,
        host: rustix::system::uname()
            .nodename()
            .to_string_lossy()
            .into_owned(),
    };
    let answer = ask(&mut stream, &enrol).await;
    match answer.map_err(|error| PairError::Transport {
        address: code.address.clone(),
        error,
    })? {
        Enrolled::Accepted => Ok(()),
        Enrolled::Refused(refusal) => Err(PairError::Refused(refusal)),
    }
}

async fn ask(
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    enrol: &Enrol,
) -> Result<Enrolled, TransportError> {
    send_frame(stream, &Frame::message(FrameType::Enrol, enrol)?).await?;
    read_frame(stream).await?.decode(FrameType::Enrolled)
}

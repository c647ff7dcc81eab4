//! Where connections come in: TCP, then TLS, then a session each.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

use super::BREATH;
use super::session::{Caller, GREETING_MAX, SessionError, serve};
use super::source::Sources;
use super::strangers::{Stranger, Strangers};
use crate::identity::Identity;
use crate::pairing::Registrar;
use crate::tls;

/// Connections at once; more wait in the kernel's queue.
const CONNECTIONS_MAX: usize = 1024;

/// Accepts and serves until dropped or `sources` is closed.
pub struct Listener {
    tcp: TcpListener,
    acceptor: TlsAcceptor,
    registrar: Arc<Registrar>,
    sources: Arc<Sources>,
}

impl Listener {
    /// Serves `sources` on a bound socket.
    pub fn new(
        tcp: TcpListener,
        identity: &Identity,
        registrar: Registrar,
        sources: Arc<Sources>,
    ) -> Result<Self, rustls::Error> {
        let acceptor = TlsAcceptor::from(tls::server_config(identity)?);
        Ok(Self {
            tcp,
            acceptor,
            registrar: Arc::new(registrar),
            sources,
        })
    }

    /// Where it listens.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.tcp.local_addr()
    }

    /// Serves all who come.
    pub async fn run(self) {
        let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        let strangers = Arc::new(Strangers::default());
        loop {
            let permit = Arc::clone(&room).acquire_owned().await;
            match self.tcp.accept().await {
                Ok((stream, from)) => {
                    let session = self.session(stream, from, strangers.enter());
                    tokio::spawn(async move {
                        let _room = permit;
                        session.await;
                    });
                }
                Err(error) => {
                    tracing::warn!("accept a connection: {error}");
                    tokio::time::sleep(BREATH).await;
                }
            }
        }
    }

    fn session(
        &self,
        stream: TcpStream,
        from: SocketAddr,
        stranger: Stranger,
    ) -> impl Future<Output = ()> + Send + use<> {
        let acceptor = self.acceptor.clone();
        let (registrar, sources) = (Arc::clone(&self.registrar), Arc::clone(&self.sources));
        async move {
            let mut closing = sources.closing();
            let stranger = Arc::new(stranger);
            let proof = Proof {
                registrar,
                from: from.ip(),
                stranger: Arc::clone(&stranger),
            };
            let end = tokio::select! {
                end = handle(stream, acceptor, proof, &sources) => end,
                () = stranger.must_go() => Err(SessionError::Crowd),
                _ = closing.wait_for(|&closing| closing) => Ok(()),
            };
            match end {
                Ok(()) => tracing::debug!(%from, "connection ended"),
                // Whoever looks whether somebody listens leaves before it says anything.
                Err(error @ (SessionError::Handshake(_) | SessionError::Crowd)) => {
                    tracing::debug!(%from, "connection ended: {error}");
                }
                Err(error) => tracing::info!(%from, "connection ended: {error}"),
            }
        }
    }
}

/// What a caller has to do with, besides its certificate.
struct Proof {
    registrar: Arc<Registrar>,
    from: IpAddr,
    stranger: Arc<Stranger>,
}

async fn handle(
    stream: TcpStream,
    acceptor: TlsAcceptor,
    proof: Proof,
    sources: &Arc<Sources>,
) -> Result<(), SessionError> {
    stream.set_nodelay(true).map_err(SessionError::Handshake)?;
    let stream = timeout(GREETING_MAX, acceptor.accept(stream))
        .await
        .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
        .map_err(SessionError::Handshake)?;
    let no_certificate = || io::Error::other("the peer showed no certificate");
    let fingerprint = tls::peer_fingerprint(stream.get_ref().1)
        .ok_or_else(no_certificate)
        .map_err(SessionError::Handshake)?;
    let Proof {
        registrar,
        from,
        stranger,
    } = proof;
    let caller = Caller::Certificate {
        fingerprint,
        from,
        registrar,
        stranger,
    };
    serve(stream, caller, sources).await
}

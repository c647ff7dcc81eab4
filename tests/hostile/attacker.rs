//! A source that says whatever a test wants, with a certificate that the receiver has pinned.

use std::sync::Arc;
use std::time::Duration;

use everwrite_coordinatord::network_backup::{Identity, pair};
use everwrite_protocol::ids::SourceId;
use everwrite_protocol::wire::frame::FrameType;
use everwrite_protocol::wire::{Answer, Fingerprint, Hello, Query, Reply, Role, Version, Welcome};
use everwrite_receiver::tls;
use everwrite_receiver::transport::{Frame, TransportError, read_frame, send_frame};
use harness::Receiver;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// Whatever an attacker waits for has happened by then, or never will.
pub(crate) const DEADLINE: Duration = Duration::from_secs(40);

pub(crate) type Line = TlsStream<TcpStream>;

/// One source, as the receiver knows it.
#[derive(Clone)]
pub(crate) struct Attacker {
    pub(crate) id: SourceId,
    identity: Arc<Identity>,
    fingerprint: Fingerprint,
    address: String,
}

impl Attacker {
    /// Pairs with the receiver by a code, as anybody does.
    pub(crate) async fn paired(receiver: &Receiver, id: u8) -> Self {
        let (id, identity) = (SourceId([id; 16]), Identity::ephemeral().unwrap());
        let code = receiver.pairing_code();
        let paired = pair(&code, &identity, id).await.unwrap();
        Self {
            id,
            identity: Arc::new(identity),
            fingerprint: paired.fingerprint,
            address: paired.address,
        }
    }

    /// The same claims, with a certificate that nobody has pinned.
    pub(crate) fn with_another_key(&self) -> Self {
        Self {
            identity: Arc::new(Identity::ephemeral().unwrap()),
            ..self.clone()
        }
    }

    /// The same certificate, claiming to be another source.
    pub(crate) fn claiming(&self, id: SourceId) -> Self {
        Self { id, ..self.clone() }
    }

    pub(crate) async fn tcp(&self) -> TcpStream {
        TcpStream::connect(&self.address).await.unwrap()
    }

    pub(crate) async fn tls(&self) -> Line {
        self.try_tls().await.unwrap()
    }

    pub(crate) async fn try_tls(&self) -> std::io::Result<Line> {
        let config = tls::client_config(&self.identity, self.fingerprint).unwrap();
        let connector = TlsConnector::from(config);
        let tcp = self.tcp().await;
        connector.connect(tls::server_name(), tcp).await
    }

    pub(crate) fn hello(&self, role: Role) -> Frame<'static> {
        let hello = Hello {
            version: Version::CURRENT,
            source: self.id,
            role,
        };
        Frame::message(FrameType::Hello, &hello).unwrap()
    }

    /// A line that was welcomed, and the number of the last batch stored.
    pub(crate) async fn connect(&self, role: Role) -> (Line, u64) {
        let mut line = self.tls().await;
        match greet(&mut line, &self.hello(role)).await {
            Welcome::Accepted { stored, .. } => (line, stored.0),
            Welcome::Refused(refusal) => panic!("refused: {refusal}"),
        }
    }

    /// Is there room for one more question line of this source?
    pub(crate) async fn may_ask(&self) -> bool {
        let mut line = self.tls().await;
        let welcome = greet(&mut line, &self.hello(Role::Query)).await;
        matches!(welcome, Welcome::Accepted { .. })
    }

    /// The answer to one question, over a line of its own.
    pub(crate) async fn ask(&self, query: &Query) -> (Answer, Vec<u8>) {
        let (mut line, _) = self.connect(Role::Query).await;
        let frame = Frame::message(FrameType::Query, query).unwrap();
        send_frame(&mut line, &frame).await.unwrap();
        let answer = timeout(DEADLINE, read_frame(&mut line)).await;
        let answer = answer.expect("an answer in time").unwrap();
        let message = answer.decode(FrameType::Answer).unwrap();
        (message, answer.into_payload().unwrap())
    }
}

pub(crate) async fn greet(line: &mut Line, hello: &Frame<'_>) -> Welcome {
    send_frame(line, hello).await.unwrap();
    let welcome = timeout(DEADLINE, read_frame(line)).await;
    let welcome = welcome.expect("a welcome in time").unwrap();
    welcome.decode(FrameType::Welcome).unwrap()
}

/// Sends bytes that need not be frames, as far as the peer takes them.
pub(crate) async fn throw(line: &mut (impl AsyncWriteExt + Unpin), bytes: &[u8]) {
    // The peer may end the line in the middle of it.
    let _ = line.write_all(bytes).await;
    let _ = line.flush().await;
}

/// The next reply, past signs of life; `None`: the peer has ended the line.
pub(crate) async fn reply(line: &mut Line) -> Option<Reply> {
    loop {
        let frame = timeout(DEADLINE, read_frame(line)).await;
        match frame.expect("a reply or an end in time") {
            Ok(frame) if frame.frame_type == FrameType::Reply => {
                return Some(frame.decode(FrameType::Reply).unwrap());
            }
            Ok(_) => {}
            Err(TransportError::Closed | TransportError::Io(_)) => return None,
            Err(error) => panic!("{error}"),
        }
    }
}

/// Waits until the peer says that this batch is stored.
pub(crate) async fn stored(line: &mut Line, number: u64) {
    loop {
        match reply(line).await {
            Some(Reply::Stored(stored)) if stored.0 >= number => return,
            Some(Reply::Rejected { reason, .. }) => panic!("rejected: {reason}"),
            Some(_) => {}
            None => panic!("the line ended before batch {number} was stored"),
        }
    }
}

/// Waits until the peer says that this batch is in the mirror.
pub(crate) async fn applied(line: &mut Line, number: u64) {
    loop {
        match reply(line).await {
            Some(Reply::Applied(applied)) if applied.0 >= number => return,
            Some(_) => {}
            None => panic!("the line ended before batch {number} was applied"),
        }
    }
}

/// Why the peer refuses what was sent. It ends the line afterwards.
pub(crate) async fn rejected(line: &mut Line) -> String {
    loop {
        match reply(line).await {
            Some(Reply::Rejected { reason, .. }) => {
                ended(line).await;
                return reason;
            }
            Some(_) => {}
            None => panic!("the line ended without a reason"),
        }
    }
}

/// Waits until the peer ends the line; what it says before is passed over.
pub(crate) async fn ended(line: &mut (impl AsyncReadExt + Unpin)) -> Vec<u8> {
    let mut said = Vec::new();
    let end = timeout(DEADLINE, line.read_to_end(&mut said)).await;
    // A reset is an end, too.
    drop(end.expect("the peer ends the line"));
    said
}

//! Strangers who speak nonsense are shown out, and nobody else notices.

use everwrite_coordinatord::network_backup::Identity;
use everwrite_protocol::wire::frame::FrameType;
use everwrite_protocol::wire::{Hello, Refusal, Role, Version, Welcome};
use everwrite_receiver::tls;
use everwrite_receiver::transport::{Frame, read_frame, send_frame};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::batches::batch;
use crate::memory::Memory;
use crate::rig::{DEADLINE, Receiver, Source};

struct Setup {
    receiver: Receiver,
    source: Source,
}

async fn setup() -> Setup {
    let receiver = Receiver::start(Memory::default()).await;
    let source = Source::paired_with(&receiver, 1).await;
    Setup { receiver, source }
}

impl Setup {
    async fn tls(&self, identity: &Identity) -> TlsStream<TcpStream> {
        let tcp = TcpStream::connect(self.receiver.address).await.unwrap();
        let config = tls::client_config(identity, self.source.receiver.fingerprint).unwrap();
        let connector = TlsConnector::from(config);
        connector.connect(tls::server_name(), tcp).await.unwrap()
    }

    fn hello(&self, role: Role) -> Frame<'static> {
        let (version, source) = (Version::V1, self.source.id);
        let hello = Hello {
            version,
            source,
            role,
        };
        Frame::message(FrameType::Hello, &hello).unwrap()
    }

    async fn still_serves(&self) {
        let mut line = self.source.uplink(self.source.target());
        line.uplink.send(batch(1, 1, 10));
        line.stored(1).await;
    }
}

/// Whatever is said, the end comes.
async fn ends(stream: &mut (impl AsyncReadExt + Unpin)) {
    let end = timeout(DEADLINE, stream.read_to_end(&mut Vec::new())).await;
    // A reset is an end too.
    drop(end.expect("the receiver closes the connection"));
}

#[tokio::test]
async fn no_tls_at_all() {
    let setup = setup().await;
    let mut tcp = TcpStream::connect(setup.receiver.address).await.unwrap();
    tcp.write_all(&[0x55; 4096]).await.unwrap();
    ends(&mut tcp).await;
    setup.still_serves().await;
}

#[tokio::test]
async fn tls_but_no_frame() {
    let setup = setup().await;
    let mut stream = setup.tls(&setup.source.identity).await;
    stream.write_all(&[0x55; 4096]).await.unwrap();
    ends(&mut stream).await;
    setup.still_serves().await;
}

#[tokio::test]
async fn a_first_frame_that_is_too_long() {
    let setup = setup().await;
    let mut stream = setup.tls(&Identity::ephemeral().unwrap()).await;
    let payload = vec![0; 1 << 20];
    let raw_bytes = payload.len();
    let frame = Frame {
        payload: payload.into(),
        raw_bytes,
        ..setup.hello(Role::Live)
    };
    // The receiver may end it while it is being sent.
    let _ = send_frame(&mut stream, &frame).await;
    ends(&mut stream).await;
    setup.still_serves().await;
}

#[tokio::test]
async fn frames_out_of_turn() {
    let setup = setup().await;
    for role in [Role::Live, Role::Query] {
        let mut stream = setup.tls(&setup.source.identity).await;
        send_frame(&mut stream, &setup.hello(role)).await.unwrap();
        let welcome = read_frame(&mut stream).await.unwrap();
        assert_eq!(welcome.frame_type, FrameType::Welcome);
        send_frame(&mut stream, &setup.hello(role)).await.unwrap();
        ends(&mut stream).await;
    }
    setup.still_serves().await;
}

#[tokio::test]
async fn a_part_that_is_none_is_refused_with_a_reason() {
    let setup = setup().await;
    let mut stream = setup.tls(&setup.source.identity).await;
    send_frame(&mut stream, &setup.hello(Role::Live))
        .await
        .unwrap();
    read_frame(&mut stream).await.unwrap();
    let nonsense = Frame {
        encoded: vec![0xFF; 100],
        ..Frame::empty(FrameType::Part)
    };
    send_frame(&mut stream, &nonsense).await.unwrap();
    let reply = read_frame(&mut stream).await.unwrap();
    assert_eq!(reply.frame_type, FrameType::Reply);
    ends(&mut stream).await;
    setup.still_serves().await;
}

#[tokio::test]
async fn too_many_query_connections_of_one_source() {
    let setup = setup().await;
    let mut held = Vec::new();
    let refusal = loop {
        let mut stream = setup.tls(&setup.source.identity).await;
        send_frame(&mut stream, &setup.hello(Role::Query))
            .await
            .unwrap();
        let welcome = read_frame(&mut stream).await.unwrap();
        match welcome.decode(FrameType::Welcome).unwrap() {
            Welcome::Accepted { .. } => held.push(stream),
            Welcome::Refused(refusal) => break refusal,
        }
        assert!(held.len() < 100, "no limit");
    };
    assert_eq!(refusal, Refusal::Store);
    setup.still_serves().await;
}

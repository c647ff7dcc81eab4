//! A receiver that says whatever a test wants, in the place of an honest one and with its key.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use everwrite_coordinatord::network_backup::Identity;
use everwrite_protocol::ids::SequenceNumber;
use everwrite_protocol::wire::frame::FrameType;
use everwrite_protocol::wire::{
    Answer, Cut, Hello, Query, QueryError, Reply, Role, Version, Welcome,
};
use everwrite_receiver::tls;
use everwrite_receiver::transport::{Frame, TransportError, read_frame, send_frame};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

type Line = TlsStream<TcpStream>;

/// What it says.
#[derive(Clone)]
pub(crate) struct Lies {
    /// `None`: nothing at all.
    pub(crate) welcome: Option<Welcome>,
    /// Right after the welcome of a live line.
    pub(crate) at_once: Vec<Frame<'static>>,
    /// Again and again after that, for as long as the line lives.
    pub(crate) for_ever: Option<Frame<'static>>,
    /// To a cut.
    pub(crate) to_cut: fn(&Cut) -> Option<Reply>,
    /// To a question.
    pub(crate) to_query: fn(&Query) -> Option<Frame<'static>>,
}

impl Lies {
    /// Of one that has everything up to `stored`, takes batches, says nothing of them, knows nothing.
    pub(crate) fn none(stored: u64) -> Self {
        Self {
            welcome: Some(welcome(stored, stored, 64 << 20)),
            at_once: Vec::new(),
            for_ever: None,
            to_cut: |_| None,
            to_query: |_| Some(answer(&Answer::Failed(QueryError::NotFound), Vec::new())),
        }
    }
}

pub(crate) fn welcome(stored: u64, applied: u64, window_bytes: u64) -> Welcome {
    Welcome::Accepted {
        version: Version::CURRENT,
        stored: SequenceNumber(stored),
        applied: SequenceNumber(applied),
        window_bytes,
    }
}

pub(crate) fn reply(reply: &Reply) -> Frame<'static> {
    Frame::message(FrameType::Reply, reply).unwrap()
}

pub(crate) fn answer(answer: &Answer, payload: Vec<u8>) -> Frame<'static> {
    Frame::with_payload(FrameType::Answer, answer, payload).unwrap()
}

/// Runs until it is ended.
pub(crate) struct Fake {
    task: JoinHandle<()>,
    told: Arc<Told>,
}

/// How much it was told.
#[derive(Default)]
struct Told {
    hellos: AtomicU64,
    cuts: AtomicU64,
    questions: AtomicU64,
}

impl Fake {
    /// At the address of an honest receiver that has ended, with the key in its store.
    pub(crate) async fn start(address: &str, store: &Path, lies: Lies) -> Self {
        let identity = Identity::load_or_create(store).unwrap();
        Self::start_as(&identity, address, lies).await
    }

    /// With any key.
    pub(crate) async fn start_as(identity: &Identity, address: &str, lies: Lies) -> Self {
        let acceptor = TlsAcceptor::from(tls::server_config(identity).unwrap());
        let listener = TcpListener::bind(address).await.unwrap();
        let told = Arc::new(Told::default());
        let hearing = Arc::clone(&told);
        let task = tokio::spawn(async move {
            // Its lines end with it.
            let mut lines = JoinSet::new();
            while let Ok((tcp, _)) = listener.accept().await {
                let (acceptor, lies, told) = (acceptor.clone(), lies.clone(), hearing.clone());
                lines.spawn(async move {
                    if let Ok(line) = acceptor.accept(tcp).await {
                        let _ = converse(line, &lies, &told).await;
                    }
                });
            }
        });
        Self { task, told }
    }

    /// Ends it, and leaves its address to another.
    pub(crate) async fn end(self) {
        self.task.abort();
        let _ = self.task.await;
    }

    /// How often somebody said hello.
    pub(crate) fn hellos(&self) -> u64 {
        self.told.hellos.load(Ordering::Relaxed)
    }

    /// How many batches came.
    pub(crate) fn cuts(&self) -> u64 {
        self.told.cuts.load(Ordering::Relaxed)
    }

    /// How many questions came.
    pub(crate) fn questions(&self) -> u64 {
        self.told.questions.load(Ordering::Relaxed)
    }
}

async fn converse(mut line: Line, lies: &Lies, told: &Told) -> Result<(), TransportError> {
    let hello: Hello = read_frame(&mut line).await?.decode(FrameType::Hello)?;
    told.hellos.fetch_add(1, Ordering::Relaxed);
    if let Some(welcome) = &lies.welcome {
        send_frame(&mut line, &Frame::message(FrameType::Welcome, welcome)?).await?;
    }
    if hello.role == Role::Live {
        for frame in &lies.at_once {
            send_frame(&mut line, frame).await?;
        }
    }
    let (mut reader, mut writer) = tokio::io::split(line);
    let insist = async {
        while let Some(frame) = &lies.for_ever {
            send_frame(&mut writer, frame).await?;
        }
        loop {
            if let Some(frame) = hear(&mut reader, lies, told).await? {
                send_frame(&mut writer, &frame).await?;
            }
        }
    };
    insist.await
}

async fn hear(
    reader: &mut (impl tokio::io::AsyncRead + Unpin),
    lies: &Lies,
    told: &Told,
) -> Result<Option<Frame<'static>>, TransportError> {
    let frame = read_frame(reader).await?;
    Ok(match frame.frame_type {
        FrameType::Ping => Some(Frame::empty(FrameType::Pong)),
        FrameType::Cut => {
            told.cuts.fetch_add(1, Ordering::Relaxed);
            (lies.to_cut)(&frame.decode(FrameType::Cut)?)
                .as_ref()
                .map(reply)
        }
        FrameType::Query => {
            told.questions.fetch_add(1, Ordering::Relaxed);
            (lies.to_query)(&frame.decode(FrameType::Query)?)
        }
        _ => None,
    })
}

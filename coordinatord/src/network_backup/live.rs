//! The life of an uplink: connect, converse until that ends, wait, again.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use everwrite_protocol::ids::SequenceNumber;
use everwrite_protocol::wire::frame::FrameType;
use everwrite_protocol::wire::{Reply, Role};
use everwrite_receiver::network_backup::{PING_EVERY, SILENCE_MAX};
use everwrite_receiver::transport::{Frame, Shrinker, TransportError, read_frame, write_frame};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, BufWriter};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout};

use super::backoff::Backoff;
use super::connect::{Connector, Line};
use super::uplink::Shared;
use super::window::{Next, Told};
use super::{Batch, UplinkEvent, plain};

/// Small frames go out together up to here.
const GATHER_BYTES: usize = 64 << 10;

/// Runs for as long as somebody hears the events.
pub(super) async fn run(
    connector: Arc<Connector>,
    shared: Arc<Shared>,
    events: mpsc::Sender<UplinkEvent>,
) {
    let mut backoff = Backoff::new();
    let mut told = String::new();
    while !events.is_closed() {
        let mut stalled = false;
        let error = match connector.connect(Role::Live).await {
            Ok(line) => {
                told.clear();
                let end = converse(line, &shared, &events, &mut backoff).await;
                format!("{}: {end}", connector.target())
            }
            Err(error) => {
                stalled = error.is_stall();
                error.to_string()
            }
        };
        shared.window().disconnected();
        shared.link.is_down();
        if told != error {
            tracing::warn!("uplink: {error}");
            told.clone_from(&error);
            tell_end(error, stalled, &events).await;
        }
        sleep(backoff.wait()).await;
    }
}

/// A receiver that answers but can't store is worth two events. Whoever should hear them may be gone;
/// the loop notices.
async fn tell_end(error: String, stalled: bool, events: &mpsc::Sender<UplinkEvent>) {
    let reason = error.clone();
    let _ = events.send(UplinkEvent::Disconnected { error }).await;
    if stalled {
        let _ = events.send(UplinkEvent::Stalled { reason }).await;
    }
}

/// Why a conversation ended.
#[derive(Debug, thiserror::Error)]
enum End {
    #[error(transparent)]
    Transport(#[from] TransportError),
    #[error("starting over after batches were taken back")]
    StartOver,
    #[error("batch {0} was refused: {1}")]
    Rejected(u64, String),
    #[error("the coordinator is gone")]
    Unheard,
}

/// One connection from welcome to end. Both directions run side by side: replies are heard while a
/// batch is stuck on its way out.
async fn converse(
    line: Line,
    shared: &Shared,
    events: &mpsc::Sender<UplinkEvent>,
    backoff: &mut Backoff,
) -> End {
    let Line {
        stream,
        stored,
        applied,
        window_bytes,
    } = line;
    shared.window().connected(stored, window_bytes);
    shared.link.is_up();
    if events
        .send(UplinkEvent::Connected {
            stored,
            applied,
            window_bytes,
        })
        .await
        .is_err()
    {
        return End::Unheard;
    }
    let (reader, writer) = tokio::io::split(stream);
    let pong_due = AtomicBool::new(false);
    let mut hearing = Hearing {
        shared,
        events,
        backoff,
        pong_due: &pong_due,
    };
    let writer = BufWriter::with_capacity(GATHER_BYTES, writer);
    let mut sending = Sending {
        shared,
        writer,
        shrinker: Shrinker::default(),
        pong_due: &pong_due,
    };
    let end = tokio::select! {
        biased;
        end = hearing.run(reader) => end,
        end = sending.run() => end,
    };
    end.err().unwrap_or(End::Unheard)
}

/// What comes down.
struct Hearing<'u> {
    shared: &'u Shared,
    events: &'u mpsc::Sender<UplinkEvent>,
    backoff: &'u mut Backoff,
    pong_due: &'u AtomicBool,
}

impl Hearing<'_> {
    async fn run(&mut self, mut reader: impl AsyncRead + Unpin) -> Result<(), End> {
        loop {
            let frame = timeout(SILENCE_MAX, read_frame(&mut reader))
                .await
                .map_err(|_| TransportError::Silence(SILENCE_MAX))??;
            match frame.frame_type {
                FrameType::Ping => {
                    self.pong_due.store(true, Ordering::Relaxed);
                    self.shared.wake.notify_one();
                }
                FrameType::Pong => {}
                _ => self.reply(frame.decode(FrameType::Reply)?).await?,
            }
        }
    }

    async fn reply(&mut self, reply: Reply) -> Result<(), End> {
        match reply {
            Reply::Stored(stored) => self.stored(stored).await,
            Reply::Applied(applied) => {
                let sound = self.shared.window().may_be_applied(applied);
                nonsense_unless(sound, "it has applied what it did not store")?;
                self.tell(UplinkEvent::Applied(applied)).await
            }
            Reply::Stalled { reason } => {
                let reason = plain(&reason);
                self.tell(UplinkEvent::Stalled { reason }).await
            }
            Reply::Resumed => self.tell(UplinkEvent::Resumed).await,
            Reply::Rejected { sequence, reason } => {
                self.shared.window().halt();
                let reason = plain(&reason);
                self.tell(UplinkEvent::Rejected {
                    sequence,
                    reason: reason.clone(),
                })
                .await?;
                Err(End::Rejected(sequence.0, reason))
            }
        }
    }

    async fn stored(&mut self, stored: SequenceNumber) -> Result<(), End> {
        let told = self.shared.window().stored(stored);
        nonsense_unless(told != Told::Nonsense, "it has stored what was not sent")?;
        if told == Told::News {
            self.backoff.reset();
            self.shared.wake.notify_one();
            self.tell(UplinkEvent::Stored(stored)).await?;
        }
        Ok(())
    }

    async fn tell(&self, event: UplinkEvent) -> Result<(), End> {
        self.events.send(event).await.map_err(|_| End::Unheard)
    }
}

fn nonsense_unless(sound: bool, what: &'static str) -> Result<(), End> {
    if sound {
        Ok(())
    } else {
        Err(TransportError::Nonsense(what).into())
    }
}

/// What goes up.
struct Sending<'u, W> {
    shared: &'u Shared,
    writer: BufWriter<W>,
    shrinker: Shrinker,
    pong_due: &'u AtomicBool,
}

impl<W: AsyncWrite + Unpin> Sending<'_, W> {
    async fn run(&mut self) -> Result<(), End> {
        loop {
            let next = self.shared.window().next();
            match next {
                Next::Send(batch) => self.batch(&batch).await?,
                Next::StartOver => return Err(End::StartOver),
                Next::Wait => self.rest().await?,
            }
        }
    }

    async fn batch(&mut self, batch: &Batch) -> Result<(), End> {
        for (part, payload) in &batch.parts {
            let mut frame = Frame::with_payload(FrameType::Part, part, payload.as_slice())
                .map_err(TransportError::from)?;
            self.shrinker.shrink(&mut frame);
            self.frame(&frame).await?;
        }
        let cut = Frame::message(FrameType::Cut, &batch.cut).map_err(TransportError::from)?;
        self.frame(&cut).await
    }

    async fn frame(&mut self, frame: &Frame<'_>) -> Result<(), End> {
        let began = Instant::now();
        write_frame(&mut self.writer, frame).await?;
        self.shrinker.sent(frame.wire_bytes(), began.elapsed());
        self.shared
            .bytes_sent
            .fetch_add(frame.wire_bytes(), Ordering::Relaxed);
        Ok(())
    }

    /// Nothing to send: what was gathered goes off, and from time to time a sign of life.
    async fn rest(&mut self) -> Result<(), End> {
        self.writer.flush().await.map_err(TransportError::from)?;
        let sign = match timeout(PING_EVERY, self.shared.wake.notified()).await {
            Ok(()) if !self.pong_due.swap(false, Ordering::Relaxed) => return Ok(()),
            Ok(()) => FrameType::Pong,
            Err(_) => FrameType::Ping,
        };
        Ok(write_frame(&mut self.writer, &Frame::empty(sign)).await?)
    }
}

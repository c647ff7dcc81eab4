//! A live connection: batches in, *stored* and *applied* out.
//!
//! Both directions run side by side, so that a store that can't keep up holds back the batches but
//! never the replies. A newer live connection of the same source ends this one.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use everwrite_protocol::wire::Reply;
use everwrite_protocol::wire::frame::FrameType;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{Notify, mpsc};
use tokio::time::timeout;

use super::ingest::{Arrived, IngestError};
use super::replies::Standing;
use super::session::SessionError;
use super::source::Source;
use super::{DestinationError, PING_EVERY, SILENCE_MAX};
use crate::transport::{Frame, TransportError, read_frame, send_frame};

/// The turn of one live connection: until a newer one takes it.
pub(super) struct Turn {
    source: Arc<Source>,
    number: u64,
}

impl Turn {
    /// Ends the source's older live connection.
    pub(super) fn take(source: &Arc<Source>) -> Self {
        let mut number = 0;
        source.newest.send_modify(|newest| {
            *newest += 1;
            number = *newest;
        });
        Self {
            source: Arc::clone(source),
            number,
        }
    }

    /// Waits until everything that older connections finished is on the disk.
    pub(super) async fn settle(&self) -> Result<(), SessionError> {
        let mut newest = self.source.newest.subscribe();
        let mut closing = self.source.closing.subscribe();
        tokio::select! {
            biased;
            () = self.source.ingest.fence() => Ok(()),
            _ = closing.wait_for(|&closing| closing) => Err(SessionError::Closing),
            _ = newest.wait_for(|&newest| newest != self.number) => Err(SessionError::Superseded),
        }
    }

    /// Lives until the peer leaves, is silent, breaks a rule, or has to end. `told` is what the
    /// welcome said.
    pub(super) async fn run(
        self,
        stream: impl AsyncRead + AsyncWrite,
        told: Standing,
    ) -> Result<(), SessionError> {
        let (reader, writer) = tokio::io::split(stream);
        let (failed, failures) = mpsc::unbounded_channel();
        let pongs = Pongs::default();
        let mut newest = self.source.newest.subscribe();
        let mut closing = self.source.closing.subscribe();
        tokio::select! {
            biased;
            end = self.receive(reader, failed, &pongs) => end,
            end = self.reply(writer, told, &pongs, failures) => end,
            _ = newest.wait_for(|&newest| newest != self.number) => Err(SessionError::Superseded),
            _ = closing.wait_for(|&closing| closing) => Err(SessionError::Closing),
        }
    }

    async fn receive(
        &self,
        mut reader: impl AsyncRead + Unpin,
        failed: mpsc::UnboundedSender<IngestError>,
        pongs: &Pongs,
    ) -> Result<(), SessionError> {
        loop {
            let frame = timeout(SILENCE_MAX, read_frame(&mut reader))
                .await
                .map_err(|_| TransportError::Silence(SILENCE_MAX))??;
            match frame.frame_type {
                FrameType::Part | FrameType::Cut => {
                    let (connection, failed) = (self.number, failed.clone());
                    self.source
                        .ingest
                        .put(Arrived {
                            connection,
                            frame,
                            failed,
                        })
                        .await;
                }
                FrameType::Ping => pongs.owe(),
                FrameType::Pong => {}
                other => return Err(TransportError::OutOfTurn(other).into()),
            }
        }
    }

    async fn reply(
        &self,
        mut writer: impl AsyncWrite + Unpin,
        mut told: Standing,
        pongs: &Pongs,
        mut failures: mpsc::UnboundedReceiver<IngestError>,
    ) -> Result<(), SessionError> {
        let mut standing = self.source.standing.subscribe();
        loop {
            let now = standing.borrow_and_update().clone();
            if let Some(reason) = now.failed {
                return Err(SessionError::Store(reason));
            }
            for reply in now.news(&told) {
                send(&mut writer, &reply).await?;
            }
            told = now;
            tokio::select! {
                biased;
                Some(error) = failures.recv() => return Err(tell(&mut writer, error).await),
                () = pongs.owed() => {
                    send_frame(&mut writer, &Frame::empty(FrameType::Pong)).await?;
                }
                changed = standing.changed() => {
                    changed.map_err(|_| SessionError::Closing)?;
                }
                () = tokio::time::sleep(PING_EVERY) => {
                    send_frame(&mut writer, &Frame::empty(FrameType::Ping)).await?;
                }
            }
        }
    }
}

async fn send(writer: &mut (impl AsyncWrite + Unpin), reply: &Reply) -> Result<(), TransportError> {
    send_frame(writer, &Frame::message(FrameType::Reply, reply)?).await
}

/// The end of a connection whose batch was not taken: the coordinator hears why when it is at fault.
async fn tell(writer: &mut (impl AsyncWrite + Unpin), error: IngestError) -> SessionError {
    let error = SessionError::from(error);
    if let SessionError::Rejected { sequence, reason } = &error {
        let rejected = Reply::Rejected {
            sequence: *sequence,
            reason: reason.clone(),
        };
        if let Err(error) = send(writer, &rejected).await {
            return error.into();
        }
    }
    error
}

/// Answers that are due to `Ping`; several become one.
#[derive(Default)]
struct Pongs {
    owing: AtomicBool,
    wake: Notify,
}

impl Pongs {
    fn owe(&self) {
        self.owing.store(true, Ordering::Relaxed);
        self.wake.notify_one();
    }

    async fn owed(&self) {
        while !self.owing.swap(false, Ordering::Relaxed) {
            self.wake.notified().await;
        }
    }
}

impl From<IngestError> for SessionError {
    fn from(error: IngestError) -> Self {
        match error {
            IngestError::Transport(error) => Self::Transport(error),
            IngestError::Destination(DestinationError::Rejected { sequence, reason }) => {
                Self::Rejected { sequence, reason }
            }
            IngestError::Destination(DestinationError::Failed(error)) => Self::Store(error),
        }
    }
}

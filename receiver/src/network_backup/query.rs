//! A query connection: questions in, answers out, in order.

use std::sync::Arc;
use std::time::Duration;

use everwrite_protocol::wire::frame::FrameType;
use everwrite_protocol::wire::{Answer, Query};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, timeout};

use super::session::SessionError;
use super::source::{Source, by};
use crate::transport::{Frame, Shrinker, TransportError, read_frame, send_frame};

/// A connection without a question for so long is closed; the coordinator makes a new one when it
/// has something to ask.
const IDLE_MAX: Duration = Duration::from_secs(300);

/// Lives until the peer leaves, is idle, breaks a rule, or has to end.
pub(super) async fn run(
    source: &Arc<Source>,
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
) -> Result<(), SessionError> {
    let mut closing = source.closing.subscribe();
    tokio::select! {
        biased;
        end = answer_all(source, &mut stream) => end,
        _ = closing.wait_for(|&closing| closing) => Err(SessionError::Closing),
    }
}

async fn answer_all(
    source: &Arc<Source>,
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
) -> Result<(), SessionError> {
    let mut shrinker = Shrinker::default();
    loop {
        let frame = timeout(IDLE_MAX, read_frame(stream))
            .await
            .map_err(|_| TransportError::Silence(IDLE_MAX))??;
        if frame.frame_type == FrameType::Ping {
            send_frame(stream, &Frame::empty(FrameType::Pong)).await?;
            continue;
        }
        let query = frame.decode(FrameType::Query)?;
        let (answer, payload) = answer(source, query).await?;
        // A store that is being closed refuses to wait. That is no answer: who asks again is let in anew.
        if *source.closing.borrow() {
            return Err(SessionError::Closing);
        }
        let mut frame = Frame::with_payload(FrameType::Answer, &answer, payload)
            .map_err(TransportError::from)?;
        shrinker.shrink(&mut frame);
        let began = Instant::now();
        send_frame(stream, &frame).await?;
        shrinker.sent(frame.wire_bytes(), began.elapsed());
    }
}

/// On a blocking thread, of which a source may hold a few.
async fn answer(source: &Arc<Source>, query: Query) -> Result<(Answer, Vec<u8>), SessionError> {
    let permit = Arc::clone(&source.answers).acquire_owned().await;
    let destination = Arc::clone(&source.destination);
    by(source.hands, move || {
        let _permit = permit;
        destination.answer(&query)
    })
    .await
    .map_err(|error| SessionError::Store(format!("a question could not be answered: {error}")))
}

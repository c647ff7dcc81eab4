//! The connection that questions take, as a task of its own, so that a caller who loses patience
//! can't tear a frame in two.
//!
//! Several questions may be on the line; the answers come in order. When the line breaks, what was
//! on it is asked again: questions change nothing. When a question's time is up while it is on the
//! line, the line is given up with it, for whatever came next would be its answer.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use everwrite_protocol::wire::frame::FrameType;
use everwrite_protocol::wire::{Answer, Query, QueryError, Role};
use everwrite_receiver::transport::{Frame, TransportError, read_frame, send_frame};
use tokio::io::{AsyncRead, WriteHalf};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, sleep_until, timeout_at};

use super::backoff::Backoff;
use super::connect::{Connector, Stream};
use super::link::Link;
use super::{AskError, plain};

/// Questions on the line at once.
const ON_LINE_MAX: usize = 16;
/// A question that broke the line so often is not asked again.
const ATTEMPTS_MAX: u32 = 3;
/// A line without questions for so long is closed.
const IDLE_MAX: Duration = Duration::from_secs(60);

/// A question on its way.
#[derive(Debug)]
pub(super) struct Question {
    pub(super) query: Query,
    pub(super) patience: Duration,
    pub(super) deadline: Instant,
    /// How often the line broke while it was on it.
    pub(super) attempts: u32,
    pub(super) answer: oneshot::Sender<Result<(Answer, Vec<u8>), AskError>>,
}

impl Question {
    fn answer(self, result: Result<(Answer, Vec<u8>), AskError>) {
        // Whoever asked may have lost interest.
        let _ = self.answer.send(result);
    }

    fn expire(self) {
        let patience = self.patience;
        self.answer(Err(AskError::Deadline(patience)));
    }
}

/// Answers questions until nobody can ask any more.
pub(super) async fn run(
    connector: Arc<Connector>,
    link: Link,
    asked: mpsc::UnboundedReceiver<Question>,
) {
    let mut line = QuestionLine {
        connector,
        link,
        asked,
        waiting: VecDeque::new(),
    };
    while line.wait_for_question().await {
        if let Some(open) = line.open().await {
            line.converse(open).await;
        }
    }
}

struct QuestionLine {
    connector: Arc<Connector>,
    /// Without it nobody is asked.
    link: Link,
    asked: mpsc::UnboundedReceiver<Question>,
    /// To be put on a line, oldest first.
    waiting: VecDeque<Question>,
}

/// A connection, with a task that reads it: reading a frame must not be cancelled.
struct Open {
    writer: WriteHalf<Box<dyn Stream>>,
    frames: mpsc::Receiver<Result<Frame<'static>, TransportError>>,
    reader: JoinHandle<()>,
}

impl Drop for Open {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

impl QuestionLine {
    /// False when there will be none.
    async fn wait_for_question(&mut self) -> bool {
        if self.waiting.is_empty() {
            match self.asked.recv().await {
                Some(question) => self.waiting.push_back(question),
                None => return false,
            }
        }
        true
    }

    /// A connection, within the patience of the oldest question; or it, and all that have run out
    /// of patience, are answered with why not.
    async fn open(&mut self) -> Option<Open> {
        let mut backoff = Backoff::new();
        let began = Instant::now();
        loop {
            let deadline = self.waiting.front()?.deadline;
            let tried = tokio::select! {
                biased;
                () = self.link.lost() => return self.give_up(),
                tried = timeout_at(deadline, self.connector.connect(Role::Query)) => tried,
            };
            let error = match tried {
                Ok(Ok(line)) => return Some(Open::start(line.stream)),
                Ok(Err(error)) => AskError::Connect(Arc::new(error)),
                Err(_) => AskError::Deadline(self.waiting.front()?.patience),
            };
            let wait = backoff.wait();
            if Instant::now() + wait >= deadline || error.is_final(began.elapsed()) {
                self.waiting.pop_front()?.answer(Err(error));
                return None;
            }
            sleep(wait).await;
        }
    }

    /// Nobody is there to answer.
    fn give_up<T>(&mut self) -> Option<T> {
        let waiting = self.waiting.drain(..);
        waiting.for_each(|question| question.answer(Err(AskError::Lost)));
        None
    }

    /// Until the line breaks, is idle, or nobody can ask any more.
    async fn converse(&mut self, mut open: Open) {
        let mut on_line = VecDeque::new();
        while let Step::GoOn = self.step(&mut open, &mut on_line).await {}
        for question in on_line.into_iter().rev() {
            self.waiting.push_front(question);
        }
    }

    async fn step(&mut self, open: &mut Open, on_line: &mut VecDeque<Question>) -> Step {
        if let Some(step) = self.put_on(open, on_line).await {
            return step;
        }
        let until = on_line
            .front()
            .map_or_else(|| Instant::now() + IDLE_MAX, |question| question.deadline);
        tokio::select! {
            biased;
            frame = open.frames.recv() => hear(frame, on_line),
            question = self.asked.recv(), if on_line.len() < ON_LINE_MAX => match question {
                Some(question) => {
                    self.waiting.push_back(question);
                    Step::GoOn
                }
                // Nobody asks any more, but somebody may still wait for an answer.
                None if on_line.is_empty() => Step::End,
                None => hear(open.frames.recv().await, on_line),
            },
            // What is on the line is given up by whoever opens the next.
            () = self.link.lost(), if !on_line.is_empty() => Step::End,
            () = sleep_until(until) => {
                if let Some(question) = on_line.pop_front() {
                    question.expire();
                }
                Step::End
            }
        }
    }

    /// Puts what is waiting on the line, as far as there is room.
    async fn put_on(&mut self, open: &mut Open, on_line: &mut VecDeque<Question>) -> Option<Step> {
        while on_line.len() < ON_LINE_MAX {
            let Some(question) = self.waiting.pop_front() else {
                break;
            };
            if question.deadline <= Instant::now() {
                question.expire();
                continue;
            }
            let frame = match Frame::message(FrameType::Query, &question.query) {
                Ok(frame) => frame,
                Err(error) => {
                    question.answer(Err(AskError::Broken(error.to_string())));
                    continue;
                }
            };
            on_line.push_back(question);
            if let Err(error) = send_frame(&mut open.writer, &frame).await {
                blame(on_line, &error);
                return Some(Step::End);
            }
        }
        None
    }
}

enum Step {
    GoOn,
    End,
}

fn hear(
    frame: Option<Result<Frame<'static>, TransportError>>,
    on_line: &mut VecDeque<Question>,
) -> Step {
    let answer = match frame {
        Some(Ok(frame)) if frame.frame_type == FrameType::Pong => return Step::GoOn,
        Some(Ok(frame)) => read_answer(frame),
        Some(Err(error)) => Err(error),
        None => Err(TransportError::Closed),
    };
    match (answer, on_line.pop_front()) {
        (Ok((Answer::Failed(error), _)), Some(question)) => {
            question.answer(Err(shown(error).into()));
            Step::GoOn
        }
        (Ok(answer), Some(question)) => {
            question.answer(Ok(answer));
            Step::GoOn
        }
        (Err(error), Some(question)) => {
            on_line.push_front(question);
            blame(on_line, &error);
            Step::End
        }
        (_, None) => Step::End,
    }
}

/// The receiver's own words.
fn shown(error: QueryError) -> QueryError {
    match error {
        QueryError::Invalid(words) => QueryError::Invalid(plain(&words)),
        QueryError::Store(words) => QueryError::Store(plain(&words)),
        other => other,
    }
}

/// The line broke at the oldest question: after some attempts it is taken to be the cause.
fn blame(on_line: &mut VecDeque<Question>, error: &TransportError) {
    if let Some(mut question) = on_line.pop_front() {
        question.attempts += 1;
        if question.attempts < ATTEMPTS_MAX {
            on_line.push_front(question);
        } else {
            question.answer(Err(AskError::Broken(error.to_string())));
        }
    }
}

fn read_answer(frame: Frame<'static>) -> Result<(Answer, Vec<u8>), TransportError> {
    let answer = frame.decode(FrameType::Answer)?;
    Ok((answer, frame.into_payload()?))
}

impl Open {
    fn start(stream: Box<dyn Stream>) -> Self {
        let (reader, writer) = tokio::io::split(stream);
        let (read, frames) = mpsc::channel(1);
        Self {
            writer,
            frames,
            reader: tokio::spawn(read_all(reader, read)),
        }
    }
}

async fn read_all(
    mut reader: impl AsyncRead + Unpin,
    read: mpsc::Sender<Result<Frame<'static>, TransportError>>,
) {
    loop {
        let frame = read_frame(&mut reader).await;
        let last = frame.is_err();
        if read.send(frame).await.is_err() || last {
            return;
        }
    }
}

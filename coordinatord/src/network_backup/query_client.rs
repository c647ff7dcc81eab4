//! Questions to a receiver: what everybody else holds of it.

use std::sync::Arc;
use std::time::Duration;

use everwrite_protocol::ids::SourceId;
use everwrite_protocol::wire::{Answer, Query, QueryError, Refusal};
use everwrite_receiver::identity::Identity;
use everwrite_receiver::network_backup::EmbeddedError;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use super::connect::Connector;
use super::link::{DOWN_MAX, Link};
use super::question_line::{self, Question};
use super::{ConnectError, Target};

/// How long [`QueryClient::ask`] waits: longer than a receiver waits for its own mirror.
const ASK_MAX: Duration = Duration::from_secs(90);

/// A store that does not open for longer than this has failed.
const STORE_CLOSES_MAX: Duration = Duration::from_secs(5);

/// Asks one receiver about one source. Clones share a connection, which is made by the first
/// question, closed when idle and made anew when it breaks; questions are answered in the order in
/// which they were asked.
#[derive(Clone, Debug)]
pub struct QueryClient {
    questions: mpsc::UnboundedSender<Question>,
}

/// Why there is no answer.
#[derive(Clone, Debug, thiserror::Error)]
pub enum AskError {
    /// The receiver can't be reached.
    #[error(transparent)]
    Connect(Arc<ConnectError>),
    /// The connection broke while the question was being answered, again and again.
    #[error("the connection to the receiver broke at this question: {0}")]
    Broken(String),
    /// Time is up.
    #[error("no answer from the receiver within {} s", .0.as_secs())]
    Deadline(Duration),
    /// The line for batches does not stand, either.
    #[error("the receiver has been out of reach for {} s", DOWN_MAX.as_secs())]
    Lost,
    /// The receiver says why it has no answer.
    #[error(transparent)]
    Failed(#[from] QueryError),
    /// The answer belongs to another question.
    #[error("the receiver answered another question")]
    Mismatch,
    /// The line is being closed.
    #[error("the coordinator is stopping")]
    Stopping,
}

/// Whoever can be asked: a receiver, or what stands for one in a test.
pub trait Ask: Sync {
    /// Asks. [`Answer::Failed`] comes as [`AskError::Failed`].
    fn ask(&self, query: Query)
    -> impl Future<Output = Result<(Answer, Vec<u8>), AskError>> + Send;

    /// Asks several questions at once; the answers are in the questions' order.
    fn ask_all(
        &self,
        queries: Vec<Query>,
    ) -> impl Future<Output = Result<Vec<(Answer, Vec<u8>)>, AskError>> + Send;
}

impl QueryClient {
    /// A client of its own, without an [`Uplink`](super::Uplink). Needs a tokio runtime; connects
    /// at the first question. An embedded store that a coordinator
    /// has open is asked through that coordinator.
    pub fn connect(target: Target, identity: Arc<Identity>, source: SourceId) -> Self {
        let connector = Arc::new(Connector::new(target, identity, source));
        Self::over(connector, Link::none())
    }

    pub(super) fn over(connector: Arc<Connector>, link: Link) -> Self {
        let (questions, asked) = mpsc::unbounded_channel();
        tokio::spawn(question_line::run(connector, link, asked));
        Self { questions }
    }

    /// Asks; waits at most 90 s, over as many connections as that takes.
    /// [`Answer::Failed`] comes as [`AskError::Failed`]. The second half is the payload.
    pub async fn ask(&self, query: Query) -> Result<(Answer, Vec<u8>), AskError> {
        self.ask_within(query, ASK_MAX).await
    }

    /// Asks; waits at most `patience`.
    pub async fn ask_within(
        &self,
        query: Query,
        patience: Duration,
    ) -> Result<(Answer, Vec<u8>), AskError> {
        self.put(query, patience)
            .await
            .map_err(|_| AskError::Stopping)?
    }

    fn put(
        &self,
        query: Query,
        patience: Duration,
    ) -> oneshot::Receiver<Result<(Answer, Vec<u8>), AskError>> {
        let (answer, answered) = oneshot::channel();
        let deadline = Instant::now() + patience;
        // Without a line the answer's sender is dropped with the question, which says as much.
        let _ = self.questions.send(Question {
            query,
            patience,
            deadline,
            attempts: 0,
            answer,
        });
        answered
    }
}

impl Ask for QueryClient {
    async fn ask(&self, query: Query) -> Result<(Answer, Vec<u8>), AskError> {
        Self::ask(self, query).await
    }

    async fn ask_all(&self, queries: Vec<Query>) -> Result<Vec<(Answer, Vec<u8>)>, AskError> {
        let asked: Vec<_> = queries
            .into_iter()
            .map(|query| self.put(query, ASK_MAX))
            .collect();
        let mut answers = Vec::with_capacity(asked.len());
        for answer in asked {
            answers.push(answer.await.map_err(|_| AskError::Stopping)??);
        }
        Ok(answers)
    }
}

impl AskError {
    /// Would asking again, after `tried` of trying, end the same way?
    pub(super) fn is_final(&self, tried: Duration) -> bool {
        let Self::Connect(error) = self else {
            return false;
        };
        match **error {
            // A store that another process has just closed may not be quite closed.
            ConnectError::Refused {
                refusal: Refusal::Store,
                ..
            } => tried > STORE_CLOSES_MAX,
            ConnectError::NotPinned { .. }
            | ConnectError::Refused { .. }
            | ConnectError::Identity(_)
            | ConnectError::NoStore(_)
            | ConnectError::Embedded(EmbeddedError::Io { .. }) => true,
            ConnectError::Unreachable { .. }
            | ConnectError::Tls { .. }
            | ConnectError::Silent { .. }
            | ConnectError::Transport { .. }
            | ConnectError::Embedded(EmbeddedError::InUse(_)) => false,
        }
    }
}

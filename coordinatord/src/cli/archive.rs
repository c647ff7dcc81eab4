//! What a receiver holds of this source, asked directly: the coordinator may be dead.

use std::sync::Arc;
use std::time::Duration;

use everwrite_protocol::ids::SequenceNumber;
use everwrite_protocol::wire::{Answer, At, Point, Query, QueryError, TreeEntry};

use super::context::Context;
use super::exit::{Exit, Failure};
use super::place::Place;
use super::shown;
use crate::config::{self, Config, Receiver};
use crate::network_backup::{AskError, Identity, QueryClient};

/// One receiver's answers.
#[derive(Clone, Debug)]
pub(super) struct Archive {
    /// Its name.
    pub(super) receiver: String,
    questions: QueryClient,
}

impl Archive {
    /// Nothing is connected yet.
    pub(super) fn open(context: &Context, receiver: &Receiver) -> Result<Self, Failure> {
        let directory = context.paths.identity_dir();
        let identity = Identity::load_or_create(&directory).map_err(|error| no_identity(&error))?;
        let source = config::source_id(&context.paths).map_err(|error| no_identity(&error))?;
        let target = receiver.place.target();
        Ok(Self {
            receiver: receiver.name.clone(),
            questions: QueryClient::connect(target, Arc::new(identity), source),
        })
    }

    /// Every receiver that may hold `place`: the root's own; for a root that is no longer protected
    /// the first that has it; for all roots every one.
    pub(super) async fn holding(
        context: &Context,
        config: &Config,
        place: &Place,
    ) -> Result<Vec<Self>, Failure> {
        let known = |name: &String| config.receiver(name);
        match place.receiver.as_ref().and_then(known) {
            Some(receiver) => Ok(vec![Self::open(context, receiver)?]),
            None => {
                let all = config
                    .receivers
                    .iter()
                    .map(|receiver| Self::open(context, receiver));
                Self::that_has(all.collect::<Result<_, _>>()?, place).await
            }
        }
    }

    /// The only one that holds `place`.
    pub(super) async fn of(
        context: &Context,
        config: &Config,
        place: &Place,
    ) -> Result<Self, Failure> {
        let mut holding = Self::holding(context, config, place).await?;
        match holding.len() {
            1 => Ok(holding.remove(0)),
            _ => Err(Failure::usage(
                "name the root: ROOT:",
                "see `everwrite status` for the roots",
            )),
        }
    }

    async fn that_has(all: Vec<Self>, place: &Place) -> Result<Vec<Self>, Failure> {
        if all.is_empty() {
            return Err(config::Problem::NothingPaired.into());
        }
        let Some(root) = place.root() else {
            return Ok(all);
        };
        let mut roots = Vec::new();
        for archive in all {
            let newest = match archive.resolve(At::Newest).await {
                Err(failure) if failure.exit == Exit::Negative => continue,
                newest => newest?,
            };
            let entries = archive.list(b"", newest.sequence).await?;
            if entries.iter().any(|entry| entry.name.as_bytes() == root) {
                return Ok(vec![archive]);
            }
            roots.extend(
                entries
                    .iter()
                    .map(|entry| shown::path(entry.name.as_bytes())),
            );
        }
        let held = match roots.as_slice() {
            [] => "no receiver holds any root of this source yet".to_owned(),
            roots => format!("receivers hold {}", roots.join(", ")),
        };
        Err(Failure::usage(
            format!("no root is called {}", shown::path(root)),
            held,
        ))
    }

    /// Asks as it is.
    pub(super) async fn ask(&self, query: Query) -> Result<(Answer, Vec<u8>), Failure> {
        let answer = ask(self.questions.clone(), query).await;
        answer.map_err(|error| self.failed(&error))
    }

    /// Puts a question on the line; the answer may be waited for later, and has its own fate.
    pub(super) fn ask_later(
        &self,
        query: Query,
    ) -> impl Future<Output = Result<(Answer, Vec<u8>), AskError>> + use<> {
        let questions = self.questions.clone();
        let asked = tokio::spawn(ask(questions, query));
        async { asked.await.unwrap_or(Err(AskError::Stopping)) }
    }

    /// The recovery point that `at` means.
    pub(super) async fn resolve(&self, at: At) -> Result<Point, Failure> {
        match self.ask(Query::Resolve { at }).await? {
            (Answer::Resolved(point), _) => Ok(point),
            _ => Err(self.mismatch()),
        }
    }

    /// The entry at `path`; `None`: there was none.
    pub(super) async fn stat(
        &self,
        path: &[u8],
        at: SequenceNumber,
    ) -> Result<Option<TreeEntry>, Failure> {
        let query = Query::Stat {
            path: path.to_owned(),
            at,
        };
        match ask(self.questions.clone(), query).await {
            Ok((Answer::Stat(entry), _)) => Ok(Some(entry)),
            Ok(_) => Err(self.mismatch()),
            Err(AskError::Failed(QueryError::NotFound)) => Ok(None),
            Err(error) => Err(self.failed(&error)),
        }
    }

    /// The same, where none is an error.
    pub(super) async fn existing(&self, path: &[u8], point: &Point) -> Result<TreeEntry, Failure> {
        self.stat(path, point.sequence).await?.ok_or_else(|| {
            let (path, time) = (shown::path(path), shown::cut_time(point.time));
            Failure::negative(
                format!(
                    "{path}: nothing is stored there as of {time} (@{})",
                    point.sequence.0
                ),
                "`everwrite log PATH` shows when it was there, `everwrite deleted` what is gone",
            )
        })
    }

    /// All entries of a directory, in byte order; of a file: itself.
    pub(super) async fn list(
        &self,
        path: &[u8],
        at: SequenceNumber,
    ) -> Result<Vec<TreeEntry>, Failure> {
        let mut all: Vec<TreeEntry> = Vec::new();
        loop {
            let after = all.last().map(|entry| entry.name.clone());
            let query = Query::List {
                path: path.to_owned(),
                at,
                after,
            };
            let (Answer::List { entries, more }, _) = self.ask(query).await? else {
                return Err(self.mismatch());
            };
            let done = !more || entries.is_empty();
            all.extend(entries);
            if done {
                return Ok(all);
            }
        }
    }

    /// The receiver broke the rules.
    pub(super) fn mismatch(&self) -> Failure {
        self.failed(&AskError::Mismatch)
    }

    /// An unanswered question, for people.
    pub(super) fn failed(&self, error: &AskError) -> Failure {
        let message = format!("{}: {error}", self.receiver);
        match error {
            AskError::Failed(QueryError::UnknownCheckpoint) => {
                Failure::negative(message, "`everwrite points` lists the checkpoints")
            }
            AskError::Failed(QueryError::TooEarly | QueryError::NotFound) => {
                Failure::negative(message, "`everwrite points` lists the recovery points")
            }
            AskError::Failed(_) => Failure::negative(message, "see the receiver's log"),
            _ => Failure::new(
                Exit::Unreachable,
                message,
                "`everwrite doctor` looks for the cause",
            ),
        }
    }
}

/// Gives up soon when nobody is there, since somebody waits at a terminal; not when the receiver is
/// only slow.
async fn ask(questions: QueryClient, query: Query) -> Result<(Answer, Vec<u8>), AskError> {
    match questions.ask_within(query.clone(), CONTACT_MAX).await {
        Err(AskError::Deadline(_)) => questions.ask(query).await,
        answered => answered,
    }
}

/// How long a receiver that can't be reached is tried.
const CONTACT_MAX: Duration = Duration::from_secs(5);

fn no_identity(error: &impl ToString) -> Failure {
    let hint = "it belongs to the user who runs the coordinator; try with sudo";
    Failure::negative(error.to_string(), hint)
}

/// Names of a path at a receiver, joined.
pub(super) fn child(parent: &[u8], name: &[u8]) -> Vec<u8> {
    match parent {
        b"" => name.to_owned(),
        parent => [parent, name].join(&b'/'),
    }
}

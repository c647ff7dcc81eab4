//! HTTP request → message to the coordinator's loop → JSON.

use axum::Json;
use axum::extract::{FromRequest, Query, Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use everwrite_protocol::control::{
    ANNOUNCED_PATHS_MAX, AcknowledgeAnswer, AcknowledgeRequest, AnnounceRequest, ApiError,
    Coverage, Explanation, OffRequest, PairAnswer, PairRequest, PathText, ProtectRequest,
    ReconcileAnswer, ReconcileRequest, RootStatus, Status, SyncAnswer, SyncRequest,
    UnprotectRequest,
};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokio::sync::{mpsc, oneshot};

use super::request::{ControlRequest, Reply};

type Requests = State<mpsc::Sender<ControlRequest>>;
type Answered<A> = Result<Json<A>, Failure>;

/// Exit code: the request is malformed.
const EXIT_USAGE: u8 = 2;
/// Exit code: no daemon to speak of; it is stopping.
const EXIT_UNREACHABLE: u8 = 3;

pub(super) async fn status(State(requests): Requests) -> Answered<Status> {
    ask(&requests, |reply| ControlRequest::Status { reply }).await
}

pub(super) async fn coverage(State(requests): Requests) -> Answered<Coverage> {
    ask(&requests, |reply| ControlRequest::Coverage { reply }).await
}

pub(super) async fn protect(
    State(requests): Requests,
    Body(request): Body<ProtectRequest>,
) -> Answered<RootStatus> {
    ask(&requests, |reply| ControlRequest::Protect {
        request,
        reply,
    })
    .await
}

pub(super) async fn unprotect(
    State(requests): Requests,
    Body(request): Body<UnprotectRequest>,
) -> Answered<()> {
    ask(&requests, |reply| ControlRequest::Unprotect {
        root: request.root,
        reply,
    })
    .await
}

pub(super) async fn on(State(requests): Requests) -> Answered<Status> {
    ask(&requests, |reply| ControlRequest::On { reply }).await
}

pub(super) async fn off(
    State(requests): Requests,
    Body(request): Body<OffRequest>,
) -> Answered<Status> {
    ask(&requests, |reply| ControlRequest::Off { request, reply }).await
}

pub(super) async fn sync(
    State(requests): Requests,
    Body(request): Body<SyncRequest>,
) -> Answered<SyncAnswer> {
    ask(&requests, |reply| ControlRequest::Sync { request, reply }).await
}

pub(super) async fn reconcile(
    State(requests): Requests,
    Body(request): Body<ReconcileRequest>,
) -> Answered<ReconcileAnswer> {
    ask(&requests, |reply| ControlRequest::Reconcile {
        request,
        reply,
    })
    .await
}

pub(super) async fn announce(
    State(requests): Requests,
    Body(request): Body<AnnounceRequest>,
) -> Answered<()> {
    if request.paths.len() > ANNOUNCED_PATHS_MAX {
        return Err(Failure::usage(format!(
            "at most {ANNOUNCED_PATHS_MAX} paths at once"
        )));
    }
    ask(&requests, |reply| ControlRequest::Announce {
        request,
        reply,
    })
    .await
}

pub(super) async fn acknowledge(
    State(requests): Requests,
    Body(request): Body<AcknowledgeRequest>,
) -> Answered<AcknowledgeAnswer> {
    ask(&requests, |reply| ControlRequest::Acknowledge {
        until: request.until,
        reply,
    })
    .await
}

pub(super) async fn pair(
    State(requests): Requests,
    Body(request): Body<PairRequest>,
) -> Answered<PairAnswer> {
    ask(&requests, |reply| ControlRequest::Pair { request, reply }).await
}

/// `?path=TEXT`, or `?hex=DIGITS` for one that is not UTF-8.
#[derive(Deserialize)]
pub(super) struct ExplainQuery {
    path: Option<String>,
    hex: Option<String>,
}

pub(super) async fn explain(
    State(requests): Requests,
    Query(query): Query<ExplainQuery>,
) -> Answered<Explanation> {
    let path = match (query.path, query.hex) {
        (Some(text), None) => PathText::Text(text),
        (None, Some(hex)) => PathText::Bytes { hex },
        _ => return Err(Failure::usage("give either `path` or `hex`".to_owned())),
    };
    ask(&requests, |reply| ControlRequest::Explain { path, reply }).await
}

pub(super) async fn unknown(request: Request) -> Failure {
    let error = format!(
        "no such call: {} {}",
        request.method(),
        request.uri().path()
    );
    let hint = "the command line and the daemon may be of different versions; update both";
    Failure(ApiError {
        error,
        hint: hint.to_owned(),
        exit: EXIT_USAGE,
    })
}

/// Asks the loop and waits. Both ends of the channel are gone only when the daemon stops.
async fn ask<A>(
    requests: &mpsc::Sender<ControlRequest>,
    request: impl FnOnce(Reply<A>) -> ControlRequest,
) -> Answered<A> {
    let (reply, answer) = oneshot::channel();
    requests
        .send(request(reply))
        .await
        .map_err(|_| Failure::stopping())?;
    let answer = answer.await.map_err(|_| Failure::stopping())?;
    answer.map(Json).map_err(Failure)
}

/// A JSON body; what is wrong with one is said as every other error is.
pub(super) struct Body<B>(B);

impl<S: Send + Sync, B: DeserializeOwned> FromRequest<S> for Body<B> {
    type Rejection = Failure;

    async fn from_request(request: Request, state: &S) -> Result<Self, Failure> {
        let parsed = Json::<B>::from_request(request, state).await;
        parsed
            .map(|Json(body)| Self(body))
            .map_err(|error| Failure::usage(error.body_text()))
    }
}

/// An error on its way out.
pub(super) struct Failure(ApiError);

impl Failure {
    fn usage(error: String) -> Self {
        Self(ApiError {
            error,
            hint: "see the API's description".to_owned(),
            exit: EXIT_USAGE,
        })
    }

    fn stopping() -> Self {
        Self(ApiError {
            error: "the coordinator is stopping".to_owned(),
            hint: "start it again and repeat the command".to_owned(),
            exit: EXIT_UNREACHABLE,
        })
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let status = match self.0.exit {
            EXIT_USAGE => StatusCode::BAD_REQUEST,
            EXIT_UNREACHABLE => StatusCode::SERVICE_UNAVAILABLE,
            _ => StatusCode::CONFLICT,
        };
        (status, Json(self.0)).into_response()
    }
}

//! A real socket, a real client, and a loop that answers by a script.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use everwrite_protocol::control::{
    ApiError, Explanation, OffRequest, PathText, SyncAnswer, SyncRequest, UnprotectRequest,
};
use tokio::sync::mpsc;

use super::*;

/// The loop of a coordinator that knows no root.
async fn answer(mut requests: mpsc::Receiver<ControlRequest>) {
    let no_root = |name: &str| ApiError {
        error: format!("no root is called {name:?}"),
        hint: "see status".to_owned(),
        exit: 2,
    };
    while let Some(request) = requests.recv().await {
        match request {
            ControlRequest::Unprotect { root, reply } => drop(reply.send(Err(no_root(&root)))),
            ControlRequest::Explain { path, reply } => drop(reply.send(Ok(Explanation {
                path,
                protected: false,
                reason: "no root holds it".to_owned(),
                root: None,
                last_stored: None,
            }))),
            ControlRequest::Sync { request, reply } => {
                drop(reply.send(Ok(SyncAnswer {
                    points: vec![],
                    took_ms: request.timeout_ms,
                })));
            }
            other => drop(other),
        }
    }
}

async fn with_server<F: Future<Output = ()>>(
    test: impl FnOnce(ControlClient, std::path::PathBuf) -> F,
) {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("api.sock");
    // What a dead daemon left.
    drop(std::os::unix::net::UnixListener::bind(&socket).unwrap());
    let server = ControlServer::bind(&socket).unwrap();
    let (requests, received) = mpsc::channel(8);
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let served = tokio::spawn(server.serve(requests, async { drop(stopped.await) }));
    tokio::spawn(answer(received));
    test(ControlClient::new(&socket), socket.clone()).await;
    drop(stop);
    served.await.unwrap().unwrap();
    assert_eq!(
        std::fs::read_dir(directory.path()).unwrap().count(),
        0,
        "nothing is left behind"
    );
}

#[tokio::test]
async fn requests_reach_the_loop_and_answers_come_back() {
    with_server(|client, socket| async move {
        let mode = std::fs::metadata(&socket).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let sync = SyncRequest {
            timeout_ms: 7,
            ..SyncRequest::default()
        };
        let answer: SyncAnswer = client.post("sync", &sync).await.unwrap();
        assert_eq!(answer.took_ms, 7);
        let explained: Explanation = client.get("explain?hex=2fff").await.unwrap();
        assert_eq!(explained.path, PathText::from_bytes(b"/\xff"));
    })
    .await;
}

#[tokio::test]
async fn every_failure_says_what_and_what_next() {
    with_server(|client, _| async move {
        let unknown = UnprotectRequest {
            root: "x".to_owned(),
        };
        let refused = client.post::<()>("unprotect", &unknown).await;
        assert!(
            matches!(refused, Err(ClientError::Refused(error)) if error.error.contains("\"x\""))
        );
        let malformed = client.post::<()>("unprotect", &1).await;
        assert!(matches!(malformed, Err(ClientError::Refused(error)) if error.exit == 2));
        let unknown = client.get::<()>("nothing").await;
        assert!(matches!(unknown, Err(ClientError::Refused(error)) if error.error.contains("GET")));
        let wrong_method = client.get::<()>("sync").await;
        assert!(matches!(wrong_method, Err(ClientError::Refused(error)) if error.exit == 2));
        let dropped = client.post::<()>("off", &OffRequest::default()).await;
        assert!(matches!(dropped, Err(ClientError::Refused(error)) if error.exit == 3));
    })
    .await;
}

#[tokio::test]
async fn without_a_daemon_the_socket_is_named() {
    let client = ControlClient::new(Path::new("/nowhere/api.sock"));
    let error = client.get::<()>("status").await.unwrap_err();
    assert!(matches!(&error, ClientError::Unreachable { .. }));
    assert!(error.to_string().contains("/nowhere/api.sock"));
}

#[tokio::test]
async fn a_path_too_long_for_a_socket_is_said_so() {
    let long = tempfile::tempdir()
        .unwrap()
        .path()
        .join("x".repeat(120))
        .join("api.sock");
    assert!(matches!(
        ControlServer::bind(&long),
        Err(ServeError::PathTooLong(_))
    ));
}

//! The other end of the API: one request, one connection.

use std::io;
use std::path::{Path, PathBuf};

use axum::body::Bytes;
use everwrite_protocol::control::ApiError;
use http_body_util::{BodyExt, Full};
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::net::UnixStream;

/// Why a request has no answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody listens.
    #[error("no coordinator answers at {}: {source}", socket.display())]
    Unreachable {
        /// The socket.
        socket: PathBuf,
        /// Cause.
        source: io::Error,
    },
    /// The daemon said no.
    #[error("{}", .0.error)]
    Refused(ApiError),
    /// The connection broke, most likely because the daemon ended.
    #[error("the coordinator went away before it answered: {0}")]
    Broken(#[from] hyper::Error),
    /// The answer is not what this build expects.
    #[error("the coordinator's answer can't be understood: {0}")]
    Malformed(String),
}

/// Speaks to the daemon behind one socket.
#[derive(Clone, Debug)]
pub struct ControlClient {
    socket: PathBuf,
}

impl ControlClient {
    /// Nothing is opened yet.
    pub fn new(socket: &Path) -> Self {
        Self {
            socket: socket.to_owned(),
        }
    }

    /// `GET /api/v1/{call}`.
    pub async fn get<A: DeserializeOwned>(&self, call: &str) -> Result<A, ClientError> {
        self.ask(Method::GET, call, Bytes::new()).await
    }

    /// `POST /api/v1/{call}` with a JSON body.
    pub async fn post<A: DeserializeOwned>(
        &self,
        call: &str,
        body: &impl Serialize,
    ) -> Result<A, ClientError> {
        let body = serde_json::to_vec(body).map_err(|error| malformed(&error))?;
        self.ask(Method::POST, call, body.into()).await
    }

    async fn ask<A: DeserializeOwned>(
        &self,
        method: Method,
        call: &str,
        body: Bytes,
    ) -> Result<A, ClientError> {
        let (status, body) = self.exchange(method, call, body).await?;
        if status.is_success() {
            return serde_json::from_slice(&body).map_err(|error| malformed(&error));
        }
        match serde_json::from_slice(&body) {
            Ok(refusal) => Err(ClientError::Refused(refusal)),
            Err(_) => Err(ClientError::Malformed(format!("HTTP status {status}"))),
        }
    }

    async fn exchange(
        &self,
        method: Method,
        call: &str,
        body: Bytes,
    ) -> Result<(StatusCode, Bytes), ClientError> {
        let stream =
            UnixStream::connect(&self.socket)
                .await
                .map_err(|source| ClientError::Unreachable {
                    socket: self.socket.clone(),
                    source,
                })?;
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        // Ends with the exchange; its errors come back through `sender`.
        let driver = tokio::spawn(connection);
        let request = Request::builder()
            .method(method)
            .uri(format!("/api/v1/{call}"))
            .header("host", "everwrite")
            .header("content-type", "application/json")
            .body(Full::new(body))
            .map_err(|error| malformed(&error))?;
        let answer = sender.send_request(request).await?;
        let status = answer.status();
        let body = answer.into_body().collect().await?.to_bytes();
        driver.abort();
        Ok((status, body))
    }
}

fn malformed(error: &impl ToString) -> ClientError {
    ClientError::Malformed(error.to_string())
}

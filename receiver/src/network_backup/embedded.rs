//! The receiver inside the coordinator's process: `dir:PATH`. The same sessions, over pipes.
//!
//! One process has a store open; the others of the same user (the command line) ask it by a local
//! socket in the store's directory, which nobody else can enter.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncWrite, DuplexStream};
use tokio::net::{UnixListener, UnixStream};
use tokio::task::JoinHandle;

use super::BREATH;
use super::destination::StoreDirectory;
use super::session::{Caller, serve};
use super::source::Sources;
use crate::whole_file;

/// Bytes that each direction of the pipe holds.
const PIPE_BYTES: usize = 256 << 10;
/// Held by whoever serves a store directory: `everwrite-receiver serve` or an embedded receiver.
const LOCK_NAME: &str = "serve.lock";
/// Where an embedded receiver hears the other processes of its user.
const SOCKET_NAME: &str = "serve.sock";

/// A store directory served to this process, and to others of the same user on this machine.
pub struct Embedded {
    sources: Arc<Sources>,
    socket: JoinHandle<()>,
    _lock: File,
}

/// Why a directory can't be served.
#[derive(Debug, thiserror::Error)]
pub enum EmbeddedError {
    /// Somebody else does.
    #[error(
        "the store {0} is in use by another process (a running `everwrite-receiver serve`, or another coordinator)"
    )]
    InUse(PathBuf),
    /// It can't be made or locked.
    #[error("the store {path}: {error}")]
    Io {
        /// The directory.
        path: PathBuf,
        /// Cause.
        error: io::Error,
    },
}

impl Embedded {
    /// Serves the store in `directory`, made when missing, until dropped. Needs a tokio runtime.
    pub fn open(directory: &Path) -> Result<Self, EmbeddedError> {
        let lock = claim(directory)?;
        let listener = bind(directory).map_err(|error| EmbeddedError::Io {
            path: directory.join(SOCKET_NAME),
            error,
        })?;
        let sources = Arc::new(Sources::new(StoreDirectory(directory.to_owned())));
        let socket = tokio::spawn(accept(listener, Arc::clone(&sources)));
        Ok(Self {
            sources,
            socket,
            _lock: lock,
        })
    }

    /// A connection; it begins with `Hello` as any other.
    pub fn connect(&self) -> DuplexStream {
        let (near, far) = tokio::io::duplex(PIPE_BYTES);
        tokio::spawn(session(far, Arc::clone(&self.sources)));
        near
    }

    /// A connection to the process that has the store in `directory` open.
    pub async fn reach(directory: &Path) -> io::Result<UnixStream> {
        let directory = File::open(directory)?;
        UnixStream::connect(socket_path(&directory)).await
    }
}

impl Drop for Embedded {
    fn drop(&mut self) {
        self.socket.abort();
        self.sources.close();
    }
}

/// Addresses of sockets are short; a path by way of an open directory always is.
fn socket_path(directory: &File) -> PathBuf {
    PathBuf::from(format!(
        "/proc/self/fd/{}/{SOCKET_NAME}",
        directory.as_raw_fd()
    ))
}

/// Whoever holds the lock may remove what another left behind.
fn bind(directory: &Path) -> io::Result<UnixListener> {
    match std::fs::remove_file(directory.join(SOCKET_NAME)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    UnixListener::bind(socket_path(&File::open(directory)?))
}

async fn accept(listener: UnixListener, sources: Arc<Sources>) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => drop(tokio::spawn(session(stream, Arc::clone(&sources)))),
            Err(error) => {
                tracing::warn!("accept a local connection: {error}");
                tokio::time::sleep(BREATH).await;
            }
        }
    }
}

async fn session(stream: impl AsyncRead + AsyncWrite + Unpin, sources: Arc<Sources>) {
    if let Err(error) = serve(stream, Caller::Embedded, &sources).await {
        tracing::debug!("embedded receiver: {error}");
    }
}

/// Makes the directory (mode 0700) and takes its lock.
pub(crate) fn claim(directory: &Path) -> Result<File, EmbeddedError> {
    use std::os::unix::fs::DirBuilderExt;
    let at_path = |error| EmbeddedError::Io {
        path: directory.to_owned(),
        error,
    };
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(directory)
        .map_err(at_path)?;
    match whole_file::try_lock(&directory.join(LOCK_NAME)) {
        Ok(Some(lock)) => Ok(lock),
        Ok(None) => Err(EmbeddedError::InUse(directory.to_owned())),
        Err(error) => Err(at_path(io::Error::other(format!("{error:#}")))),
    }
}

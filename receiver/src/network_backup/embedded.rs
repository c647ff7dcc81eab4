//! The receiver inside the coordinator's process: `dir:PATH`. The same sessions, over pipes.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::io::DuplexStream;

use super::destination::StoreDirectory;
use super::session::{Caller, serve};
use super::source::Sources;
use crate::whole_file;

/// Bytes that each direction of the pipe holds.
const PIPE_BYTES: usize = 256 << 10;
/// Held by whoever serves a store directory: `everwrite-receiver serve` or an embedded receiver.
const LOCK_NAME: &str = "serve.lock";

/// A store directory served to this process only.
pub struct Embedded {
    sources: Arc<Sources>,
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
    /// Serves the store in `directory`, made when missing, until dropped.
    pub fn open(directory: &Path) -> Result<Self, EmbeddedError> {
        let lock = claim(directory)?;
        let sources = Arc::new(Sources::new(StoreDirectory(directory.to_owned())));
        Ok(Self {
            sources,
            _lock: lock,
        })
    }

    /// A connection; it begins with `Hello` as any other. Needs a tokio runtime.
    pub fn connect(&self) -> DuplexStream {
        let (near, far) = tokio::io::duplex(PIPE_BYTES);
        let sources = Arc::clone(&self.sources);
        tokio::spawn(async move {
            if let Err(error) = serve(far, Caller::Embedded, &sources).await {
                tracing::debug!("embedded receiver: {error}");
            }
        });
        near
    }
}

impl Drop for Embedded {
    fn drop(&mut self) {
        self.sources.close();
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

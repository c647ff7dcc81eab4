//! The API's socket and its routes.

use std::fs::Permissions;
use std::future::Future;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::routing::{get, post};
use everwrite_protocol::control::ANNOUNCED_PATHS_MAX;
use tokio::net::UnixListener;
use tokio::sync::mpsc;

use super::handlers;
use super::request::ControlRequest;

/// Longest path of a Unix socket, without the final NUL (`sockaddr_un`, unix(7)).
const SOCKET_PATH_BYTES_MAX: usize = 107;
/// Longest body: as many paths as may be announced at once, in hexadecimal digits.
const BODY_BYTES_MAX: usize = ANNOUNCED_PATHS_MAX * 2 * 4096 * 2;
/// What the private directory adds to it while the socket is made.
const PRIVATE_BYTES_MAX: usize = "/.4194304".len();

/// Why the API can't be served.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// `sockaddr_un` is short.
    #[error(
        "socket path {} is too long (unix(7) allows {SOCKET_PATH_BYTES_MAX} bytes); choose a home with a shorter path",
        .0.display()
    )]
    PathTooLong(PathBuf),
    /// Some other fault of the socket.
    #[error("make socket {}: {source}", path.display())]
    Socket {
        /// The socket.
        path: PathBuf,
        /// Cause.
        source: io::Error,
    },
}

/// The API, bound to its socket.
#[derive(Debug)]
pub struct ControlServer {
    listener: UnixListener,
    socket: PathBuf,
}

impl ControlServer {
    /// Binds `socket`, in place of one that a dead daemon left. The caller holds the daemon's lock,
    /// so that no living daemon loses its socket.
    pub fn bind(socket: &Path) -> Result<Self, ServeError> {
        if socket.as_os_str().len() + PRIVATE_BYTES_MAX > SOCKET_PATH_BYTES_MAX {
            return Err(ServeError::PathTooLong(socket.to_owned()));
        }
        let listener = bind_private(socket).map_err(|source| ServeError::Socket {
            path: socket.to_owned(),
            source,
        })?;
        Ok(Self {
            listener,
            socket: socket.to_owned(),
        })
    }

    /// Serves until `stop` is ready; the socket is gone afterwards.
    pub async fn serve(
        self,
        requests: mpsc::Sender<ControlRequest>,
        stop: impl Future<Output = ()> + Send + 'static,
    ) -> io::Result<()> {
        let served = axum::serve(self.listener, router(requests)).with_graceful_shutdown(stop);
        let ended = served.await;
        let _ = std::fs::remove_file(&self.socket);
        ended
    }
}

/// Binds where only the owner can go, sets the mode, then moves the socket into its place: there is
/// no moment at which somebody else could connect.
fn bind_private(socket: &Path) -> io::Result<UnixListener> {
    let directory = socket.parent().ok_or(io::ErrorKind::InvalidInput)?;
    let private = tempdir_in(directory)?;
    let inside = private.join("s");
    let bound = UnixListener::bind(&inside).and_then(|listener| {
        std::fs::set_permissions(&inside, Permissions::from_mode(0o600))?;
        std::fs::rename(&inside, socket)?;
        Ok(listener)
    });
    let _ = std::fs::remove_file(&inside);
    std::fs::remove_dir(&private)?;
    bound
}

fn tempdir_in(directory: &Path) -> io::Result<PathBuf> {
    use std::os::unix::fs::DirBuilderExt;
    let path = directory.join(format!(".{}", std::process::id()));
    std::fs::DirBuilder::new()
        .mode(0o700)
        .recursive(true)
        .create(&path)?;
    Ok(path)
}

fn router(requests: mpsc::Sender<ControlRequest>) -> Router {
    let v1 = Router::new()
        .route("/status", get(handlers::status))
        .route("/explain", get(handlers::explain))
        .route("/coverage", get(handlers::coverage))
        .route("/protect", post(handlers::protect))
        .route("/unprotect", post(handlers::unprotect))
        .route("/on", post(handlers::on))
        .route("/off", post(handlers::off))
        .route("/sync", post(handlers::sync))
        .route("/reconcile", post(handlers::reconcile))
        .route("/announce", post(handlers::announce))
        .route("/acknowledge", post(handlers::acknowledge))
        .route("/pair", post(handlers::pair));
    Router::new()
        .nest("/api/v1", v1)
        .fallback(handlers::unknown)
        .method_not_allowed_fallback(handlers::unknown)
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .with_state(requests)
}

//! The local socket at which shims ask for a segment.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use everwrite_protocol::local::SOCKET_FILE_NAME;
use interprocess::local_socket::{
    GenericFilePath, Listener, ListenerNonblockingMode, ListenerOptions, ToFsName,
};
use rustix::fs::{FlockOperation, OFlags};
use rustix::io::Errno;

use super::error::{IntakeError, SOCKET_PATH_BYTES_MAX};

/// File in the run directory whose lock says that a coordinator uses it. Readable by its owner only:
/// a lock on a file that others can open could be held by them.
const LOCK_FILE_NAME: &str = "intake.lock";

/// How long the claim is tried for, and the rest between two tries.
const CLAIM_TIME: Duration = Duration::from_millis(500);
const CLAIM_REST: Duration = Duration::from_millis(10);

/// The claim on a run directory; given up when dropped.
#[derive(Debug)]
pub(super) struct Claim {
    _lock: File,
}

/// Makes `run_directory` where it is missing and claims it.
pub(super) fn claim(run_directory: &Path) -> Result<Claim, IntakeError> {
    fs::create_dir_all(run_directory).map_err(|source| IntakeError::RunDirectory {
        path: run_directory.to_owned(),
        source,
    })?;
    let path = run_directory.join(LOCK_FILE_NAME);
    let no_follow = OFlags::NOFOLLOW.bits() as i32;
    let lock = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .custom_flags(no_follow)
        .open(&path)
        .map_err(|source| IntakeError::RunDirectory {
            path: path.clone(),
            source,
        })?;
    match patiently(|| rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive)) {
        Ok(()) => Ok(Claim { _lock: lock }),
        Err(Errno::WOULDBLOCK) => Err(IntakeError::AlreadyRunning { path }),
        Err(error) => Err(IntakeError::RunDirectory {
            path,
            source: error.into(),
        }),
    }
}

/// Tries for a moment: a coordinator that has just ended may have left the lock to a child that is
/// between `fork(2)` and `execve(2)`.
fn patiently(lock: impl Fn() -> rustix::io::Result<()>) -> rustix::io::Result<()> {
    let end = Instant::now() + CLAIM_TIME;
    loop {
        match lock() {
            Err(Errno::WOULDBLOCK) if Instant::now() < end => std::thread::sleep(CLAIM_REST),
            result => return result,
        }
    }
}

/// Listens in a claimed run directory; open to every user, as every user's programs are backed up.
pub(super) fn listen(run_directory: &Path, _claim: &Claim) -> Result<Listener, IntakeError> {
    let path = run_directory.join(SOCKET_FILE_NAME);
    let bytes = path.as_os_str().as_bytes().len();
    if bytes > SOCKET_PATH_BYTES_MAX {
        return Err(IntakeError::SocketPathTooLong { path, bytes });
    }
    remove_stale(&path)?;
    bind(&path).map_err(|source| IntakeError::Socket { path, source })
}

fn bind(path: &PathBuf) -> io::Result<Listener> {
    let listener = ListenerOptions::new()
        .name(path.as_path().to_fs_name::<GenericFilePath>()?)
        .nonblocking(ListenerNonblockingMode::Both)
        .create_sync()?;
    // The umask counts at creation, so the rights are given afterwards.
    fs::set_permissions(path, fs::Permissions::from_mode(0o666))?;
    Ok(listener)
}

/// Removes what a coordinator that was killed left behind. The claim says that none is alive.
fn remove_stale(path: &Path) -> Result<(), IntakeError> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Ok(facts) if !facts.file_type().is_socket() => Err(IntakeError::SocketInTheWay {
            path: path.to_owned(),
        }),
        Ok(_) => fs::remove_file(path).map_err(|source| IntakeError::Socket {
            path: path.to_owned(),
            source,
        }),
        Err(source) => Err(IntakeError::Socket {
            path: path.to_owned(),
            source,
        }),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::{UnixListener, UnixStream};

    use super::*;

    #[test]
    fn listens_for_everyone_and_cleans_up() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join(SOCKET_FILE_NAME);
        let claim = claim(home.path()).unwrap();
        let listener = listen(home.path(), &claim).unwrap();
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o666
        );
        assert!(UnixStream::connect(&path).is_ok());
        drop(listener);
        assert!(!path.exists());
    }

    #[test]
    fn a_stale_socket_goes_and_anything_else_stays() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join(SOCKET_FILE_NAME);
        let claim = claim(home.path()).unwrap();
        drop(UnixListener::bind(&path).unwrap());
        assert!(path.exists());
        drop(listen(home.path(), &claim).unwrap());
        fs::write(&path, "precious").unwrap();
        let error = listen(home.path(), &claim).unwrap_err();
        assert!(matches!(error, IntakeError::SocketInTheWay { .. }));
        assert_eq!(fs::read(&path).unwrap(), b"precious");
    }

    #[test]
    fn one_coordinator_at_a_time() {
        let home = tempfile::tempdir().unwrap();
        let first = claim(home.path()).unwrap();
        let error = claim(home.path()).unwrap_err();
        assert!(matches!(error, IntakeError::AlreadyRunning { .. }));
        drop(first);
        assert!(claim(home.path()).is_ok());
    }

    #[test]
    fn a_path_that_does_not_fit_is_named() {
        let home = tempfile::tempdir().unwrap();
        let deep = home.path().join("d".repeat(100));
        let claim = claim(&deep).unwrap();
        let error = listen(&deep, &claim).unwrap_err().to_string();
        assert!(
            error.contains(deep.to_str().unwrap()) && error.contains("107"),
            "{error}"
        );
        assert!(error.contains("--home"), "{error}");
    }
}

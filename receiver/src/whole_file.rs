//! Small files that are always read and replaced as a whole, whatever dies in between.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use anyhow::Context;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Replaces `path` (mode 0600) durably: afterwards it holds the old content or the new.
pub(crate) fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    let directory = path.parent().ok_or(io::ErrorKind::InvalidInput)?;
    let unfinished = path.with_extension(format!("{}.new", std::process::id()));
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&unfinished)?;
    file.write_all(content)?;
    file.sync_all()?;
    std::fs::rename(&unfinished, path)?;
    File::open(directory)?.sync_all()
}

/// Replaces `path` by `value` as TOML.
pub(crate) fn replace_toml(path: &Path, value: &impl Serialize) -> anyhow::Result<()> {
    let text = toml::to_string(value).with_context(|| format!("write {}", path.display()))?;
    replace(path, text.as_bytes()).with_context(|| format!("write {}", path.display()))
}

/// What `path` holds as TOML; the default when there is no such file.
pub(crate) fn read_toml<T: Default + DeserializeOwned>(path: &Path) -> anyhow::Result<T> {
    match std::fs::read_to_string(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(T::default()),
        Err(error) => Err(error).with_context(|| format!("read {}", path.display())),
        Ok(text) => toml::from_str(&text).with_context(|| format!("read {}", path.display())),
    }
}

/// Holds the lock on `path` (made when missing) until dropped; waits for whoever has it.
pub(crate) fn lock(path: &Path) -> anyhow::Result<File> {
    let file = open_lock(path)?;
    rustix::fs::flock(&file, rustix::fs::FlockOperation::LockExclusive)
        .with_context(|| format!("lock {}", path.display()))?;
    Ok(file)
}

/// Like [`lock`], but does not wait: `None` when another has it.
pub(crate) fn try_lock(path: &Path) -> anyhow::Result<Option<File>> {
    let file = open_lock(path)?;
    match rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(Some(file)),
        Err(rustix::io::Errno::WOULDBLOCK) => Ok(None),
        Err(error) => Err(error).with_context(|| format!("lock {}", path.display())),
    }
}

fn open_lock(path: &Path) -> anyhow::Result<File> {
    OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)
        .with_context(|| format!("open {}", path.display()))
}

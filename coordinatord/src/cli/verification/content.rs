//! Contents compared: BLAKE3 here against BLAKE3 there.

use std::io::Read;
use std::path::Path;

use everwrite_protocol::ids::FileId;
use everwrite_protocol::wire::{Answer, Query, QueryError};

use super::{CHANGING, Comparison, local_path, open};
use crate::cli::exit::Failure;
use crate::look::{Stat, stat_descriptor};
use crate::network_backup::AskError;

/// Files whose digests are asked for at once.
pub(super) const PENDING_MAX: usize = 64;
/// Bytes read at a time.
const CHUNK_BYTES: usize = 1 << 20;

/// A file whose content is to be compared.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Pending {
    path: Vec<u8>,
    file: FileId,
    stat: Stat,
}

impl Pending {
    pub(super) fn new(path: &[u8], file: FileId, stat: &Stat) -> Self {
        Self {
            path: path.to_owned(),
            file,
            stat: *stat,
        }
    }
}

impl Comparison<'_> {
    /// Compares what is pending. The receiver digests while we do.
    pub(super) async fn contents(&mut self) -> Result<(), Failure> {
        let pending = std::mem::take(&mut self.pending);
        let question = |one: &Pending| Query::WholeDigest {
            file: one.file,
            after: self.at,
        };
        let asked = pending
            .iter()
            .map(|one| self.subject.archive.ask_later(question(one)));
        let asked: Vec<_> = asked.collect();
        for (one, answer) in pending.into_iter().zip(asked) {
            let there = match answer.await {
                Ok((Answer::WholeDigest { digest, .. }, _)) => Some(digest),
                Ok(_) => return Err(self.subject.archive.mismatch()),
                // It has gone since it was listed.
                Err(AskError::Failed(QueryError::NotFound | QueryError::Invalid(_))) => None,
                Err(error) => return Err(self.subject.archive.failed(&error)),
            };
            self.content(&one, there);
        }
        Ok(())
    }

    fn content(&mut self, one: &Pending, there: Option<[u8; 32]>) {
        let path = local_path(&self.subject.directory, &one.path);
        match digest(&path, &one.stat) {
            Ok(Some(here)) if Some(here) == there => self.outcome.bytes += one.stat.size,
            Ok(Some(_)) => self.outcome.differs(&one.path, "content", false),
            Ok(None) => self.outcome.differs(&one.path, CHANGING, false),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                self.outcome.differs(&one.path, CHANGING, false);
            }
            Err(error) => {
                self.outcome
                    .unreadable
                    .insert(one.path.clone(), error.to_string());
            }
        }
    }
}

/// `None`: it is not the file that was looked at before, or changed while it was read.
fn digest(path: &Path, stat: &Stat) -> std::io::Result<Option<[u8; 32]>> {
    let mut file = open(path)?;
    let mut digest = blake3::Hasher::new();
    let mut buffer = vec![0; CHUNK_BYTES];
    loop {
        match file.read(&mut buffer) {
            Ok(0) => break,
            Ok(bytes) => drop(digest.update(&buffer[..bytes])),
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    let now = stat_descriptor(&file)?;
    let same = now.is_file(stat.inode, stat.birth)
        && (now.size, now.modified, now.changed) == (stat.size, stat.modified, stat.changed);
    Ok(same.then(|| *digest.finalize().as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::look::stat_at;

    #[test]
    fn a_file_that_changed_has_no_digest() {
        let tree = tempfile::tempdir().unwrap();
        let path = tree.path().join("file");
        std::fs::write(&path, "one").unwrap();
        let stat = stat_at(rustix::fs::CWD, &path).unwrap().unwrap();
        let expected = *blake3::hash(b"one").as_bytes();
        assert_eq!(digest(&path, &stat).unwrap(), Some(expected));
        std::fs::write(&path, "other").unwrap();
        assert_eq!(digest(&path, &stat).unwrap(), None);
        std::fs::remove_file(&path).unwrap();
        assert!(digest(&path, &stat).is_err());
    }
}

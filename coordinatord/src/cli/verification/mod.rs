//! Source against mirror: every file and name of a tree compared, content by digest.
//!
//! The receiver digests its files itself, so that a comparison sends lists and digests, no content.
//! Files change while they are compared: what differs has to be looked at again after a barrier
//! ([`compare`] with the paths that differ), and only what differs then too is a difference.

mod content;
mod entry;

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use everwrite_protocol::ids::{FileId, SequenceNumber};
use everwrite_protocol::local::Inode;
use everwrite_protocol::wire::{Kind, TreeEntry};
use everwrite_receiver::verify::differences;

use super::archive::{Archive, child};
use super::exit::Failure;
use crate::exclude::Excludes;
use crate::look::Accounts;
use content::Pending;
use entry::Local;

/// One root, to be compared with what its receiver holds.
pub(super) struct Subject {
    /// Where it is stored.
    pub(super) archive: Archive,
    /// The root's directory.
    pub(super) directory: PathBuf,
    /// The root's name.
    pub(super) root: Vec<u8>,
    /// What is not to be compared.
    pub(super) excludes: Excludes,
    /// Names of owners, as the coordinator looks them up.
    pub(super) accounts: Accounts,
}

/// What was found.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Outcome {
    /// Files and directories compared.
    pub(super) compared: u64,
    /// Bytes of content compared.
    pub(super) bytes: u64,
    /// What is not the same: path below the root, and how it differs.
    pub(super) differences: BTreeMap<Vec<u8>, Difference>,
    /// What could not be read here, and why.
    pub(super) unreadable: BTreeMap<Vec<u8>, String>,
}

/// How one path differs.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Difference {
    /// In words.
    pub(super) how: String,
    /// What is below the path has not been compared.
    pub(super) deep: bool,
}

/// Changed while it was compared, which says nothing.
pub(super) const CHANGING: &str = "changing";

impl Outcome {
    fn differs(&mut self, path: &[u8], how: impl Into<String>, deep: bool) {
        self.differences.insert(
            path.to_owned(),
            Difference {
                how: how.into(),
                deep,
            },
        );
    }
}

/// Compares `paths` (below the root; empty: the root), and all below them where `true` stands beside
/// them, with recovery point `at`. `progress` hears how many files were compared.
pub(super) async fn compare(
    subject: &Subject,
    paths: &[(Vec<u8>, bool)],
    at: SequenceNumber,
    progress: &dyn Fn(u64),
) -> Result<Outcome, Failure> {
    let mut comparison = Comparison {
        subject,
        at,
        outcome: Outcome::default(),
        pending: Vec::new(),
        links: BTreeMap::new(),
        progress,
    };
    for (path, deep) in paths {
        comparison.tree(path, *deep).await?;
    }
    comparison.contents().await?;
    Ok(comparison.outcome)
}

struct Comparison<'c> {
    subject: &'c Subject,
    at: SequenceNumber,
    outcome: Outcome,
    /// Files whose content is still to be compared.
    pending: Vec<Pending>,
    /// The local file behind each stored file that has several names.
    links: BTreeMap<FileId, Inode>,
    progress: &'c dyn Fn(u64),
}

impl Comparison<'_> {
    async fn tree(&mut self, path: &[u8], deep: bool) -> Result<(), Failure> {
        let full = child_of(&self.subject.root, path);
        let stored = self.subject.archive.stat(&full, self.at).await?;
        let local = self.look(path);
        if self.is_excluded(path, local.as_ref()) && stored.is_none() {
            return Ok(());
        }
        let mut waiting = vec![(path.to_owned(), local, stored)];
        while let Some((path, local, stored)) = waiting.pop() {
            if self.entry(&path, local, stored) && deep {
                waiting.extend(self.below(&path).await?);
            }
            if self.pending.len() >= content::PENDING_MAX {
                self.contents().await?;
            }
        }
        Ok(())
    }

    /// Whether a name inside the root is not to be protected.
    fn is_excluded(&self, path: &[u8], local: Option<&Local>) -> bool {
        let directory = local.is_some_and(|local| local.kind() == Some(Kind::Directory));
        !path.is_empty() && self.subject.excludes.excluded(path, directory).is_some()
    }

    fn look(&self, path: &[u8]) -> Option<Local> {
        let full = local_path(&self.subject.directory, path);
        Local::look(&full, &self.subject.accounts)
    }

    /// All names in a directory that exists on both sides.
    async fn below(
        &mut self,
        path: &[u8],
    ) -> Result<Vec<(Vec<u8>, Option<Local>, Option<TreeEntry>)>, Failure> {
        let full = child_of(&self.subject.root, path);
        let stored = self.subject.archive.list(&full, self.at).await?;
        let mut stored: BTreeMap<Vec<u8>, TreeEntry> = stored
            .into_iter()
            .map(|entry| (entry.name.as_bytes().to_vec(), entry))
            .collect();
        let names = match names(&local_path(&self.subject.directory, path)) {
            Ok(names) => names,
            Err(error) => {
                self.outcome
                    .unreadable
                    .insert(path.to_owned(), error.to_string());
                return Ok(Vec::new());
            }
        };
        let mut pairs = Vec::new();
        for name in names {
            let path = child_of(path, &name);
            let (local, stored) = (self.look(&path), stored.remove(&name));
            let unwanted = stored.is_none() && self.is_excluded(&path, local.as_ref());
            if !unwanted && (local.is_some() || stored.is_some()) {
                pairs.push((path, local, stored));
            }
        }
        pairs.extend(
            stored
                .into_iter()
                .map(|(name, entry)| (child_of(path, &name), None, Some(entry))),
        );
        Ok(pairs)
    }

    /// Compares one name; whether it is a directory on both sides.
    fn entry(&mut self, path: &[u8], local: Option<Local>, stored: Option<TreeEntry>) -> bool {
        self.outcome.compared += 1;
        (self.progress)(self.outcome.compared);
        let (local, stored) = match (local, stored) {
            (Some(local), Some(stored)) => (local, stored),
            (Some(_), None) => {
                self.outcome.differs(path, "is only here", true);
                return false;
            }
            (None, Some(_)) => {
                self.outcome.differs(path, "is only at the receiver", true);
                return false;
            }
            (None, None) => return false,
        };
        match local {
            Local::Unreadable(error) => {
                self.outcome.unreadable.insert(path.to_owned(), error);
                false
            }
            Local::Read { stat, attributes } => {
                let mut how = differences(&attributes, &stored.attributes);
                if stat.links > 1 && attributes.kind != Kind::Directory {
                    let first = *self.links.entry(stored.file).or_insert(stat.inode);
                    how.extend((first != stat.inode).then_some("hard link"));
                }
                if !how.is_empty() {
                    self.outcome.differs(path, how.join(", "), how == ["kind"]);
                } else if attributes.kind == Kind::Regular && attributes.size > 0 {
                    self.pending.push(Pending::new(path, stored.file, &stat));
                }
                attributes.kind == Kind::Directory && stored.attributes.kind == Kind::Directory
            }
        }
    }
}

/// Names in a directory, `.` and `..` left out.
fn names(directory: &Path) -> io::Result<Vec<Vec<u8>>> {
    let entries = std::fs::read_dir(directory)?;
    entries
        .map(|entry| Ok(entry?.file_name().as_bytes().to_vec()))
        .collect()
}

fn child_of(parent: &[u8], name: &[u8]) -> Vec<u8> {
    match name {
        b"" => parent.to_owned(),
        name => child(parent, name),
    }
}

fn local_path(directory: &Path, relative: &[u8]) -> PathBuf {
    match relative {
        b"" => directory.to_owned(),
        relative => directory.join(std::ffi::OsStr::from_bytes(relative)),
    }
}

fn open(path: &Path) -> io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt;
    // A file that has become a pipe meanwhile must not hold us.
    let flags = rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK;
    std::fs::OpenOptions::new()
        .read(true)
        .custom_flags(flags.bits().cast_signed())
        .open(path)
}

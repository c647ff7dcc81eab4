//! Comparing two trees: by rsync, and by everything that rsync does not look at.

use std::collections::{BTreeMap, HashMap};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::run;

/// Panics with the first differences unless `actual` is `expected` in every respect: names, contents,
/// types, modes, owners, times to the nanosecond, links, extended attributes, ACLs.
#[track_caller]
pub fn assert_equal(expected: &Path, actual: &Path) {
    let (expected_text, actual_text) = (expected.display(), actual.display());
    let by_rsync = rsync_differences(expected, actual);
    assert!(
        by_rsync.is_empty(),
        "{actual_text} is not {expected_text}, says rsync:\n{by_rsync}"
    );
    let differences = differences(&Look::at(expected), &Look::at(actual));
    assert!(
        differences.is_empty(),
        "{actual_text} is not {expected_text}:\n{differences}"
    );
}

/// What rsync would do to make `actual` equal to `expected`; empty when nothing.
#[track_caller]
pub fn rsync_differences(expected: &Path, actual: &Path) -> String {
    let mut command = Command::new("rsync");
    command.args(["-aHAXn", "--checksum", "--delete", "--itemize-changes"]);
    run(command.arg(inside(expected)).arg(inside(actual)))
        .success()
        .text()
}

/// A copy of a tree as it is now, to be compared with later.
pub fn copy_of(tree: &Path, to: &Path) -> PathBuf {
    run(Command::new("cp").arg("-a").arg(tree).arg(to)).success();
    to.to_owned()
}

/// What one entry looks like: a word for each property, and its value as text.
type Entry = BTreeMap<String, String>;

/// A tree as it looks: each path with all that is known of it but content.
#[derive(Debug, PartialEq, Eq)]
pub struct Look(BTreeMap<PathBuf, Entry>);

impl Look {
    /// Walks `top` without following links.
    pub fn at(top: &Path) -> Self {
        let mut walk = Walk::default();
        walk.visit(top, Path::new("."));
        walk.finish()
    }

    /// How many entries.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Nothing at all?
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[derive(Default)]
struct Walk {
    entries: BTreeMap<PathBuf, Entry>,
    /// Names of each file that has several; some may lie outside the tree.
    linked: HashMap<(u64, u64), Vec<PathBuf>>,
}

impl Walk {
    fn visit(&mut self, path: &Path, name: &Path) {
        let metadata = path
            .symlink_metadata()
            .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        self.entries.insert(name.to_owned(), look(path, &metadata));
        if metadata.is_dir() {
            for child in children(path) {
                self.visit(&path.join(&child), &name.join(&child));
            }
        } else if metadata.nlink() > 1 {
            let identity = (metadata.dev(), metadata.ino());
            self.linked
                .entry(identity)
                .or_default()
                .push(name.to_owned());
        }
    }

    /// With the first of each file's names within the tree: that tells which are of one file, and stays short where
    /// there are thousands.
    fn finish(mut self) -> Look {
        for names in self.linked.values().filter(|names| names.len() > 1) {
            for name in names {
                let entry = self.entries.entry(name.clone()).or_default();
                entry.insert("same file as".into(), format!("{:?}", names[0]));
            }
        }
        Look(self.entries)
    }
}

fn children(directory: &Path) -> Vec<PathBuf> {
    let entries = directory
        .read_dir()
        .unwrap_or_else(|e| panic!("{}: {e}", directory.display()));
    let mut names: Vec<_> = entries
        .map(|entry| entry.expect("a name").file_name().into())
        .collect();
    names.sort();
    names
}

fn look(path: &Path, metadata: &std::fs::Metadata) -> Entry {
    let mut look = Entry::new();
    look.insert("mode".into(), format!("{:o}", metadata.mode()));
    look.insert(
        "owner".into(),
        format!("{}:{}", metadata.uid(), metadata.gid()),
    );
    look.insert(
        "modified".into(),
        format!("{}.{:09}", metadata.mtime(), metadata.mtime_nsec()),
    );
    let kind = metadata.file_type();
    if kind.is_file() {
        look.insert("size".into(), metadata.size().to_string());
    } else if kind.is_symlink() {
        let target = path.read_link().expect("target of a link");
        look.insert("target".into(), format!("{target:?}"));
    } else if kind.is_char_device() || kind.is_block_device() {
        look.insert("device".into(), metadata.rdev().to_string());
    }
    look.extend(extended_attributes(path));
    look
}

fn extended_attributes(path: &Path) -> Entry {
    let mut names = vec![0; 64 * 1024];
    let Ok(length) = rustix::fs::llistxattr(path, &mut names[..]) else {
        return Entry::new();
    };
    let names = names[..length]
        .split(|byte| *byte == 0)
        .filter(|name| !name.is_empty());
    names
        .map(|name| (format!("xattr {}", crate::text(name)), value(path, name)))
        .collect()
}

fn value(path: &Path, name: &[u8]) -> String {
    let mut value = vec![0; 64 * 1024];
    let length = rustix::fs::lgetxattr(path, OsStr::from_bytes(name), &mut value[..]);
    let length = length.expect("value of an extended attribute");
    format!("{:?}", &value[..length])
}

/// The first differences, one a line.
fn differences(expected: &Look, actual: &Look) -> String {
    let mut paths: Vec<_> = expected.0.keys().chain(actual.0.keys()).collect();
    paths.sort();
    paths.dedup();
    let differing = paths
        .into_iter()
        .filter(|path| expected.0.get(*path) != actual.0.get(*path));
    let line = |path: &PathBuf| {
        format!(
            "{path:?}\n  expected {:?}\n  actual   {:?}\n",
            expected.0.get(path),
            actual.0.get(path)
        )
    };
    differing.take(10).map(line).collect()
}

/// With a slash at the end: rsync then means what is inside.
fn inside(path: &Path) -> PathBuf {
    path.join("")
}

/// Bytes that a file really takes on the disk: fewer than its size when it has holes.
pub fn allocated_bytes(path: &Path) -> u64 {
    path.symlink_metadata().expect("a file").blocks() * 512
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Place, shell};

    /// Each script makes `a` and `b` differ in one respect.
    #[test]
    fn every_difference_is_seen() {
        for script in [
            "echo x > a/f; echo y > b/f; touch -d @1 a/f b/f",
            "touch -d @1.1 a/f; touch -d @1.2 b/f",
            "touch -d @1 a/f b/f; chmod 600 a/f",
            "touch -d @1 a/f b/f; setfattr -n user.n -v v a/f",
            "touch -d @1 a/f b/f; touch -d @1 a/g",
            "ln -s x a/f; ln -s y b/f; touch -hd @1 a/f b/f",
            "touch -d @1 a/f a/g b/f b/g; ln -f a/f a/g",
            "mkfifo a/f; touch -d @1 a/f b/f",
        ] {
            let place = Place::new();
            shell(
                place.path(),
                format!("mkdir a b; {script}; touch -d @1 a b"),
            );
            let (a, b) = (place.path().join("a"), place.path().join("b"));
            assert!(
                std::panic::catch_unwind(|| assert_equal(&a, &b)).is_err(),
                "{script}"
            );
            assert_equal(&a, &a);
        }
    }
}

//! What must have been told: the difference between two looks at a tree.

use std::collections::BTreeMap;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use everwrite_protocol::local::Inode;
use rustix::fs::{AtFlags, CWD, StatxFlags};

use super::record::{FileKey, Record};

/// One entry of a tree.
struct Entry {
    file: FileKey,
    directory: Inode,
    mode: u32,
    owner: (u32, u32),
    /// Content of a regular file.
    content: Option<Vec<u8>>,
}

/// A tree as it was.
pub struct Snapshot {
    root: PathBuf,
    entries: BTreeMap<PathBuf, Entry>,
}

/// What a check has looked at, for tests that must not pass because nothing happened.
#[derive(Default, Clone, Copy, PartialEq, Eq, Debug)]
pub struct Checked {
    /// Bytes that differ.
    pub bytes: u64,
    /// Names that came, went, or changed what they stand for.
    pub names: usize,
}

impl Snapshot {
    /// The tree below `root` as it is now.
    pub fn of(root: &Path) -> Self {
        let mut entries = BTreeMap::new();
        walk(root, &mut entries);
        Self {
            root: root.to_owned(),
            entries,
        }
    }

    /// What tells the file at `path` from all others.
    pub fn key(path: &Path) -> FileKey {
        key(path)
    }

    /// Everything in which the tree differs now that `record` does not tell: empty if all is well.
    pub fn missed(&self, record: &Record) -> (Vec<String>, Checked) {
        let now = Self::of(&self.root);
        let mut missed = Vec::new();
        let mut checked = Checked::default();
        self.missed_names(&now, record, &mut missed, &mut checked);
        let known: BTreeMap<FileKey, &Entry> = self
            .entries
            .values()
            .map(|entry| (entry.file, entry))
            .collect();
        for (path, entry) in &now.entries {
            let before = known.get(&entry.file).copied();
            let name = path.file_name().expect("below the root").as_bytes();
            let place = (entry.directory, name.to_vec());
            if before.is_none() && record.arrivals.contains(&place) {
                continue;
            }
            if let Some(fault) = missed_content(before, entry, record, &mut checked) {
                missed.push(format!("{}: {fault}", path.display()));
            }
            if let Some(fault) = missed_attributes(before, entry, record) {
                missed.push(format!("{}: {fault}", path.display()));
            }
        }
        (missed, checked)
    }

    /// Panics unless everything that changed was told, and something did.
    #[track_caller]
    pub fn check(&self, record: &Record) -> Checked {
        let (missed, checked) = self.missed(record);
        assert!(
            missed.is_empty(),
            "not told:\n{}\n{record:#?}",
            missed.join("\n")
        );
        assert_ne!(checked, Checked::default(), "nothing changed");
        checked
    }

    fn missed_names(
        &self,
        now: &Self,
        record: &Record,
        missed: &mut Vec<String>,
        checked: &mut Checked,
    ) {
        let mut paths: Vec<&PathBuf> = self.entries.keys().chain(now.entries.keys()).collect();
        paths.sort();
        paths.dedup();
        for path in paths {
            let (before, after) = (self.entries.get(path), now.entries.get(path));
            if before.map(|entry| entry.file) == after.map(|entry| entry.file) {
                continue;
            }
            checked.names += 1;
            let name = path.file_name().expect("below the root").as_bytes();
            for entry in [before, after].into_iter().flatten() {
                // Below a directory that was moved, nothing has to be told.
                let moved = self.has_moved(now, path);
                if !moved && !record.tells_name(entry.directory, name) {
                    missed.push(format!("{}: name", path.display()));
                }
            }
        }
    }

    /// Whether some directory on the way to `path` is another one now.
    fn has_moved(&self, now: &Self, path: &Path) -> bool {
        path.ancestors().skip(1).any(|above| {
            let before = self.entries.get(above).map(|entry| entry.file);
            let after = now.entries.get(above).map(|entry| entry.file);
            let same_elsewhere =
                |file, tree: &Self| tree.entries.values().any(|entry| Some(entry.file) == file);
            before != after
                && ((before.is_some() && same_elsewhere(before, now))
                    || (after.is_some() && same_elsewhere(after, self)))
        })
    }
}

fn walk(directory: &Path, entries: &mut BTreeMap<PathBuf, Entry>) {
    let parent = key(directory).inode;
    let listing = std::fs::read_dir(directory).expect("read a directory");
    for path in listing.map(|entry| entry.expect("an entry").path()) {
        let status = std::fs::symlink_metadata(&path).expect("an entry's status");
        let content = status.is_file().then(|| readable(&path));
        let entry = Entry {
            file: key(&path),
            directory: parent,
            mode: status.permissions().mode(),
            owner: (status.uid(), status.gid()),
            content,
        };
        entries.insert(path.clone(), entry);
        if status.is_dir() {
            walk(&path, entries);
        }
    }
}

fn readable(path: &Path) -> Vec<u8> {
    std::fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn key(path: &Path) -> FileKey {
    let status = std::fs::symlink_metadata(path).expect("status");
    let flags = AtFlags::SYMLINK_NOFOLLOW;
    let birth = rustix::fs::statx(CWD, path, flags, StatxFlags::BTIME)
        .expect("statx")
        .stx_btime;
    let seconds = (birth.tv_sec as u64).wrapping_mul(1_000_000_000);
    FileKey {
        inode: Inode {
            device: status.dev(),
            inode: status.ino(),
        },
        birth: seconds.wrapping_add(u64::from(birth.tv_nsec)),
    }
}

/// Every byte that is not what it was, or for a new file not zero, must lie where something was told.
fn missed_content(
    before: Option<&Entry>,
    now: &Entry,
    record: &Record,
    checked: &mut Checked,
) -> Option<String> {
    let content = now.content.as_ref()?;
    let old = before
        .and_then(|entry| entry.content.as_deref())
        .unwrap_or_default();
    let told = record.of(now.file);
    let changed = |at: usize, byte: u8| byte != old.get(at).copied().unwrap_or(0);
    let told_of =
        |at: usize| told.whole || told.covers(at as u64) || (told.appended > 0 && at >= old.len());
    let mut bad = Vec::new();
    for (at, byte) in content
        .iter()
        .enumerate()
        .filter(|(at, byte)| changed(*at, **byte))
    {
        checked.bytes += 1;
        if !told_of(at) {
            bad.push((at, *byte));
        }
    }
    let shrunk = content.len() < old.len() && told.truncated == 0 && !told.whole;
    if record.tells_all() || (bad.is_empty() && !shrunk) {
        return None;
    }
    let first: Vec<_> = bad.iter().take(4).collect();
    Some(format!(
        "{} bytes (shrunk: {shrunk}) from {first:?}; told {told:?}",
        bad.len()
    ))
}

fn missed_attributes(before: Option<&Entry>, now: &Entry, record: &Record) -> Option<String> {
    let before = before?;
    let same = before.mode == now.mode && before.owner == now.owner;
    let told = same || record.tells_all() || record.of(now.file).attributes > 0;
    (!told).then(|| format!("mode {:o} to {:o}", before.mode, now.mode))
}

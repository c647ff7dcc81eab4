//! A tree as it is on disk: names, and content by inode.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;
use std::time::SystemTime;

use everwrite_protocol::local::Inode;

/// What stands behind an inode.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Node {
    /// Where it was found (first).
    pub(crate) path: String,
    /// Time of birth: tells a reused inode apart.
    pub(crate) born: SystemTime,
    /// Mode and owner.
    pub(crate) mode: (u32, u32, u32),
    /// When its content was changed last: seconds, nanoseconds.
    pub(crate) modified: (i64, i64),
    /// Names that it has, here and elsewhere.
    pub(crate) links: u64,
    /// Content of a regular file.
    pub(crate) content: Option<Vec<u8>>,
    /// Where a symbolic link leads.
    pub(crate) target: Vec<u8>,
}

/// The tree.
#[derive(Clone, Default, Debug)]
pub(crate) struct Snapshot {
    /// Names of directories: (directory, name) to what they stand for.
    pub(crate) names: BTreeMap<(Inode, OsString), Inode>,
    /// Everything by inode.
    pub(crate) nodes: BTreeMap<Inode, Node>,
}

impl Snapshot {
    /// Reads all below `root`.
    pub(crate) fn of(root: &Path) -> Self {
        let mut snapshot = Self::default();
        snapshot.read(root);
        snapshot
    }

    /// What a path stands for.
    pub(crate) fn inode_of(path: &Path) -> Inode {
        let facts = fs::symlink_metadata(path).unwrap();
        Inode {
            device: facts.dev(),
            inode: facts.ino(),
        }
    }

    fn read(&mut self, path: &Path) -> Inode {
        let facts = fs::symlink_metadata(path).unwrap();
        let inode = Self::inode_of(path);
        let kind = facts.file_type();
        assert!(!kind.is_block_device() && !kind.is_char_device());
        let content = kind.is_file().then(|| fs::read(path).unwrap());
        let node = Node {
            path: String::from_utf8_lossy(path.as_os_str().as_bytes()).into_owned(),
            born: facts.created().unwrap_or(SystemTime::UNIX_EPOCH),
            mode: (facts.mode(), facts.uid(), facts.gid()),
            modified: (facts.mtime(), facts.mtime_nsec()),
            links: facts.nlink(),
            content,
            target: target(path),
        };
        self.nodes.entry(inode).or_insert(node);
        if kind.is_dir() {
            for entry in fs::read_dir(path).unwrap() {
                let entry = entry.unwrap();
                let child = self.read(&entry.path());
                self.names.insert((inode, entry.file_name()), child);
            }
        }
        inode
    }
}

fn target(path: &Path) -> Vec<u8> {
    let target = fs::read_link(path).unwrap_or_default();
    target.into_os_string().into_encoded_bytes()
}

//! A second tree that is brought up to date by what was heard and by nothing else: of each file just the
//! ranges that were named, of each directory just the names. In the end it has to be the tree.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{lchown, symlink};
use std::path::{Path, PathBuf};

use everwrite_coordinatord::intake::What;
use everwrite_protocol::local::Inode;
use harness::tree;
use rustix::fs::{AtFlags, CWD, FileType, Mode, Timespec, Timestamps};

use crate::snapshot::{Node, Snapshot};

/// The second tree, as it is to become.
pub(crate) struct Replica<'s> {
    copy: Snapshot,
    /// Where files end is where they ended.
    before: &'s Snapshot,
    /// Where to look.
    now: &'s Snapshot,
}

impl<'s> Replica<'s> {
    /// What was the same as the tree `before`, and has followed what was `said` to the tree `now`.
    pub(crate) fn new(before: &'s Snapshot, now: &'s Snapshot, said: &[What]) -> Self {
        let copy = before.clone();
        let mut replica = Self { copy, before, now };
        // A range can be of a file whose name comes later.
        let (names, content): (Vec<_>, Vec<_>) = said.iter().partition(|what| is_of_names(what));
        names.into_iter().for_each(|what| replica.follow(what));
        content.into_iter().for_each(|what| replica.follow(what));
        replica
    }

    fn follow(&mut self, what: &What) {
        match what {
            What::Name {
                directory, name, ..
            } => self.name(*directory, name.as_os_str()),
            What::Rename {
                old_directory,
                old_name,
                new_directory,
                new_name,
            } => {
                self.name(*old_directory, old_name.as_os_str());
                self.name(*new_directory, new_name.as_os_str());
            }
            What::Names { directory } => self.names(*directory),
            What::Write {
                file,
                offset,
                length,
                ..
            } => self.range(*file, *offset, offset.saturating_add(*length)),
            What::Append { file, .. } => self.range(*file, self.old_end(*file), u64::MAX),
            What::Whole { file, .. } | What::Mapped { file, .. } | What::Unmapped { file, .. } => {
                self.range(*file, 0, u64::MAX);
            }
            What::Attributes { file, .. } => self.attributes(*file),
            What::Sync { .. } | What::Flush { .. } | What::Everything => {}
        }
    }

    /// Where a file ended. An inode that is used again is another file.
    fn old_end(&self, file: Inode) -> u64 {
        let born = self.now.nodes.get(&file).map(|node| node.born);
        let old = self.before.nodes.get(&file);
        let old = old.filter(|old| Some(old.born) == born);
        let content = old.and_then(|node| node.content.as_ref());
        content.map_or(0, Vec::len) as u64
    }

    /// The name becomes what it is.
    fn name(&mut self, directory: Inode, name: &OsStr) {
        let place = (directory, name.to_owned());
        self.attributes(directory);
        let Some(file) = self.now.names.get(&place).copied() else {
            let gone = self.copy.names.remove(&place);
            return gone.into_iter().for_each(|file| self.attributes(file));
        };
        let replaced = self.copy.names.insert(place, file);
        replaced.into_iter().for_each(|file| self.attributes(file));
        let node = &self.now.nodes[&file];
        if self
            .copy
            .nodes
            .get(&file)
            .is_none_or(|old| old.born != node.born)
        {
            // Nothing of its content is known, and what was never written reads as 0.
            let content = node.content.as_ref().map(|content| vec![0; content.len()]);
            self.copy.nodes.insert(
                file,
                Node {
                    content,
                    ..node.clone()
                },
            );
        }
        self.attributes(file);
    }

    fn names(&mut self, directory: Inode) {
        let known = self.copy.names.keys().chain(self.now.names.keys());
        let names: BTreeSet<OsString> = known
            .filter(|(of, _)| *of == directory)
            .map(|(_, name)| name.clone())
            .collect();
        names.iter().for_each(|name| self.name(directory, name));
    }

    /// These bytes become what they are, and the file as long as it is.
    fn range(&mut self, file: Inode, start: u64, end: u64) {
        self.attributes(file);
        let (Some(node), Some(copy)) = (self.now.nodes.get(&file), self.copy.nodes.get_mut(&file))
        else {
            return;
        };
        if let (Some(from), Some(to)) = (&node.content, &mut copy.content) {
            to.resize(from.len(), 0);
            let bound = |at: u64| usize::try_from(at).unwrap_or(from.len()).min(from.len());
            let range = bound(start)..bound(end);
            to[range.clone()].copy_from_slice(&from[range]);
        }
    }

    /// Mode, owner and time become what they are.
    fn attributes(&mut self, file: Inode) {
        let (Some(node), Some(copy)) = (self.now.nodes.get(&file), self.copy.nodes.get_mut(&file))
        else {
            return;
        };
        if node.born == copy.born {
            (copy.mode, copy.modified) = (node.mode, node.modified);
        }
    }

    /// Panics unless all of it, written to `directory`, is what `tree` is.
    #[track_caller]
    pub(crate) fn assert_is(&self, tree: &Path, directory: &Path) {
        if directory.exists() {
            fs::remove_dir_all(directory).unwrap();
        }
        let top = Snapshot::inode_of(tree);
        let mut writer = Writer {
            copy: &self.copy,
            written: Vec::new(),
        };
        writer.write(top, directory);
        tree::assert_equal(tree, directory);
        fs::remove_dir_all(directory).unwrap();
    }
}

fn is_of_names(what: &What) -> bool {
    matches!(
        what,
        What::Name { .. } | What::Names { .. } | What::Rename { .. }
    )
}

/// Makes files of it.
struct Writer<'c> {
    copy: &'c Snapshot,
    /// Files that may have more names.
    written: Vec<(Inode, PathBuf)>,
}

impl Writer<'_> {
    fn write(&mut self, inode: Inode, path: &Path) {
        let node = &self.copy.nodes[&inode];
        let kind = FileType::from_raw_mode(node.mode.0);
        if kind == FileType::Directory {
            fs::create_dir(path).unwrap();
            self.write_inside(inode, path);
        } else if let Some((_, first)) = self.written.iter().find(|(known, _)| *known == inode) {
            return fs::hard_link(first, path).unwrap();
        } else {
            write_file(node, kind, path);
            if node.links > 1 {
                self.written.push((inode, path.to_owned()));
            }
        }
        set_attributes(node, kind, path);
    }

    fn write_inside(&mut self, directory: Inode, path: &Path) {
        let first = (directory, OsString::new());
        let names = self.copy.names.range(first..);
        for ((_, name), file) in names.take_while(|((of, _), _)| *of == directory) {
            self.write(*file, &path.join(name));
        }
    }
}

fn write_file(node: &Node, kind: FileType, path: &Path) {
    match &node.content {
        Some(content) => fs::write(path, content).unwrap(),
        None if kind == FileType::Symlink => {
            symlink(OsStr::from_bytes(&node.target), path).unwrap()
        }
        None => rustix::fs::mknodat(CWD, path, kind, Mode::RUSR, 0).unwrap(),
    }
}

fn set_attributes(node: &Node, kind: FileType, path: &Path) {
    let (mode, user, group) = node.mode;
    lchown(path, Some(user), Some(group)).unwrap();
    if kind != FileType::Symlink {
        rustix::fs::chmod(path, Mode::from_raw_mode(mode)).unwrap();
    }
    let (tv_sec, tv_nsec) = node.modified;
    let time = Timespec { tv_sec, tv_nsec };
    let times = Timestamps {
        last_access: time,
        last_modification: time,
    };
    rustix::fs::utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW).unwrap();
}

//! Does what was heard cover what is different on disk?

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;

use everwrite_coordinatord::intake::What;
use everwrite_protocol::local::Inode;

use crate::snapshot::{Node, Snapshot};

/// What was heard, by place.
#[derive(Default, Debug)]
struct Heard {
    ranges: BTreeMap<Inode, Vec<(u64, u64)>>,
    appended: BTreeSet<Inode>,
    whole: BTreeSet<Inode>,
    attributes: BTreeSet<Inode>,
    names: BTreeSet<(Inode, Vec<u8>)>,
    directories: BTreeSet<Inode>,
}

impl Heard {
    fn new(said: &[What]) -> Self {
        let mut heard = Self::default();
        said.iter().for_each(|what| heard.add(what));
        heard
    }

    fn add(&mut self, what: &What) {
        match what {
            What::Write {
                file,
                offset,
                length,
                ..
            } => {
                let range = (*offset, offset.saturating_add(*length));
                self.ranges.entry(*file).or_default().push(range);
            }
            What::Append { file, .. } => drop(self.appended.insert(*file)),
            What::Whole { file, .. } | What::Mapped { file, .. } | What::Unmapped { file, .. } => {
                self.whole.insert(*file);
            }
            What::Attributes { file, .. } => drop(self.attributes.insert(*file)),
            What::Name {
                directory, name, ..
            } => {
                self.names.insert((*directory, name.as_bytes().to_vec()));
            }
            What::Rename {
                old_directory,
                old_name,
                new_directory,
                new_name,
            } => {
                self.names
                    .insert((*old_directory, old_name.as_bytes().to_vec()));
                self.names
                    .insert((*new_directory, new_name.as_bytes().to_vec()));
            }
            What::Names { directory } => drop(self.directories.insert(*directory)),
            What::Flush { .. } | What::Sync { .. } | What::Everything => {}
        }
    }

    fn has_name(&self, directory: Inode, name: &OsString) -> bool {
        let name = name.as_bytes().to_vec();
        self.directories.contains(&directory) || self.names.contains(&(directory, name))
    }

    fn has_content(&self, file: Inode) -> bool {
        self.whole.contains(&file)
            || self.appended.contains(&file)
            || self.ranges.contains_key(&file)
    }

    /// Which of its `new` bytes of a file that had `old` are to be looked at.
    fn bytes(&self, file: Inode, old: usize, new: usize) -> Vec<bool> {
        let mut covered = vec![self.whole.contains(&file); new];
        let mut cover = |start: u64, end: u64| {
            let bound = |at: u64| usize::try_from(at).unwrap_or(new).min(new);
            covered[bound(start)..bound(end)].fill(true);
        };
        if self.appended.contains(&file) {
            cover(old as u64, u64::MAX);
        }
        for (start, end) in self.ranges.get(&file).into_iter().flatten() {
            cover(*start, *end);
        }
        covered
    }
}

/// What is different between `before` and `after` and was not hinted at, in words.
pub(crate) fn missed(before: &Snapshot, after: &Snapshot, said: &[What]) -> Vec<String> {
    let heard = Heard::new(said);
    let mut missed = missed_names(before, after, &heard);
    for (inode, node) in &after.nodes {
        let old = before.nodes.get(inode).filter(|old| old.born == node.born);
        missed.extend(missed_content(*inode, old, node, &heard));
        // The attributes of what is new are looked at with its name.
        if old.is_some_and(|old| old.mode != node.mode) && !heard.attributes.contains(inode) {
            missed.push(format!("mode or owner of {}", node.path));
        }
    }
    missed
}

fn missed_names(before: &Snapshot, after: &Snapshot, heard: &Heard) -> Vec<String> {
    let keys: BTreeSet<_> = before.names.keys().chain(after.names.keys()).collect();
    let changed = keys
        .into_iter()
        .filter(|key| before.names.get(key) != after.names.get(key));
    changed
        .filter(|(directory, name)| !heard.has_name(*directory, name))
        .map(|(directory, name)| format!("name {} in {directory:?}", name.display()))
        .collect()
}

fn missed_content(inode: Inode, old: Option<&Node>, new: &Node, heard: &Heard) -> Option<String> {
    let content = new.content.as_ref()?;
    let none = Vec::new();
    let known = old.and_then(|old| old.content.as_ref()).unwrap_or(&none);
    if content.len() < known.len() && !heard.has_content(inode) {
        return Some(format!("size of {}", new.path));
    }
    let covered = heard.bytes(inode, known.len(), content.len());
    // A byte that was never written reads as 0.
    let differs = |at: &usize| content[*at] != known.get(*at).copied().unwrap_or(0);
    let changed = (0..content.len()).filter(differs);
    let missed: Vec<usize> = changed.filter(|at| !covered[*at]).collect();
    let first = missed.first()?;
    Some(format!(
        "{} bytes of {} from {first}",
        missed.len(),
        new.path
    ))
}

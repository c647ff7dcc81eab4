//! What was hinted while a scan ran.
//!
//! A hint and the scan come upon the same change in any order: the scan may see a new name while the hint
//! of it is still in a segment. Whether it had been announced can be told at the end only.

use std::collections::HashSet;

use everwrite_protocol::ids::Name;
use everwrite_protocol::local::Inode;

use super::scan::Difference;
use crate::intake::What;

/// Names kept apart; beyond, any name of their directories counts as hinted.
const NAMES_MAX: usize = 200_000;

/// Files, names, and directories any name of which may be meant.
#[derive(Default, Debug)]
pub(super) struct Announced {
    files: HashSet<Inode>,
    names: HashSet<(Inode, Name)>,
    directories: HashSet<Inode>,
}

impl Announced {
    /// A hint.
    pub(super) fn hint(&mut self, what: &What) {
        match what {
            What::Write { file, .. }
            | What::Append { file, .. }
            | What::Whole { file, .. }
            | What::Attributes { file, .. }
            | What::Mapped { file, .. }
            | What::Unmapped { file, .. }
            | What::Flush { file }
            | What::Sync { file } => self.file(*file),
            What::Name {
                directory, name, ..
            } => self.name(*directory, name),
            What::Rename {
                old_directory,
                old_name,
                new_directory,
                new_name,
            } => {
                self.name(*old_directory, old_name);
                self.name(*new_directory, new_name);
            }
            What::Names { directory } => self.directory(*directory),
            What::Everything => {}
        }
    }

    /// A hint of a file.
    pub(super) fn file(&mut self, file: Inode) {
        self.files.insert(file);
    }

    /// A hint of all names of a directory.
    pub(super) fn directory(&mut self, directory: Inode) {
        self.directories.insert(directory);
    }

    fn name(&mut self, directory: Inode, name: &Name) {
        if self.names.len() < NAMES_MAX {
            self.names.insert((directory, name.clone()));
        } else {
            self.directory(directory);
        }
    }

    /// Whether a difference was hinted at.
    pub(super) fn tells(&self, difference: &Difference) -> bool {
        let name = (difference.directory, difference.name.clone());
        self.files.contains(&difference.file)
            || self.directories.contains(&difference.directory)
            || self.names.contains(&name)
    }
}

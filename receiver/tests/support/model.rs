//! A slow and obvious model of the meaning of batches.

use std::collections::{BTreeMap, BTreeSet};

use everwrite_protocol::ids::{FileId, Name};
use everwrite_protocol::wire::{Attributes, BackupCommand, Kind};

use super::Batch;

#[derive(Clone, PartialEq, Debug)]
pub(crate) struct File {
    pub attributes: Attributes,
    pub content: Vec<u8>,
    pub named: bool,
}

#[derive(Clone, Default, Debug)]
pub(crate) struct Model {
    pub files: BTreeMap<FileId, File>,
    pub names: BTreeMap<(FileId, Name), FileId>,
    pub highest: u64,
}

/// What can be seen of a source: path → file.
pub(crate) type Tree = BTreeMap<Vec<u8>, (FileId, File)>;

impl Model {
    pub(crate) fn apply(&mut self, batch: &Batch) {
        let before = self.clone();
        for (command, _) in batch.commands() {
            if let BackupCommand::Detach { parent, name, .. } = command {
                self.names
                    .remove(&(*parent, name.clone()))
                    .expect("the generator detaches names");
            }
        }
        let mut told = BTreeMap::new();
        for (command, payload) in batch.commands() {
            self.command(command, payload, &before);
            if let BackupCommand::SetAttributes {
                file, attributes, ..
            } = command
            {
                told.insert(*file, attributes.size as usize);
            }
        }
        for (file, size) in told {
            let file = self.files.get_mut(&file).unwrap();
            if file.attributes.kind == Kind::Regular {
                file.content.resize(size, 0);
            }
        }
        for file in self.files.values_mut() {
            if file.attributes.kind == Kind::Regular {
                file.attributes.size = file.content.len() as u64;
            }
        }
        self.bury();
    }

    fn command(&mut self, command: &BackupCommand, payload: &[u8], before: &Self) {
        match command {
            BackupCommand::Create {
                file, attributes, ..
            } => {
                let content = match attributes.kind {
                    Kind::Regular => vec![0; attributes.size as usize],
                    _ => Vec::new(),
                };
                let attributes = attributes.clone();
                self.files.insert(
                    *file,
                    File {
                        attributes,
                        content,
                        named: false,
                    },
                );
                self.highest = self.highest.max(file.0);
            }
            BackupCommand::Attach {
                parent, name, file, ..
            } => {
                let directory = self.files[file].attributes.kind == Kind::Directory;
                if directory {
                    self.names.retain(|_, named| named != file);
                }
                self.names.insert((*parent, name.clone()), *file);
                self.files.get_mut(file).unwrap().named = true;
            }
            BackupCommand::Write {
                file,
                offset,
                length,
                payload_offset,
                ..
            } => {
                let start = *payload_offset as usize;
                self.put(*file, *offset, &payload[start..start + *length as usize]);
            }
            BackupCommand::Copy {
                file,
                offset,
                length,
                from,
                from_offset,
                ..
            } => {
                let source = &before.files[from].content;
                let bytes: Vec<u8> = (*from_offset..from_offset + length)
                    .map(|at| source.get(at as usize).copied().unwrap_or(0))
                    .collect();
                self.put(*file, *offset, &bytes);
            }
            BackupCommand::Punch {
                file,
                offset,
                length,
                ..
            } => {
                let content = &mut self.files.get_mut(file).unwrap().content;
                let end = content.len().min((offset + length) as usize);
                (*offset as usize..end).for_each(|at| content[at] = 0);
            }
            BackupCommand::Truncate { file, length, .. } => {
                self.files
                    .get_mut(file)
                    .unwrap()
                    .content
                    .resize(*length as usize, 0);
            }
            BackupCommand::SetAttributes {
                file, attributes, ..
            } => {
                self.files.get_mut(file).unwrap().attributes = attributes.clone();
            }
            BackupCommand::Drop { file } => drop(self.files.remove(file)),
            BackupCommand::Detach { .. } | BackupCommand::Root { .. } => {}
        }
    }

    fn put(&mut self, file: FileId, offset: u64, bytes: &[u8]) {
        let content = &mut self.files.get_mut(&file).unwrap().content;
        let end = offset as usize + bytes.len();
        if content.len() < end {
            content.resize(end, 0);
        }
        content[offset as usize..end].copy_from_slice(bytes);
    }

    /// Whoever cannot be reached is dead.
    fn bury(&mut self) {
        let mut reached: BTreeSet<FileId> = self
            .files
            .iter()
            .filter(|(_, file)| !file.named)
            .map(|(id, _)| *id)
            .collect();
        reached.insert(FileId::TOP);
        loop {
            let more: Vec<FileId> = self
                .names
                .iter()
                .filter(|((parent, _), file)| reached.contains(parent) && !reached.contains(file))
                .map(|(_, file)| *file)
                .collect();
            if more.is_empty() {
                break;
            }
            reached.extend(more);
        }
        self.names.retain(|(parent, _), _| reached.contains(parent));
        self.files.retain(|file, _| reached.contains(file));
    }

    pub(crate) fn tree(&self) -> Tree {
        let mut tree = Tree::new();
        let mut waiting = vec![(FileId::TOP, Vec::new())];
        while let Some((directory, path)) = waiting.pop() {
            for ((parent, name), file) in &self.names {
                if *parent != directory {
                    continue;
                }
                let mut path: Vec<u8> = path.clone();
                if !path.is_empty() {
                    path.push(b'/');
                }
                path.extend_from_slice(name.as_bytes());
                let found = self.files[file].clone();
                if found.attributes.kind == Kind::Directory {
                    waiting.push((*file, path.clone()));
                }
                tree.insert(path, (*file, found));
            }
        }
        tree
    }
}

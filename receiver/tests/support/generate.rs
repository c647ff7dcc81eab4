//! Batches from numbers: each step is four numbers, read against the state of the model, so that a
//! failing list of steps can be made shorter and still means something.

use std::collections::BTreeSet;

use everwrite_protocol::ids::{FileId, Name, Timestamp};
use everwrite_protocol::wire::{Attributes, BackupCommand, Kind, Xattr};

use super::Batch;
use super::model::Model;

pub(crate) type Step = [u16; 4];

/// Makes batches.
#[derive(Default)]
pub(crate) struct Generator {
    next_file: u64,
    clock: i64,
}

struct Making<'m> {
    model: &'m Model,
    batch: Batch,
    /// Names and files that this batch used already: one change each keeps the meaning plain.
    used: BTreeSet<FileId>,
    used_names: BTreeSet<(FileId, Name)>,
}

impl Generator {
    pub(crate) fn batch(&mut self, model: &Model, steps: &[Step]) -> Batch {
        let mut making = Making {
            model,
            batch: Batch::default(),
            used: BTreeSet::new(),
            used_names: BTreeSet::new(),
        };
        if model.files.is_empty() {
            self.root(&mut making);
        }
        for step in steps {
            self.step(&mut making, *step);
            if step[0] % 7 == 0 {
                making.batch.parts.push(Default::default());
            }
        }
        making
            .batch
            .parts
            .retain(|(commands, _)| !commands.is_empty());
        making.batch
    }

    fn root(&mut self, making: &mut Making<'_>) {
        let file = self.create(making, Kind::Directory, 0, 0o755);
        making.batch.push(BackupCommand::Root {
            file,
            path: b"/home".to_vec(),
        });
        making.attach(FileId::TOP, name("root"), file);
    }

    fn step(&mut self, making: &mut Making<'_>, [what, a, b, c]: Step) {
        match what % 17 {
            0 | 1 => self.new_file(making, a, b, c),
            2 => self.new_directory(making, a, b),
            3 => self.new_special(making, a, b, c),
            4 | 5 => self.write(making, a, b, c),
            6 => self.truncate(making, a, b),
            7 => self.punch(making, a, b, c),
            8 => self.rename(making, a, b, c),
            9 => self.swap(making, a, b),
            10 => self.hard_link(making, a, b, c),
            11 => making.delete(a),
            12 => self.replace_by_copy(making, a, b, c),
            13 => self.attributes(making, a, b, c),
            14 => self.stage(making, a, b),
            15 => self.go_on_staging(making, a, b, c),
            _ => self.rename_over(making, a, b),
        }
    }

    fn attributes_of(&mut self, kind: Kind, size: u64, mode: u16) -> Attributes {
        self.clock += 1_234_567_891;
        Attributes {
            kind,
            mode: u32::from(mode) & 0o7777,
            uid: u32::from(mode) % 3,
            gid: u32::from(mode) % 5,
            user: Some("someone".to_owned()),
            group: None,
            modified: Timestamp(self.clock),
            size,
            device_number: if kind == Kind::CharacterDevice {
                0x103
            } else {
                0
            },
            target: if kind == Kind::Symlink {
                b"../else/where".to_vec()
            } else {
                Vec::new()
            },
            xattrs: Vec::new(),
        }
    }

    fn create(&mut self, making: &mut Making<'_>, kind: Kind, size: u64, mode: u16) -> FileId {
        self.next_file += 1;
        let file = FileId(self.next_file);
        let attributes = self.attributes_of(kind, size, mode);
        making.batch.push(BackupCommand::Create {
            file,
            attributes,
            origin: 0,
        });
        making.used.insert(file);
        file
    }

    fn new_file(&mut self, making: &mut Making<'_>, a: u16, b: u16, c: u16) {
        let Some((parent, name)) = making.free_name(a, b) else {
            return;
        };
        let size = u64::from(c) % 9000;
        let file = self.create(making, Kind::Regular, size, 0o600 | (b & 0o177));
        if !c.is_multiple_of(5) {
            making.write(file, 0, &bytes(c, size as usize));
        }
        making.attach(parent, name, file);
    }

    fn new_directory(&mut self, making: &mut Making<'_>, a: u16, b: u16) {
        let Some((parent, name)) = making.free_name(a, b) else {
            return;
        };
        let file = self.create(making, Kind::Directory, 0, 0o700 | (b & 0o77));
        making.attach(parent, name, file);
        if b.is_multiple_of(3) {
            let inner = self.create(making, Kind::Regular, 100, 0o644);
            making.write(inner, 0, &bytes(b, 100));
            making.attach(file, self::name("inner"), inner);
        }
    }

    fn new_special(&mut self, making: &mut Making<'_>, a: u16, b: u16, c: u16) {
        let Some((parent, name)) = making.free_name(a, b) else {
            return;
        };
        let kinds = [
            Kind::Symlink,
            Kind::Fifo,
            Kind::Socket,
            Kind::CharacterDevice,
        ];
        let file = self.create(making, kinds[usize::from(c) % 4], 0, 0o644);
        making.attach(parent, name, file);
    }

    fn write(&mut self, making: &mut Making<'_>, a: u16, b: u16, c: u16) {
        let Some(file) = making.regular(a) else {
            return;
        };
        let length = usize::from(c) % 3000 + 1;
        making.write(file, u64::from(b) % 12_000, &bytes(a ^ c, length));
    }

    fn truncate(&mut self, making: &mut Making<'_>, a: u16, b: u16) {
        let Some(file) = making.regular(a) else {
            return;
        };
        let length = u64::from(b) % 12_000;
        making.batch.push(BackupCommand::Truncate {
            file,
            length,
            origin: 0,
        });
    }

    fn punch(&mut self, making: &mut Making<'_>, a: u16, b: u16, c: u16) {
        let Some(file) = making.regular(a) else {
            return;
        };
        let (offset, length) = (u64::from(b) % 10_000, u64::from(c) % 6000 + 1);
        making.batch.push(BackupCommand::Punch {
            file,
            offset,
            length,
            origin: 0,
        });
    }

    fn rename(&mut self, making: &mut Making<'_>, a: u16, b: u16, c: u16) {
        let Some((old, file)) = making.name(a) else {
            return;
        };
        let Some((parent, name)) = making.free_name(b, c) else {
            return;
        };
        if making.encloses(file, parent) || !making.used.insert(file) {
            return;
        }
        making.detach(&old);
        making.attach(parent, name, file);
    }

    fn rename_over(&mut self, making: &mut Making<'_>, a: u16, b: u16) {
        let Some((old, file)) = making.name(a) else {
            return;
        };
        let Some((over, victim)) = making.name(b) else {
            return;
        };
        let both = making.is_directory(file) == making.is_directory(victim);
        let nested = making.encloses(file, over.0) || making.encloses(victim, old.0);
        if file == victim || !both || nested || !making.used.insert(file) {
            return;
        }
        if !making.used.insert(victim) {
            return;
        }
        making.detach(&old);
        if b.is_multiple_of(2) {
            making.detach(&over);
        } else {
            making.used_names.insert(over.clone());
        }
        making.attach(over.0, over.1, file);
    }

    fn swap(&mut self, making: &mut Making<'_>, a: u16, b: u16) {
        let Some((one, first)) = making.name(a) else {
            return;
        };
        let Some((other, second)) = making.name(b) else {
            return;
        };
        let nested = making.encloses(first, other.0) || making.encloses(second, one.0);
        if first == second || nested || !making.used.insert(first) {
            return;
        }
        if !making.used.insert(second) {
            return;
        }
        making.detach(&one);
        making.detach(&other);
        making.attach(one.0, one.1, second);
        making.attach(other.0, other.1, first);
    }

    fn hard_link(&mut self, making: &mut Making<'_>, a: u16, b: u16, c: u16) {
        let Some((_, file)) = making.name(a) else {
            return;
        };
        let Some((parent, name)) = making.free_name(b, c) else {
            return;
        };
        if making.is_directory(file) || !making.used.insert(file) {
            return;
        }
        making.attach(parent, name, file);
    }

    /// An atomic save: a new file, made of the old one's bytes and some new ones, takes its name.
    fn replace_by_copy(&mut self, making: &mut Making<'_>, a: u16, b: u16, c: u16) {
        let Some((place, from)) = making.name(a) else {
            return;
        };
        if !making.is_regular(from) || !making.used.insert(from) {
            return;
        }
        let length = making.model.files[&from].content.len() as u64;
        let file = self.create(making, Kind::Regular, length, 0o640);
        let middle = u64::from(b) % (length + 1);
        let copy = |offset, length, from_offset| BackupCommand::Copy {
            file,
            offset,
            length,
            from,
            from_offset,
            origin: 0,
        };
        making.batch.push(copy(0, middle, 0));
        making.write(file, middle, &bytes(c, 50));
        making
            .batch
            .push(copy(middle + 50, length - middle, middle));
        making.detach(&place);
        making.attach(place.0, place.1, file);
    }

    fn attributes(&mut self, making: &mut Making<'_>, a: u16, b: u16, c: u16) {
        let Some((_, file)) = making.name(a) else {
            return;
        };
        if !making.used.insert(file) {
            return;
        }
        let old = making.model.files[&file].attributes.clone();
        let size = if c.is_multiple_of(4) {
            old.size / 2
        } else {
            old.size
        };
        let floor = if old.kind == Kind::Directory {
            0o700
        } else {
            0o600
        };
        let mut attributes = self.attributes_of(old.kind, size, floor | (b & 0o7077));
        attributes.device_number = old.device_number;
        if matches!(old.kind, Kind::Regular | Kind::Directory) && c.is_multiple_of(2) {
            let value = bytes(c, usize::from(c) % 40);
            attributes.xattrs = vec![Xattr {
                name: b"user.test".to_vec(),
                value,
            }];
        }
        making.batch.push(BackupCommand::SetAttributes {
            file,
            attributes,
            origin: 0,
        });
    }

    fn stage(&mut self, making: &mut Making<'_>, a: u16, b: u16) {
        let size = u64::from(a) % 20_000;
        let file = self.create(making, Kind::Regular, size, 0o600);
        making.write(file, u64::from(b) % (size + 1), &bytes(b, 500));
    }

    /// A staged file gets more content, its name, or is dropped.
    fn go_on_staging(&mut self, making: &mut Making<'_>, a: u16, b: u16, c: u16) {
        let staged: Vec<FileId> = making
            .model
            .files
            .iter()
            .filter(|(_, f)| !f.named)
            .map(|(id, _)| *id)
            .collect();
        let Some(file) = pick(&staged, a) else { return };
        if !making.used.insert(file) {
            return;
        }
        match c % 4 {
            0 => making.batch.push(BackupCommand::Drop { file }),
            1 => making.write(file, u64::from(b) % 15_000, &bytes(c, 700)),
            _ => {
                let Some((parent, name)) = making.free_name(b, c) else {
                    return;
                };
                making.write(file, 10, &bytes(c, 30));
                making.attach(parent, name, file);
            }
        }
    }
}

impl Making<'_> {
    fn attach(&mut self, parent: FileId, name: Name, file: FileId) {
        self.used_names.insert((parent, name.clone()));
        self.batch.push(BackupCommand::Attach {
            parent,
            name,
            file,
            origin: 0,
        });
    }

    fn detach(&mut self, (parent, name): &(FileId, Name)) {
        self.used_names.insert((*parent, name.clone()));
        let (parent, name) = (*parent, name.clone());
        self.batch.push(BackupCommand::Detach {
            parent,
            name,
            origin: 0,
        });
    }

    fn write(&mut self, file: FileId, offset: u64, content: &[u8]) {
        let part = self.batch.part();
        let payload_offset = part.1.len() as u32;
        part.1.extend_from_slice(content);
        let length = content.len() as u32;
        self.batch.push(BackupCommand::Write {
            file,
            offset,
            length,
            payload_offset,
            origin: 0,
        });
    }

    /// A name below the root that this batch did not touch, whose directories it did not touch.
    fn name(&self, number: u16) -> Option<((FileId, Name), FileId)> {
        let names: Vec<_> = self
            .model
            .names
            .iter()
            .filter(|((parent, _), _)| *parent != FileId::TOP && self.untouched(*parent))
            .filter(|(place, file)| !self.used_names.contains(place) && !self.used.contains(file))
            .collect();
        let (place, file) = *names.get(usize::from(number) % names.len().max(1))?;
        Some((place.clone(), *file))
    }

    fn regular(&self, number: u16) -> Option<FileId> {
        let (_, file) = self.name(number)?;
        self.is_regular(file).then_some(file)
    }

    fn free_name(&self, directory: u16, number: u16) -> Option<(FileId, Name)> {
        let directories: Vec<FileId> = self
            .model
            .files
            .iter()
            .filter(|(id, file)| {
                file.attributes.kind == Kind::Directory && file.named && self.untouched(**id)
            })
            .map(|(id, _)| *id)
            .collect();
        let parent = pick(&directories, directory)?;
        let name = name(&format!("n{}", number % 12));
        let place = (parent, name);
        let free = !self.model.names.contains_key(&place) && !self.used_names.contains(&place);
        free.then_some(place)
    }

    /// Did this batch leave the directory and all above it alone?
    fn untouched(&self, directory: FileId) -> bool {
        let mut at = directory;
        while at != FileId::TOP {
            if self.used.contains(&at) {
                return false;
            }
            let Some(((parent, _), _)) = self.model.names.iter().find(|(_, file)| **file == at)
            else {
                return false;
            };
            at = *parent;
        }
        true
    }

    fn encloses(&self, file: FileId, directory: FileId) -> bool {
        let mut at = directory;
        loop {
            if at == file {
                return true;
            }
            match self.model.names.iter().find(|(_, named)| **named == at) {
                Some(((parent, _), _)) => at = *parent,
                None => return false,
            }
        }
    }

    fn is_directory(&self, file: FileId) -> bool {
        self.model.files[&file].attributes.kind == Kind::Directory
    }

    fn is_regular(&self, file: FileId) -> bool {
        self.model.files[&file].attributes.kind == Kind::Regular
    }

    /// A file's name, or a directory with all below it, in one command.
    fn delete(&mut self, number: u16) {
        let Some((place, file)) = self.name(number) else {
            return;
        };
        if self.used.iter().any(|used| self.encloses(file, *used)) || !self.used.insert(file) {
            return;
        }
        self.detach(&place);
    }
}

fn pick(files: &[FileId], number: u16) -> Option<FileId> {
    files.get(usize::from(number) % files.len().max(1)).copied()
}

fn name(text: &str) -> Name {
    Name::new(text.as_bytes()).unwrap()
}

/// Bytes that are told apart by their seed; some are zeros.
fn bytes(seed: u16, length: usize) -> Vec<u8> {
    let mut state = u32::from(seed).wrapping_mul(2_654_435_761) | 1;
    (0..length)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 17;
            state ^= state << 5;
            if seed.is_multiple_of(11) {
                0
            } else {
                state as u8
            }
        })
        .collect()
}

//! Rounds against a slow oracle: random changes of a real directory, hinted as a shim would, must
//! give batches that make a simple model of the receiver equal to the disk.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use everwrite_protocol::local::Inode;
use everwrite_protocol::wire::{Attributes, BackupCommand, CutKind, Kind};
use proptest::prelude::*;

use super::*;
use crate::account::{self, Gap};
use crate::clock::file_clock;
use crate::config;
use crate::exclude::Excludes;
use crate::front::Devices;
use crate::index::Index;
use crate::intake::{Hint, Intake, OriginId, Source, What};
use crate::network_backup::{Batch, Identity, QueryClient, Target};
use crate::reconcile::{RootVerdict, Scan, ScanReason};
use crate::witness::{self, Witness};

mod gaps;
mod kept;
mod links;
mod roots;
mod searches;
mod unannounced;

/// What a receiver makes of commands, the obvious way.
#[derive(Default, Clone)]
struct Model {
    files: HashMap<FileId, (Attributes, Vec<u8>)>,
    names: BTreeMap<(FileId, Name), FileId>,
}

impl Model {
    fn apply(&mut self, batch: &Batch) {
        let before = self.clone();
        let mut named = Vec::new();
        for (part, payload) in &batch.parts {
            for command in &part.commands {
                self.step(command, payload, &before, &mut named);
            }
        }
        named.into_iter().for_each(|file| self.bury(file));
    }

    fn step(
        &mut self,
        command: &BackupCommand,
        payload: &[u8],
        before: &Self,
        named: &mut Vec<FileId>,
    ) {
        match command {
            BackupCommand::Create {
                file, attributes, ..
            } => {
                let content = vec![0; attributes.size as usize];
                assert!(
                    self.files
                        .insert(*file, (attributes.clone(), content))
                        .is_none()
                );
            }
            BackupCommand::Attach {
                parent, name, file, ..
            } => {
                assert!(self.files.contains_key(file));
                let taken = self.names.insert((*parent, name.clone()), *file);
                assert_eq!(taken, None, "the name was free");
            }
            BackupCommand::Detach { parent, name, .. } => {
                let file = self
                    .names
                    .remove(&(*parent, name.clone()))
                    .expect("a name to detach");
                named.push(file);
            }
            BackupCommand::Write {
                file,
                offset,
                length,
                payload_offset,
                ..
            } => {
                let (at, length) = (*payload_offset as usize, *length as usize);
                let end = *offset as usize + length;
                let content = &mut self.files.get_mut(file).unwrap().1;
                if content.len() < end {
                    content.resize(end, 0);
                }
                content[*offset as usize..end].copy_from_slice(&payload[at..at + length]);
            }
            BackupCommand::Copy {
                file,
                offset,
                length,
                from,
                from_offset,
                ..
            } => {
                let from = &before.files[from].1[*from_offset as usize..][..*length as usize];
                let content = &mut self.files.get_mut(file).unwrap().1;
                content[*offset as usize..][..*length as usize].copy_from_slice(from);
            }
            BackupCommand::Punch {
                file,
                offset,
                length,
                ..
            } => {
                let content = &mut self.files.get_mut(file).unwrap().1;
                content[*offset as usize..][..*length as usize].fill(0);
            }
            BackupCommand::Truncate { file, length, .. } => {
                self.files
                    .get_mut(file)
                    .unwrap()
                    .1
                    .resize(*length as usize, 0);
            }
            BackupCommand::SetAttributes {
                file, attributes, ..
            } => {
                self.files.get_mut(file).unwrap().0 = attributes.clone();
            }
            BackupCommand::Drop { file } => assert!(self.files.remove(file).is_some()),
            BackupCommand::Root { .. } => {}
        }
    }

    fn bury(&mut self, file: FileId) {
        if self.names.values().any(|named| *named == file) || self.files.remove(&file).is_none() {
            return;
        }
        let below: Vec<_> = self
            .names
            .keys()
            .filter(|key| key.0 == file)
            .cloned()
            .collect();
        for key in below {
            let child = self.names.remove(&key).unwrap();
            self.bury(child);
        }
    }

    /// Everything, by path.
    fn tree(&self) -> BTreeMap<PathBuf, Seen> {
        let mut tree = BTreeMap::new();
        let root = self.names.get(&(FileId::TOP, Name::new("r").unwrap()));
        if let Some(root) = root {
            self.walk(*root, Path::new(""), &mut tree);
        }
        tree
    }

    fn walk(&self, directory: FileId, path: &Path, tree: &mut BTreeMap<PathBuf, Seen>) {
        for ((_, name), file) in self.names.iter().filter(|entry| entry.0.0 == directory) {
            let path = path.join(name.as_os_str());
            let (attributes, content) = &self.files[file];
            let links = self.names.values().filter(|named| *named == file).count();
            tree.insert(path.clone(), Seen::of(attributes, content, links));
            if attributes.kind == Kind::Directory {
                self.walk(*file, &path, tree);
            }
        }
    }
}

/// What is compared of an entry.
#[derive(PartialEq, Eq, Debug)]
struct Seen {
    kind: Kind,
    mode: u32,
    modified: i64,
    size: usize,
    digest: blake3::Hash,
    links: usize,
}

impl Seen {
    fn of(attributes: &Attributes, content: &[u8], links: usize) -> Self {
        let content = match attributes.kind {
            Kind::Symlink => &attributes.target,
            _ => content,
        };
        Self {
            kind: attributes.kind,
            mode: attributes.mode,
            modified: attributes.modified.0,
            size: content.len(),
            digest: blake3::hash(content),
            links,
        }
    }
}

/// Everything on the disk, by path.
fn disk(root: &Path, below: &Path, tree: &mut BTreeMap<PathBuf, Seen>) {
    for entry in fs::read_dir(root.join(below)).unwrap() {
        let relative = below.join(entry.unwrap().file_name());
        let path = root.join(&relative);
        let metadata = fs::symlink_metadata(&path).unwrap();
        let (kind, content) = if metadata.is_dir() {
            (Kind::Directory, Vec::new())
        } else if metadata.is_symlink() {
            let target = fs::read_link(&path).unwrap().into_os_string();
            (
                Kind::Symlink,
                std::os::unix::ffi::OsStringExt::into_vec(target),
            )
        } else {
            (Kind::Regular, fs::read(&path).unwrap())
        };
        let seen = Seen {
            kind,
            mode: metadata.mode() & 0o7777,
            modified: metadata.mtime() * 1_000_000_000 + metadata.mtime_nsec(),
            size: content.len(),
            digest: blake3::hash(&content),
            links: if kind == Kind::Directory {
                1
            } else {
                metadata.nlink() as usize
            },
        };
        tree.insert(relative.clone(), seen);
        if kind == Kind::Directory {
            disk(root, &relative, tree);
        }
    }
}

/// A state, its tools, a protected directory, and the model that hears of it.
struct Rig {
    state: State,
    tools: Tools,
    model: Model,
    gaps: Vec<Gap>,
    changes: Vec<account::Change>,
    root: PathBuf,
    _runtime: tokio::runtime::Runtime,
    _hints: tokio::sync::mpsc::Receiver<Vec<Hint>>,
    _home: tempfile::TempDir,
}

impl Rig {
    fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        let root = home.path().join("root");
        fs::create_dir(&root).unwrap();
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build()
            .unwrap();
        let (sender, hints) = tokio::sync::mpsc::channel(64);
        let intake = Arc::new(Intake::start(&home.path().join("run"), sender.clone()).unwrap());
        let nowhere = Target::Tcp {
            address: "127.0.0.1:1".to_owned(),
            fingerprint: [0; 32],
        };
        let identity = Arc::new(Identity::ephemeral().unwrap());
        let source = everwrite_protocol::ids::SourceId([1; 16]);
        let queries = runtime.block_on(async { QueryClient::connect(nowhere, identity, source) });
        let tools = Tools {
            devices: Arc::new(Devices::new(Arc::clone(&intake))),
            witness: Arc::new(
                Witness::start(witness::Settings::default(), Arc::clone(&intake), sender).unwrap(),
            ),
            intake,
            queries,
            waits: Waits::Beside(runtime.handle().clone()),
        };
        let mut state = State::new(Index::open(&home.path().join("index.db")).unwrap()).unwrap();
        state.roots.push(protected(&root));
        Self {
            state,
            tools,
            model: Model::default(),
            gaps: Vec::new(),
            changes: Vec::new(),
            root,
            _runtime: runtime,
            _hints: hints,
            _home: home,
        }
    }

    /// One round, and what the receiver makes of it.
    fn round(&mut self) {
        let outcome = Round::run(&mut self.state, &self.tools, Effort::Usual).unwrap();
        self.gaps.extend(outcome.findings.gaps);
        self.changes.extend(outcome.findings.changes);
        if let Some(builder) = outcome.batch {
            let batch = builder.finish(|sequence, parts| everwrite_protocol::wire::Cut {
                sequence,
                parts,
                time: everwrite_protocol::ids::Timestamp(0),
                kind: CutKind::Fuzzy,
                checkpoint: None,
                oldest_change: everwrite_protocol::ids::Timestamp(0),
            });
            self.model.apply(&batch);
        }
    }

    /// Rounds until nothing is left to do.
    fn settle(&mut self) {
        self.state.hurry = true;
        for _ in 0..200 {
            if !self.state.has_work(Instant::now()) {
                return self.settle_doubts();
            }
            self.round();
        }
        panic!(
            "rounds without end: {} entries, {} delayed, listing {}, everything {:?}",
            self.state.queue.entries(),
            self.state.delayed.len(),
            self.state.is_listing(),
            self.state.queue.take_everything(),
        );
    }

    fn settle_doubts(&mut self) {
        let later = Instant::now() + Duration::from_secs(5);
        self.gaps.extend(self.state.settle_doubts(later).unwrap());
    }

    fn hint(&mut self, what: What) {
        self.state.queue.push(&Hint {
            origin: OriginId(1),
            source: Source::Shim,
            at: Instant::now(),
            what,
        });
    }

    fn name_hint(&mut self, path: &Path) {
        let parent = self.root.join(path.parent().unwrap());
        if let Ok(metadata) = fs::symlink_metadata(&parent) {
            let name = Name::new(path.file_name().unwrap().as_encoded_bytes()).unwrap();
            self.hint(What::Name {
                directory: inode(&metadata),
                name,
                arrived: false,
            });
        }
    }

    fn scan(&mut self) {
        self.state.scan = Some(Scan::new(ScanReason::Check, Instant::now()));
        let mark = self.state.queue.scan_mark(Instant::now());
        self.state.list_roots(mark, true).unwrap();
        self.settle();
        self.state.scan = None;
    }

    fn check(&self) {
        let mut expected = BTreeMap::new();
        disk(&self.root, Path::new(""), &mut expected);
        assert_eq!(self.model.tree(), expected);
    }
}

fn protected(root: &Path) -> ProtectedRoot {
    let config = config::Config::default();
    let settings = config::Root {
        name: "r".to_owned(),
        path: root.to_owned(),
        to: "x".to_owned(),
        rpo_ms: 1000,
        durable_fsync: false,
        exclude: Vec::new(),
    };
    ProtectedRoot {
        name: Name::new("r").unwrap(),
        path: root.to_owned(),
        file: None,
        excludes: Excludes::new(&settings, &config, &[]),
        verdict: RootVerdict::Go,
        initial: false,
        accept_empty: false,
        removal_announced: false,
    }
}

fn inode(metadata: &fs::Metadata) -> Inode {
    Inode {
        device: metadata.dev(),
        inode: metadata.ino(),
    }
}

/// Files are born and changed by a clock that goes in steps, of ten milliseconds at most.
fn wait_for_other_file_times() {
    let (before, deadline) = (file_clock(), Instant::now() + Duration::from_secs(10));
    while file_clock().0 - before.0 < 20_000_000 {
        assert!(Instant::now() < deadline, "the clock was set back");
        std::thread::yield_now();
    }
}

/// One change that a program might make. Paths are drawn from a few, so that they collide.
#[derive(Clone, Debug)]
enum Change {
    Write(usize, u64, u8, usize),
    Append(usize, usize),
    Truncate(usize, u64),
    Replace(usize, usize),
    Rename(usize, usize),
    Exchange(usize, usize),
    Link(usize, usize),
    Symlink(usize),
    Remove(usize),
    Directory(usize),
    Mode(usize, u32),
    Round,
    Scan,
}

const PATHS: [&str; 12] = [
    "a", "b", "c", "d", "d/a", "d/b", "d/e", "d/e/a", "d/e/b", "e", "e/a", "e/b",
];

fn change() -> impl Strategy<Value = Change> {
    let path = || 0..PATHS.len();
    prop_oneof![
        4 => (path(), 0u64..9000, any::<u8>(), 1usize..5000)
            .prop_map(|(path, offset, byte, length)| Change::Write(path, offset, byte, length)),
        1 => (path(), 1usize..500).prop_map(|(path, length)| Change::Append(path, length)),
        1 => (path(), 0u64..9000).prop_map(|(path, length)| Change::Truncate(path, length)),
        2 => (path(), 1usize..3000).prop_map(|(path, length)| Change::Replace(path, length)),
        4 => (path(), path()).prop_map(|(from, to)| Change::Rename(from, to)),
        1 => (path(), path()).prop_map(|(one, other)| Change::Exchange(one, other)),
        1 => (path(), path()).prop_map(|(from, to)| Change::Link(from, to)),
        1 => path().prop_map(Change::Symlink),
        2 => path().prop_map(Change::Remove),
        3 => path().prop_map(Change::Directory),
        1 => (path(), 0u32..0o777).prop_map(|(path, mode)| Change::Mode(path, mode | 0o700)),
        3 => Just(Change::Round),
        1 => Just(Change::Scan),
    ]
}

/// Makes the change, as far as it can be made, and hints it as a shim would.
fn carry_out(rig: &mut Rig, change: &Change) {
    let root = rig.root.clone();
    let at = |path: &usize| root.join(PATHS[*path]);
    let name = |path: &usize| Path::new(PATHS[*path]);
    match change {
        Change::Write(path, offset, byte, length) => {
            let created = !at(path).exists();
            let open = fs::OpenOptions::new()
                .write(true)
                .create(true)
                .truncate(false)
                .open(at(path));
            let Ok(file) = open else { return };
            file.write_all_at(&vec![*byte; *length], *offset).unwrap();
            let file = inode(&file.metadata().unwrap());
            if created {
                rig.name_hint(name(path));
                // Through a link, the new file has another name.
                let real = fs::canonicalize(at(path)).unwrap();
                let root = fs::canonicalize(&root).unwrap();
                rig.name_hint(real.strip_prefix(root).unwrap());
            }
            rig.hint(What::Write {
                file,
                birth: 0,
                offset: *offset,
                length: *length as u64,
            });
        }
        Change::Append(path, length) => {
            let Ok(mut file) = fs::OpenOptions::new().append(true).open(at(path)) else {
                return;
            };
            std::io::Write::write_all(&mut file, &vec![7; *length]).unwrap();
            let file = inode(&file.metadata().unwrap());
            rig.hint(What::Append { file, birth: 0 });
        }
        Change::Truncate(path, length) => {
            let Ok(file) = fs::OpenOptions::new().write(true).open(at(path)) else {
                return;
            };
            file.set_len(*length).unwrap();
            let file = inode(&file.metadata().unwrap());
            rig.hint(What::Write {
                file,
                birth: 0,
                offset: *length,
                length: u64::MAX,
            });
        }
        Change::Replace(path, length) => {
            let temporary = root.join("temporary");
            fs::write(&temporary, vec![9; *length]).unwrap();
            if fs::rename(&temporary, at(path)).is_err() {
                fs::remove_file(&temporary).unwrap();
            }
            rig.name_hint(Path::new("temporary"));
            rig.name_hint(name(path));
        }
        Change::Rename(from, to) => {
            let _ = fs::rename(at(from), at(to));
            rig.name_hint(name(from));
            rig.name_hint(name(to));
        }
        Change::Exchange(one, other) => {
            use rustix::fs::{CWD, RenameFlags, renameat_with};
            let _ = renameat_with(CWD, at(one), CWD, at(other), RenameFlags::EXCHANGE);
            rig.name_hint(name(one));
            rig.name_hint(name(other));
        }
        Change::Link(from, to) => {
            let _ = fs::hard_link(at(from), at(to));
            rig.name_hint(name(to));
        }
        Change::Symlink(path) => {
            let _ = symlink("somewhere", at(path));
            rig.name_hint(name(path));
        }
        Change::Remove(path) => {
            let _ = fs::remove_dir_all(at(path)).or_else(|_| fs::remove_file(at(path)));
            rig.name_hint(name(path));
        }
        Change::Directory(path) => {
            let _ = fs::create_dir(at(path));
            rig.name_hint(name(path));
        }
        Change::Mode(path, mode) => {
            let Ok(metadata) = fs::symlink_metadata(at(path)) else {
                return;
            };
            if !metadata.is_symlink() {
                fs::set_permissions(at(path), fs::Permissions::from_mode(*mode)).unwrap();
                rig.hint(What::Attributes {
                    file: inode(&metadata),
                    birth: 0,
                });
            }
        }
        Change::Round => {
            rig.settle();
            rig.check();
        }
        Change::Scan => rig.scan(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]
    #[test]
    fn whatever_is_done_the_receiver_ends_up_with_it(changes in prop::collection::vec(change(), 1..60)) {
        let mut rig = Rig::new();
        for change in &changes {
            carry_out(&mut rig, change);
        }
        rig.settle();
        rig.check();
    }

    #[test]
    fn a_scan_finds_what_nobody_hinted(changes in prop::collection::vec(change(), 1..40)) {
        let mut rig = Rig::new();
        rig.settle();
        for change in &changes {
            if !matches!(change, Change::Round | Change::Scan) {
                carry_out(&mut rig, change);
            }
        }
        rig.state.queue = crate::queue::Queue::default();
        rig.scan();
        rig.check();
    }
}

#[test]
fn a_renamed_tree_is_one_detach_and_one_attach() {
    let mut rig = Rig::new();
    fs::create_dir_all(rig.root.join("d/e")).unwrap();
    (0..50).for_each(|at| fs::write(rig.root.join(format!("d/e/{at}")), "x").unwrap());
    rig.settle();
    fs::rename(rig.root.join("d"), rig.root.join("f")).unwrap();
    rig.name_hint(Path::new("d"));
    rig.name_hint(Path::new("f"));
    let outcome = Round::run(&mut rig.state, &rig.tools, Effort::Usual).unwrap();
    // Detach, attach, and the times of the root and of the moved directory at most.
    assert!(outcome.batch.unwrap().commands() <= 4);
}

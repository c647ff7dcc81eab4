//! Programs that change the protected tree, and what a shim would tell of it.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fs::{self, OpenOptions};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use everwrite_coordinatord::intake::What;
use everwrite_coordinatord::look::stat_at;
use everwrite_protocol::ids::Name;
use everwrite_protocol::local::Inode;
use everwrite_protocol::wire::Kind;
use rustix::fs::{CWD, FileType, Mode, RenameFlags, XattrFlags, mknodat, renameat_with};

use crate::dice::Dice;
use crate::tree::{Known, NOTE, Tree, joined, on_disk};

/// Entries beyond which more is removed than made.
const ENTRIES_ABOUT: usize = 40;
const DEPTH_MAX: usize = 4;
/// Larger than a batch may be.
const LARGE_BYTES: usize = 5 << 20;
/// Replaced only, as a whole: whatever else is read of it would be half a file.
const WHOLES: [&str; 3] = ["r0", "r1", "r2"];

/// Always there, and written to in places only: what is not told of one shows as long as it is not compared.
const HOT: &str = "hot";
const HOT_BYTES: usize = 64 << 10;

/// The programs, and all that the disk ever showed.
pub(crate) struct Programs {
    root: PathBuf,
    elsewhere: PathBuf,
    dice: Dice,
    large_left: u32,
    made: u64,
    known: Known,
    /// The tree after each operation, the first before any.
    pub(crate) states: Vec<Tree>,
    /// Contents that each of the files that are replaced as a whole ever had.
    pub(crate) wholes: BTreeMap<Vec<u8>, HashSet<blake3::Hash>>,
    /// Names that ever were, each with its kinds.
    pub(crate) names: BTreeSet<(Vec<u8>, u8)>,
}

/// What was done, for people, and what is to be told of it.
pub(crate) struct Done {
    pub(crate) what: String,
    pub(crate) told: Vec<What>,
}

impl Programs {
    pub(crate) fn new(root: &Path, elsewhere: &Path, dice: Dice, large: u32) -> Self {
        fs::write(root.join("keep"), "so that the root is never empty").unwrap();
        fs::write(root.join(HOT), dice.bytes(HOT_BYTES)).unwrap();
        let mut programs = Self {
            root: root.to_owned(),
            elsewhere: elsewhere.to_owned(),
            dice,
            large_left: large,
            made: 0,
            known: Known::new(),
            states: Vec::new(),
            wholes: BTreeMap::new(),
            names: BTreeSet::new(),
        };
        for _ in 0..12 {
            programs.act();
        }
        programs.states.clear();
        programs.look();
        programs
    }

    /// Does something.
    pub(crate) fn act(&mut self) -> Done {
        self.let_time_pass();
        loop {
            let before = self.made;
            if let Some(done) = self.try_one() {
                self.look();
                return done;
            }
            self.made = before;
        }
    }

    /// Some calls give a directory the time of the file, and that is the last time that the kernel gave to
    /// anything: it is made to be a later one than any that was looked at.
    fn let_time_pass(&self) {
        let clock = self.elsewhere.join("clock");
        for content in ["tick", "tock"] {
            fs::write(&clock, content).unwrap();
            fs::metadata(&clock).unwrap();
        }
    }

    fn look(&mut self) {
        let tree = on_disk(&self.root, &mut self.known);
        for (path, entry) in &tree {
            let name = path.rsplit(|byte| *byte == b'/').next().unwrap_or(path);
            self.names.insert((name.to_owned(), entry.kind as u8));
            if WHOLES.iter().any(|whole| whole.as_bytes() == path) {
                let content = entry.content.as_deref().unwrap();
                let hash = blake3::hash(content);
                self.wholes.entry(path.clone()).or_default().insert(hash);
            }
        }
        self.states.push(tree);
    }

    fn try_one(&mut self) -> Option<Done> {
        let crowded = self
            .states
            .last()
            .is_some_and(|tree| tree.len() > ENTRIES_ABOUT);
        if crowded && self.dice.percent(60) {
            return self.remove();
        }
        match self.dice.below(24) {
            0..=2 => self.create(),
            3..=5 => self.overwrite(),
            6 => self.append(),
            7 => self.truncate(),
            8 | 9 => self.rename(),
            10 => self.exchange(),
            11 => self.link(),
            12 => self.remove(),
            13 => self.make_link(),
            14 => self.make_directory(),
            15 => self.move_directory(),
            16 => self.mode(),
            17 => self.note(),
            18..=20 => self.replace(),
            21 => self.time(),
            22 => self.make_pipe(),
            _ => self.move_across(),
        }
    }

    // Places.

    fn all(&self, wanted: impl Fn(Kind) -> bool) -> Vec<Vec<u8>> {
        let Some(tree) = self.states.last() else {
            return Vec::new();
        };
        let whole = |path: &Vec<u8>| WHOLES.iter().any(|whole| whole.as_bytes() == path);
        let fits = tree.iter().filter(|(path, entry)| {
            let own = [b"".as_slice(), b"keep", HOT.as_bytes()];
            !own.contains(&&path[..]) && !whole(path) && wanted(entry.kind)
        });
        fits.map(|(path, _)| path.clone()).collect()
    }

    fn some(&self, kind: Kind) -> Option<Vec<u8>> {
        self.dice.pick(&self.all(|it| it == kind)).cloned()
    }

    fn some_directory(&self) -> Vec<u8> {
        let mut all = self.all(|kind| kind == Kind::Directory);
        all.push(Vec::new());
        self.dice.pick(&all).cloned().unwrap_or_default()
    }

    /// A name that may be there already.
    fn place(&self, prefix: &str) -> Vec<u8> {
        let name = format!("{prefix}{}", self.dice.below(6));
        joined(&self.some_directory(), name.as_bytes())
    }

    fn path(&self, path: &[u8]) -> PathBuf {
        self.root.join(std::ffi::OsStr::from_bytes(path))
    }

    fn inode(&self, path: &[u8]) -> (Inode, u64) {
        inode_at(&self.path(path))
    }

    fn named(&self, path: &[u8]) -> What {
        let (directory, name) = split(&self.root, path);
        What::Name {
            directory,
            name,
            arrived: false,
        }
    }

    fn written(&self, path: &[u8], offset: u64, length: u64) -> What {
        let (file, birth) = self.inode(path);
        What::Write {
            file,
            birth,
            offset,
            length,
        }
    }

    fn renamed(&self, from: &[u8], to: &[u8]) -> What {
        let (old_directory, old_name) = split(&self.root, from);
        let (new_directory, new_name) = split(&self.root, to);
        What::Rename {
            old_directory,
            old_name,
            new_directory,
            new_name,
        }
    }

    fn content(&mut self) -> Vec<u8> {
        let length = match self.dice.below(20) {
            0 => 0,
            1 | 2 => 70_000 + self.dice.below(200_000) as usize,
            3 if self.large_left > 0 => {
                self.large_left -= 1;
                LARGE_BYTES
            }
            _ => self.dice.below(6000) as usize,
        };
        self.dice.bytes(length)
    }

    // What programs do.

    fn create(&mut self) -> Option<Done> {
        let path = self.place("f");
        let content = self.content();
        let known = self.path(&path).symlink_metadata().ok();
        if known.as_ref().is_some_and(|known| !known.is_file()) {
            return None;
        }
        fs::write(self.path(&path), &content).unwrap();
        let mut told = Vec::new();
        if known.is_some() {
            told.push(self.written(&path, 0, u64::MAX));
        } else {
            told.push(self.named(&path));
        }
        told.push(self.written(&path, 0, content.len() as u64));
        done("write all of", &path, told)
    }

    fn overwrite(&mut self) -> Option<Done> {
        let path = self.some(Kind::Regular)?;
        let size = self.path(&path).metadata().unwrap().len();
        let offset = self.dice.below(size + 1);
        let length = 1 + self.dice.below(3000) as usize;
        let bytes = self.dice.bytes(length);
        let file = OpenOptions::new()
            .write(true)
            .open(self.path(&path))
            .unwrap();
        file.write_all_at(&bytes, offset).unwrap();
        let told = vec![self.written(&path, offset, bytes.len() as u64)];
        done("write into", &path, told)
    }

    /// Somewhere into a file that is always there.
    pub(crate) fn write_hot(&mut self) -> Done {
        self.let_time_pass();
        let bytes = self.dice.bytes(500);
        let offset = self.dice.below((HOT_BYTES - bytes.len()) as u64);
        let options = OpenOptions::new().write(true).open(self.root.join(HOT));
        options.unwrap().write_all_at(&bytes, offset).unwrap();
        self.look();
        let told = vec![self.written(HOT.as_bytes(), offset, bytes.len() as u64)];
        Done {
            what: format!("write into {HOT} at {offset}"),
            told,
        }
    }

    fn append(&mut self) -> Option<Done> {
        let path = self.some(Kind::Regular)?;
        let size = self.path(&path).metadata().unwrap().len();
        let bytes = self.dice.bytes(500);
        let file = OpenOptions::new()
            .write(true)
            .open(self.path(&path))
            .unwrap();
        file.write_all_at(&bytes, size).unwrap();
        let (file, birth) = self.inode(&path);
        let told = match self.dice.percent(50) {
            true => What::Append { file, birth },
            false => self.written(&path, size, 500),
        };
        done("append to", &path, vec![told])
    }

    fn truncate(&mut self) -> Option<Done> {
        let path = self.some(Kind::Regular)?;
        let size = self.path(&path).metadata().unwrap().len();
        let length = self.dice.below(size * 3 / 2 + 100);
        let file = OpenOptions::new()
            .write(true)
            .open(self.path(&path))
            .unwrap();
        file.set_len(length).unwrap();
        let told = vec![self.written(&path, length.min(size), u64::MAX)];
        done("truncate", &path, told)
    }

    fn rename(&mut self) -> Option<Done> {
        let from = self.some(Kind::Regular)?;
        let to = self.place("f");
        if self.path(&to).is_dir() || from == to {
            return None;
        }
        fs::rename(self.path(&from), self.path(&to)).unwrap();
        let told = vec![self.renamed(&from, &to)];
        done(&format!("rename {} to", shown(&from)), &to, told)
    }

    fn exchange(&mut self) -> Option<Done> {
        let all = self.all(|_| true);
        let (one, other) = (self.dice.pick(&all)?, self.dice.pick(&all)?);
        if one.starts_with(other) || other.starts_with(one) {
            return None;
        }
        let (a, b) = (self.path(one), self.path(other));
        renameat_with(CWD, &a, CWD, &b, RenameFlags::EXCHANGE).unwrap();
        let told = vec![self.renamed(one, other)];
        done(&format!("exchange {} with", shown(one)), other, told)
    }

    fn link(&mut self) -> Option<Done> {
        let from = self.some(Kind::Regular)?;
        let to = self.place("h");
        fs::hard_link(self.path(&from), self.path(&to)).ok()?;
        let told = vec![self.named(&to)];
        done(&format!("link {} as", shown(&from)), &to, told)
    }

    fn remove(&mut self) -> Option<Done> {
        let path = self.dice.pick(&self.all(|_| true)).cloned()?;
        let tree = self.states.last()?;
        let inside = joined(&path, b"");
        let mut all: Vec<_> = tree
            .keys()
            .filter(|it| it.starts_with(&inside))
            .cloned()
            .collect();
        all.reverse();
        all.push(path.clone());
        let told = all.iter().map(|it| self.named(it)).collect();
        for it in &all {
            let at = self.path(it);
            let directory = at.symlink_metadata().unwrap().is_dir();
            let removed = if directory {
                fs::remove_dir(at)
            } else {
                fs::remove_file(at)
            };
            removed.unwrap();
        }
        done("remove", &path, told)
    }

    fn make_link(&mut self) -> Option<Done> {
        let path = self.place("s");
        let targets = ["../outside/secret", "/etc", "f0", "../outside"];
        symlink(self.dice.pick(&targets)?, self.path(&path)).ok()?;
        let told = vec![self.named(&path)];
        done("symlink", &path, told)
    }

    fn make_directory(&mut self) -> Option<Done> {
        let path = self.place("d");
        if path.iter().filter(|byte| **byte == b'/').count() >= DEPTH_MAX {
            return None;
        }
        fs::create_dir(self.path(&path)).ok()?;
        let mut told = vec![self.named(&path)];
        for number in 0..self.dice.below(3) {
            let file = joined(&path, format!("f{number}").as_bytes());
            fs::write(self.path(&file), self.dice.bytes(300)).unwrap();
            told.push(self.named(&file));
            told.push(self.written(&file, 0, 300));
        }
        done("make directory", &path, told)
    }

    fn move_directory(&mut self) -> Option<Done> {
        let from = self.some(Kind::Directory)?;
        let to = self.place("d");
        let deep = to.iter().filter(|byte| **byte == b'/').count() >= DEPTH_MAX;
        if deep || to.starts_with(&from) || self.path(&to).symlink_metadata().is_ok() {
            return None;
        }
        fs::rename(self.path(&from), self.path(&to)).unwrap();
        let told = vec![self.renamed(&from, &to)];
        done(&format!("move {} to", shown(&from)), &to, told)
    }

    fn mode(&mut self) -> Option<Done> {
        let all = self.all(|kind| matches!(kind, Kind::Regular | Kind::Directory));
        let path = self.dice.pick(&all)?.clone();
        let mode = 0o700 | (self.dice.roll() as u32 & 0o077);
        fs::set_permissions(self.path(&path), PermissionsExt::from_mode(mode)).unwrap();
        self.changed("chmod", &path)
    }

    fn note(&mut self) -> Option<Done> {
        let all = self.all(|kind| matches!(kind, Kind::Regular | Kind::Directory));
        let path = self.dice.pick(&all)?.clone();
        let at = self.path(&path);
        if self.dice.percent(30) {
            rustix::fs::removexattr(&at, NOTE).ok()?;
        } else {
            let value = self.dice.bytes(20);
            rustix::fs::setxattr(&at, NOTE, &value, XattrFlags::empty()).ok()?;
        }
        self.changed("note", &path)
    }

    fn time(&mut self) -> Option<Done> {
        let path = self.some(Kind::Regular)?;
        let at = 1_000_000_000 + self.dice.below(500_000_000);
        let time = std::time::UNIX_EPOCH + std::time::Duration::from_secs(at);
        let file = OpenOptions::new()
            .write(true)
            .open(self.path(&path))
            .unwrap();
        file.set_modified(time).unwrap();
        self.changed("set the time of", &path)
    }

    fn changed(&self, what: &str, path: &[u8]) -> Option<Done> {
        let (file, birth) = self.inode(path);
        done(what, path, vec![What::Attributes { file, birth }])
    }

    /// As editors save: a new file beside, then over the old one.
    fn replace(&mut self) -> Option<Done> {
        let path = self.dice.pick(&WHOLES)?.as_bytes().to_vec();
        self.made += 1;
        let beside = format!(".new{}", self.made).into_bytes();
        let content = self.content();
        fs::write(self.path(&beside), &content).unwrap();
        let mut told = vec![
            self.named(&beside),
            self.written(&beside, 0, content.len() as u64),
        ];
        fs::rename(self.path(&beside), self.path(&path)).unwrap();
        told.push(self.renamed(&beside, &path));
        done("replace", &path, told)
    }

    fn make_pipe(&mut self) -> Option<Done> {
        let path = self.place("p");
        let mode = Mode::from_raw_mode(0o600);
        mknodat(CWD, self.path(&path), FileType::Fifo, mode, 0).ok()?;
        let told = vec![self.named(&path)];
        done("make pipe", &path, told)
    }

    /// Out of the root, or back into it.
    fn move_across(&mut self) -> Option<Done> {
        let outside = self.elsewhere.join("moved");
        if outside.exists() {
            let to = self.place("d");
            if self.path(&to).symlink_metadata().is_ok() {
                return None;
            }
            fs::rename(&outside, self.path(&to)).unwrap();
            let (directory, name) = split(&self.root, &to);
            let told = What::Name {
                directory,
                name,
                arrived: true,
            };
            return done("move in as", &to, vec![told]);
        }
        let from = self.some(Kind::Directory)?;
        let told = vec![self.named(&from)];
        fs::rename(self.path(&from), &outside).unwrap();
        done("move out", &from, told)
    }
}

fn done(what: &str, path: &[u8], told: Vec<What>) -> Option<Done> {
    let what = format!("{what} {}", shown(path));
    Some(Done { what, told })
}

fn shown(path: &[u8]) -> String {
    String::from_utf8_lossy(path).into_owned()
}

fn inode_at(path: &Path) -> (Inode, u64) {
    let stat = stat_at(CWD, path).unwrap().unwrap();
    (stat.inode, stat.birth)
}

/// Directory and name of a path below the root, whatever is there.
fn split(root: &Path, path: &[u8]) -> (Inode, Name) {
    let path = root.join(std::ffi::OsStr::from_bytes(path));
    let directory = inode_at(path.parent().unwrap()).0;
    let name = Name::new(path.file_name().unwrap().as_bytes()).unwrap();
    (directory, name)
}

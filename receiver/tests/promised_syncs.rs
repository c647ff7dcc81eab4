//! What is told to be stored lasts by what fsync(2) promises, and no more: content once the file was synced, a name
//! once its directory was. The disks of `disk_loses_power` can't tell: there a new file's fsync brings its name.
//!
//! strace(1) tells which calls a child made before it said that a batch is stored.

mod support;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use everwrite_receiver::mirror::Layout;

use support::child::{self, Manner};
use support::{SOURCE, scratch};

/// Acknowledgements of a child; each comes to several segments.
const ACKNOWLEDGED: u64 = 60;
const CALLS: &str = "trace=mkdir,openat,pwrite64,pwritev,write,fsync,fdatasync";

/// Not a test of its own.
#[test]
fn child() {
    child::work();
}

#[test]
fn what_is_told_to_be_stored_lasts() {
    let traced_nothing = Command::new("strace")
        .args(["-o", "/dev/null", "true"])
        .output();
    if !traced_nothing.is_ok_and(|output| output.status.success()) {
        let why =
            "SKIPPED what_is_told_to_be_stored_lasts: strace is not installed, or may not trace";
        // Past the capture of libtest, for scripts/test to count.
        drop(writeln!(std::io::stderr(), "{why}"));
        return;
    }
    let directory = scratch();
    let store = directory.path().join("store");
    std::fs::create_dir(&store).unwrap();
    let first = Disk::of(&store).watch(&traced(&store));
    // What was written by one that was killed is told by the next.
    let second = Disk::of(&store).watch(&traced(&store));
    assert!(second > first && first > 0, "{first} and {second} stored");
}

/// What a child did until it killed itself, a call a line.
fn traced(store: &Path) -> String {
    let trace = store.with_file_name("trace");
    let mut command = Command::new("strace");
    command.args(["-f", "-y", "-e", CALLS, "-o"]).arg(&trace);
    command.arg(std::env::current_exe().unwrap());
    let manner = Manner {
        dies: (ACKNOWLEDGED, 0),
        ..Manner::USUAL
    };
    child::become_child(&mut command, store, manner);
    let ended = command.stdout(Stdio::null()).status().unwrap();
    assert!(!ended.success(), "it kills itself");
    std::fs::read_to_string(trace).unwrap()
}

/// What does not last yet, and since which line.
#[derive(Default)]
struct Disk {
    names: BTreeMap<PathBuf, usize>,
    /// Those that were there, and those that came.
    known: BTreeSet<PathBuf>,
    contents: BTreeMap<PathBuf, usize>,
}

impl Disk {
    /// Nobody knows what of the log lasts that another process has left.
    fn of(store: &Path) -> Self {
        let mut disk = Self::default();
        let log = Layout::new(store, SOURCE).log();
        let entries = std::fs::read_dir(log).into_iter().flatten();
        disk.names = entries.map(|entry| (entry.unwrap().path(), 0)).collect();
        disk.known = disk.names.keys().cloned().collect();
        let last = disk.names.last_key_value();
        disk.contents = last
            .map(|(path, line)| (path.clone(), *line))
            .into_iter()
            .collect();
        disk
    }

    /// Checks each acknowledgement; gives the last.
    fn watch(mut self, trace: &str) -> u64 {
        let (mut last, mut begun) = (0, HashMap::new());
        for (line, text) in trace.lines().enumerate() {
            let (thread, call) = text.split_once(' ').unwrap();
            let call = call.trim_start();
            if call.ends_with("<unfinished ...>") {
                begun.insert(thread, (line, call));
            } else if call.starts_with("<...") {
                let (began, call) = begun.remove(thread).unwrap();
                last = self.step(began, line, call).max(last);
            } else {
                last = self.step(line, line, call).max(last);
            }
        }
        last
    }

    /// A call that began and ended at these lines; gives the batch that it acknowledges.
    fn step(&mut self, began: usize, ended: usize, call: &str) -> u64 {
        let (name, arguments) = call.split_once('(').unwrap_or((call, ""));
        match name {
            "mkdir" => drop(self.names.insert(quoted(arguments), ended)),
            "openat" if arguments.contains("O_CREAT") => self.created(quoted(arguments), ended),
            "pwrite64" | "pwritev" => self.written(described(arguments), ended),
            "fsync" | "fdatasync" => self.synced(&described(arguments), began),
            "write" => {
                let told = quoted(arguments);
                let batch = child::number(told.to_str().unwrap().trim_end_matches("\\n"));
                if batch > 0 {
                    assert!(self.names.is_empty(), "{batch} stored: {:?}", self.names);
                    assert!(
                        self.contents.is_empty(),
                        "{batch} stored: {:?}",
                        self.contents
                    );
                }
                return batch;
            }
            _ => {}
        }
        0
    }

    fn created(&mut self, path: PathBuf, line: usize) {
        if is_of_log(&path) && self.known.insert(path.clone()) {
            self.names.insert(path, line);
        }
    }

    fn written(&mut self, path: PathBuf, line: usize) {
        if is_of_log(&path) {
            self.contents.insert(path, line);
        }
    }

    /// What came before the sync began lasts.
    fn synced(&mut self, path: &Path, began: usize) {
        let came_later = |since: &usize| *since >= began;
        self.contents
            .retain(|file, since| file != path || came_later(since));
        self.names
            .retain(|name, since| name.parent() != Some(path) || came_later(since));
    }
}

/// The catalog sees to its own.
fn is_of_log(path: &Path) -> bool {
    path.extension().is_some_and(|kind| kind == "seg")
}

/// The first argument in quotes.
fn quoted(arguments: &str) -> PathBuf {
    arguments.split('"').nth(1).unwrap_or_default().into()
}

/// The path of the descriptor that is the first argument.
fn described(arguments: &str) -> PathBuf {
    let path = arguments
        .split_once('<')
        .and_then(|(_, rest)| rest.split_once('>'));
    path.map_or("", |(path, _)| path).into()
}

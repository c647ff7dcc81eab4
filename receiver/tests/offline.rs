//! What the store holds, read by the program with every source dead.

use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;
use std::time::Duration;

use everwrite_protocol::codec;
use everwrite_protocol::ids::{FileId, Name, SequenceNumber, SourceId, Timestamp};
use everwrite_protocol::wire::{Attributes, BackupCommand, Cut, CutKind, Kind, Origin, Part};
use everwrite_receiver::store::SourceStore;
use serde_json::Value;
use tempfile::TempDir;

/// Whatever a test waits for has happened by then, or never will.
const DEADLINE: Duration = Duration::from_secs(30);
const SOURCE: SourceId = SourceId([0xab; 16]);

const ROOT: FileId = FileId(1);
const NOTES: FileId = FileId(2);
const LETTERS: FileId = FileId(3);
const LINK: FileId = FileId(4);
const SPARSE: FileId = FileId(5);

/// A store under test.
struct World {
    directory: TempDir,
}

impl World {
    fn new() -> Self {
        Self {
            directory: tempfile::tempdir().unwrap(),
        }
    }

    fn store(&self) -> PathBuf {
        self.directory.path().join("store")
    }

    fn source(&self) -> PathBuf {
        self.store().join("src").join(SOURCE.to_string())
    }

    fn open(&self) -> Arc<SourceStore> {
        SourceStore::open(&self.store(), SOURCE, |_| {}).unwrap()
    }

    /// A store with two points, all in the mirror; nobody has it open.
    fn filled() -> Self {
        let world = Self::new();
        let store = world.open();
        first_batch(&store);
        second_batch(&store);
        assert!(store.catch_up(DEADLINE));
        world
    }

    fn command(&self, line: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_everwrite-receiver"));
        command
            .args(line.split_whitespace())
            .arg("--store")
            .arg(self.store());
        command.current_dir(self.directory.path());
        command
    }

    fn run(&self, line: &str) -> Output {
        self.command(line).output().unwrap()
    }

    /// What a command prints; it has to end with `code`.
    fn text(&self, line: &str, code: i32) -> String {
        let output = self.run(line);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{line}: {errors}");
        String::from_utf8(output.stdout).unwrap()
    }

    fn json(&self, line: &str, code: i32) -> Value {
        serde_json::from_str(&self.text(&format!("{line} --json"), code)).unwrap()
    }

    fn error(&self, line: &str, code: i32) -> String {
        let output = self.run(line);
        assert_eq!(output.status.code(), Some(code), "{line}");
        String::from_utf8(output.stderr).unwrap()
    }
}

fn attributes(kind: Kind, size: u64) -> Attributes {
    let here = std::fs::metadata("/proc/self").unwrap();
    Attributes {
        kind,
        mode: if kind == Kind::Directory {
            0o750
        } else {
            0o640
        },
        uid: here.uid(),
        gid: here.gid(),
        user: None,
        group: None,
        modified: Timestamp(1_700_000_000_123_456_789),
        size,
        device_number: 0,
        target: Vec::new(),
        xattrs: vec![],
    }
}

fn create(file: FileId, attributes: Attributes) -> BackupCommand {
    BackupCommand::Create {
        file,
        attributes,
        origin: 0,
    }
}

fn attach(parent: FileId, name: &[u8], file: FileId) -> BackupCommand {
    let name = Name::new(name).unwrap();
    BackupCommand::Attach {
        parent,
        name,
        file,
        origin: 0,
    }
}

fn write(file: FileId, offset: u64, payload: &[u8], from: u32) -> BackupCommand {
    let length = payload.len() as u32;
    BackupCommand::Write {
        file,
        offset,
        length,
        payload_offset: from,
        origin: 0,
    }
}

fn send(store: &SourceStore, number: u64, commands: Vec<BackupCommand>, payload: &[u8]) {
    let sequence = SequenceNumber(number);
    let origin = Origin {
        pid: 7,
        uid: 0,
        started_ticks: 0,
        program: "editor".to_owned(),
        executable: "/usr/bin/editor".to_owned(),
        cgroup: String::new(),
    };
    let part = Part {
        sequence,
        part: 0,
        origins: vec![origin],
        commands,
    };
    let encoded = codec::encode(&part).unwrap();
    store
        .append_part(encoded, payload.to_vec(), payload.len(), false)
        .unwrap();
    let time = Timestamp(1_800_000_000_000_000_000 + number as i64 * 1_000_000_000);
    store
        .commit(Cut {
            sequence,
            parts: 1,
            time,
            kind: CutKind::CrashConsistent,
            checkpoint: (number == 1).then(|| "before".to_owned()),
            oldest_change: time,
        })
        .unwrap();
    assert!(store.wait_stored(sequence, DEADLINE));
}

/// `docs/notes`, `docs/other-name` (the same file), `docs/letters/`, `docs/link`, `docs/sparse`.
fn first_batch(store: &SourceStore) {
    let link = Attributes {
        target: b"notes".to_vec(),
        ..attributes(Kind::Symlink, 0)
    };
    let commands = vec![
        BackupCommand::Root {
            file: ROOT,
            path: b"/home/me/docs".to_vec(),
        },
        create(ROOT, attributes(Kind::Directory, 0)),
        attach(FileId::TOP, b"docs", ROOT),
        create(NOTES, attributes(Kind::Regular, 9)),
        write(NOTES, 0, b"first try", 0),
        attach(ROOT, b"notes", NOTES),
        attach(ROOT, b"other-name", NOTES),
        create(LETTERS, attributes(Kind::Directory, 0)),
        attach(ROOT, b"letters", LETTERS),
        create(LINK, link),
        attach(ROOT, b"link", LINK),
        create(SPARSE, attributes(Kind::Regular, 20 << 20)),
        write(SPARSE, 15 << 20, b"first", 0),
        attach(ROOT, b"spa\xffrse", SPARSE),
    ];
    send(store, 1, commands, b"first try");
}

/// `docs/notes` is longer now, `docs/link` is gone.
fn second_batch(store: &SourceStore) {
    let name = Name::new(b"link".as_slice()).unwrap();
    let commands = vec![
        BackupCommand::Truncate {
            file: NOTES,
            length: 10,
            origin: 0,
        },
        write(NOTES, 0, b"second try", 0),
        BackupCommand::SetAttributes {
            file: NOTES,
            attributes: Attributes {
                mode: 0o600,
                ..attributes(Kind::Regular, 10)
            },
            origin: 0,
        },
        BackupCommand::Detach {
            parent: ROOT,
            name,
            origin: 0,
        },
    ];
    send(store, 2, commands, b"second try");
}

#[test]
fn sources_tell_who_sent_what_and_when() {
    let world = World::filled();
    let sources = world.json("sources", 0);
    assert_eq!(sources[0]["source"], SOURCE.to_string());
    assert_eq!(sources[0]["roots"][0]["name"], "docs");
    assert_eq!(sources[0]["roots"][0]["path"], "/home/me/docs");
    assert_eq!(sources[0]["point"], 2);
    assert_eq!(sources[0]["fingerprint"], Value::Null);
    let text = world.text("sources", 0);
    assert!(
        text.contains("(@2)") && text.contains("root docs: /home/me/docs"),
        "{text}"
    );
}

#[test]
fn the_past_can_be_listed_and_read() {
    let world = World::filled();
    let names = |line| {
        let entries = world.json(line, 0);
        let path = |entry: &Value| entry["path"].as_str().unwrap_or("bytes").to_owned();
        entries
            .as_array()
            .unwrap()
            .iter()
            .map(path)
            .collect::<Vec<_>>()
    };
    assert_eq!(names("ls"), ["docs"]);
    let now = ["docs/letters", "docs/notes", "docs/other-name", "bytes"];
    assert_eq!(names("ls docs/"), now);
    assert_eq!(names("ls /docs --at before").len(), 5);
    assert!(world.text("ls docs --at @1", 0).contains("link -> notes"));
    assert_eq!(world.text("cat docs/notes", 0), "second try");
    assert_eq!(world.text("cat docs/other-name --at @1", 0), "first try");
    assert_eq!(
        world.json("cat docs/notes --at before", 0)["content"],
        "first try"
    );
    assert_eq!(world.text("log docs/nothing", 1), "");
    let versions = world.json("log docs/notes", 0);
    assert_eq!(versions[0]["point"], 2);
    assert_eq!(versions[0]["origin"]["program"], "editor");
    assert!(
        world
            .error("cat docs/nothing", 1)
            .contains("nothing is stored there")
    );
    assert!(world.error("cat docs", 2).contains("directory"));
    assert!(
        world
            .error("ls docs --at 2001-01-01", 1)
            .contains("no recovery point is as old")
    );
}

#[test]
fn a_tree_is_restored_and_nothing_overwritten() {
    let world = World::filled();
    let planned = world.json("restore docs --at @1 --to back --dry-run", 0);
    assert_eq!(planned["steps"].as_array().unwrap().len(), 6);
    let back = world.directory.path().join("back");
    assert!(!back.exists());
    let done = world.json("restore docs --at @1 --to back", 0);
    assert_eq!(done["done"]["restored"], 6);
    assert_eq!(
        std::fs::read(back.join("docs/notes")).unwrap(),
        b"first try"
    );
    assert_eq!(
        std::fs::read_link(back.join("docs/link")).unwrap(),
        Path::new("notes")
    );
    assert_eq!(back.join("docs/other-name").metadata().unwrap().nlink(), 2);
    assert!(
        world
            .error("restore docs --at @2 --to back", 4)
            .contains("in the way")
    );
    assert_eq!(
        std::fs::read(back.join("docs/notes")).unwrap(),
        b"first try"
    );
    assert!(
        world
            .error("restore docs --at @1 --to store/x", 4)
            .contains("inside the store")
    );
    assert!(
        world
            .error("restore docs/x --at @1 --to back", 1)
            .contains("nothing is stored")
    );
}

#[test]
fn the_mirror_has_a_path_and_the_store_figures() {
    let world = World::filled();
    let path = world.text("mirror --root docs", 0);
    assert_eq!(
        std::fs::read(Path::new(path.trim_end()).join("notes")).unwrap(),
        b"second try"
    );
    assert_eq!(world.json("mirror --root docs", 0)["point"], 2);
    world.error("mirror --root pictures", 1);
    world.error("mirror --root docs/letters", 2);
    let figures = world.json("stats", 0);
    assert_eq!(figures["counts"]["points"], 2);
    assert_eq!(figures["counts"]["files"], 4);
    assert_eq!(figures["counts"]["dead_files"], 1);
    assert_eq!(
        (&figures["stored"], &figures["applied"]),
        (&Value::from(2), &Value::from(2))
    );
    assert!(figures["bytes"]["log"].as_u64().unwrap() > 0);
    assert!(world.text("stats", 0).contains("recovery points"));
}

#[test]
fn what_was_meddled_with_is_found() {
    let world = World::filled();
    let sound = world.json("verify", 0);
    assert_eq!(sound["differences"], Value::Array(Vec::new()));
    assert!(sound["bytes_compared"].as_u64().unwrap() >= 10, "{sound}");
    assert!(sound["frames"].as_u64().unwrap() >= 4, "{sound}");

    let mirror = world.source().join("mirror/docs");
    let before = mirror.join("notes").metadata().unwrap().modified().unwrap();
    let notes = std::fs::OpenOptions::new()
        .write(true)
        .open(mirror.join("notes"))
        .unwrap();
    notes.write_all_at(b"X", 3).unwrap();
    notes.set_modified(before).unwrap();
    std::fs::write(mirror.join("letters/new"), "").unwrap();
    std::fs::remove_file(mirror.join("other-name")).unwrap();
    let text = world.text("verify", 1);
    assert!(
        text.contains("docs/notes: content differs from byte 3 on"),
        "{text}"
    );
    assert!(
        text.contains("docs/letters/new: is not in the catalog"),
        "{text}"
    );
    assert!(text.contains("docs/other-name: is missing"), "{text}");
    let found = world.json("verify", 1);
    assert!(
        found["differences"].as_array().unwrap().len() >= 3,
        "{found}"
    );
}

#[test]
fn a_flipped_bit_in_the_log_is_found() {
    let world = World::filled();
    let path = world.source().join("log/00000001.seg");
    let bytes = std::fs::read(&path).unwrap();
    let at = bytes
        .windows(9)
        .position(|window| window == b"first try")
        .unwrap();
    let segment = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
    segment.write_all_at(b"g", at as u64).unwrap();
    let text = world.text("verify", 1);
    assert!(text.contains("log/00000001.seg: damaged at byte"), "{text}");
}

#[test]
fn what_is_stored_and_not_in_the_mirror_is_applied_first() {
    let world = World::new();
    let store = world.open();
    first_batch(&store);
    // Ended before its window of batches was gathered.
    drop(store);
    assert_eq!(world.text("cat docs/notes", 0), "first try");
    assert_eq!(world.json("stats", 0)["applied"], 1);
}

#[test]
fn a_store_that_another_process_writes_can_be_read() {
    let world = World::new();
    let store = world.open();
    first_batch(&store);
    assert_eq!(world.text("cat docs/notes", 0), "first try");
    second_batch(&store);
    assert_eq!(world.text("cat docs/notes", 0), "second try");
    world.text("verify", 0);
    assert_eq!(world.json("sources", 0)[0]["point"], 2);
    drop(store);
}

#[test]
fn a_source_that_is_not_there_is_a_usage_error() {
    let world = World::filled();
    assert_eq!(world.text("cat docs/notes --source ABAB", 0), "second try");
    assert!(
        world
            .error("ls --source attic", 2)
            .contains(&SOURCE.to_string())
    );
    let nowhere = World::new();
    assert!(nowhere.error("ls", 1).contains("--store is the directory"));
}

//! How fast, and with how much memory. Figures belong to machines, so nothing is demanded of them; the
//! usual run is a short one. To measure:
//!
//! ```text
//! EVERWRITE_MEASURE=1 CARGO_PROFILE_DEV_OPT_LEVEL=3 \
//!     cargo test -p everwrite-receiver --test figures -- --nocapture --test-threads=1
//! ```
//!
//! `EVERWRITE_TEST_DISK` names a directory on the disk to be measured.

mod support;

use std::path::Path;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use everwrite_protocol::ids::{FileId, Name, Timestamp};
use everwrite_protocol::wire::{Attributes, BackupCommand, Kind, PAYLOAD_BYTES_MAX};
use everwrite_receiver::store::{SourceStore, StoreEvent};
use support::{Batch, LONG, SOURCE, catch_up, open, send};

/// How much of it: enough to measure, or as little as shows that it works.
fn amount(enough: u64, little: u64) -> u64 {
    match std::env::var_os("EVERWRITE_MEASURE") {
        Some(_) => enough,
        None => little,
    }
}

fn disk() -> tempfile::TempDir {
    match std::env::var_os("EVERWRITE_TEST_DISK") {
        Some(directory) => tempfile::tempdir_in(directory).unwrap(),
        None => tempfile::tempdir().unwrap(),
    }
}

fn attributes(kind: Kind, size: u64) -> Attributes {
    Attributes {
        kind,
        mode: if kind == Kind::Directory {
            0o755
        } else {
            0o644
        },
        uid: 0,
        gid: 0,
        user: Some("root".to_owned()),
        group: Some("root".to_owned()),
        modified: Timestamp(1_700_000_000_123_456_789),
        size,
        device_number: 0,
        target: Vec::new(),
        xattrs: Vec::new(),
    }
}

fn create(batch: &mut Batch, kind: Kind, parent: FileId, name: &str, file: FileId, content: &[u8]) {
    let (commands, payload) = batch.part();
    if payload.len() + content.len() > PAYLOAD_BYTES_MAX || commands.len() > 4000 {
        batch.parts.push(Default::default());
    }
    let attributes = attributes(kind, content.len() as u64);
    batch.push(BackupCommand::Create {
        file,
        attributes,
        origin: 0,
    });
    let name = Name::new(name).unwrap();
    batch.push(BackupCommand::Attach {
        parent,
        name,
        file,
        origin: 0,
    });
    if !content.is_empty() {
        let payload = &mut batch.part().1;
        let payload_offset = payload.len() as u32;
        payload.extend_from_slice(content);
        let length = content.len() as u32;
        batch.push(BackupCommand::Write {
            file,
            offset: 0,
            length,
            payload_offset,
            origin: 0,
        });
    }
}

fn peak_memory_mib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmHWM"))
        .unwrap();
    line.split_whitespace()
        .nth(1)
        .unwrap()
        .parse::<u64>()
        .unwrap()
        >> 10
}

#[test]
fn many_small_files() {
    let files = amount(50_000, 1000);
    const BATCH: u64 = 500;
    let directory = disk();
    let store = open(directory.path());
    let content: Vec<u8> = (0..60_000u32).map(|i| ((i * i) >> 7) as u8).collect();
    let mut batch = Batch::default();
    create(
        &mut batch,
        Kind::Directory,
        FileId::TOP,
        "root",
        FileId(1),
        b"",
    );
    let (mut sequence, mut bytes, mut next) = (1, 0, 2);
    let begun = Instant::now();
    send(&store, sequence, &batch);
    for first in (0..files).step_by(BATCH as usize) {
        let mut batch = Batch::default();
        let parent = FileId(next);
        create(
            &mut batch,
            Kind::Directory,
            FileId(1),
            &format!("d{first}"),
            parent,
            b"",
        );
        next += 1;
        for file in first..first + BATCH {
            let content = &content[..(file * 7919 % 60_000) as usize];
            bytes += content.len();
            create(
                &mut batch,
                Kind::Regular,
                parent,
                &format!("f{file}"),
                FileId(next),
                content,
            );
            next += 1;
        }
        sequence += 1;
        send(&store, sequence, &batch);
    }
    assert!(store.settle(LONG));
    let stored = begun.elapsed();
    catch_up(&store, sequence);
    let applied = begun.elapsed();
    let mib = bytes >> 20;
    println!(
        "{files} files, {mib} MiB: stored {stored:.2?}, applied {applied:.2?}, peak {} MiB",
        peak_memory_mib()
    );
    let mirror = directory
        .path()
        .join("src")
        .join(SOURCE.to_string())
        .join("mirror");
    copy(&mirror, &directory.path().join("copy"));
}

fn copy(from: &Path, to: &Path) {
    let begun = Instant::now();
    let run = |program: &str, arguments: &[&std::ffi::OsStr]| {
        assert!(
            std::process::Command::new(program)
                .args(arguments)
                .status()
                .unwrap()
                .success()
        );
    };
    run("cp", &["-a".as_ref(), from.as_os_str(), to.as_os_str()]);
    run("sync", &["-f".as_ref(), to.as_os_str()]);
    println!("cp -a of the same and sync -f: {:.2?}", begun.elapsed());
}

#[test]
fn one_small_write_at_a_time() {
    let directory = disk();
    let (told, stored) = mpsc::channel();
    let events = move |event| {
        if let StoreEvent::Stored(sequence) = event {
            let _ = told.send(sequence.0);
        }
    };
    let store = SourceStore::open(directory.path(), SOURCE, events).unwrap();
    let mut batch = Batch::default();
    create(
        &mut batch,
        Kind::Directory,
        FileId::TOP,
        "root",
        FileId(1),
        b"",
    );
    create(
        &mut batch,
        Kind::Regular,
        FileId(1),
        "file",
        FileId(2),
        &[1; 4096],
    );
    send(&store, 1, &batch);
    let mut times = Vec::new();
    for sequence in 2..amount(1500, 50) {
        let mut batch = Batch::default();
        batch.part().1 = vec![sequence as u8; 4096];
        batch.push(BackupCommand::Write {
            file: FileId(2),
            offset: sequence * 7919 % 50_000 * 4096,
            length: 4096,
            payload_offset: 0,
            origin: 0,
        });
        let begun = Instant::now();
        send(&store, sequence, &batch);
        while stored.recv_timeout(LONG).unwrap() < sequence {}
        times.push(begun.elapsed());
    }
    times.sort();
    let at = |share: f64| times[(times.len() as f64 * share) as usize];
    let mean: Duration = times.iter().sum::<Duration>() / times.len() as u32;
    println!(
        "4 KiB until stored: p50 {:.2?}, p99 {:.2?}, mean {mean:.2?}",
        at(0.5),
        at(0.99)
    );
}

//! `everwrite-receiver stats`.

use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use clap::Args;
use serde::Serialize;

use super::archive::{Archive, failed};
use super::store::SourceOptions;
use crate::answers::exit::{Exit, Failure};
use crate::answers::output::local_failed;
use crate::answers::shown;
use crate::catalog::Catalog;
use crate::store::StoreError;

/// How much a source takes, and of what
#[derive(Args, Debug)]
pub(super) struct Stats {
    #[command(flatten)]
    pub(super) source: SourceOptions,
}

/// `--json`.
#[derive(Serialize)]
struct Figures {
    source: String,
    /// Bytes taken on the disk.
    bytes: Bytes,
    counts: Counts,
    /// Last batch on the disk.
    stored: u64,
    /// Last batch in the mirror.
    applied: u64,
}

#[derive(Serialize)]
struct Bytes {
    mirror: u64,
    log: u64,
    objects: u64,
    staging: u64,
    catalog: u64,
}

#[derive(Serialize)]
struct Counts {
    batches: u64,
    points: u64,
    checkpoints: u64,
    /// Of any kind, that are there now.
    files: u64,
    /// That are in the history alone.
    dead_files: u64,
    changes: u64,
}

impl Stats {
    pub(super) fn run(self) -> Result<Exit, Failure> {
        let archive = Archive::open(&self.source)?;
        let (counts, applied) = counts(&archive).map_err(|error| failed(&error))?;
        let figures = Figures {
            source: archive.source.id.to_string(),
            bytes: bytes(&archive)?,
            counts,
            stored: archive.stored.0,
            applied,
        };
        let output = self.source.output();
        output.say(archive.source.named())?;
        for (what, value) in lines(&figures) {
            output.say(format_args!("  {what:<24}{value:>14}"))?;
        }
        output.answer(&figures)?;
        Ok(Exit::Done)
    }
}

fn counts(archive: &Archive) -> Result<(Counts, u64), StoreError> {
    let catalog = Catalog::open_reader(&archive.layout.catalog())?;
    let read = catalog.read()?;
    let applied = read.newest_cut()?.map_or(0, |cut| cut.sequence.0);
    let dead_files = read.dead_files()?;
    let counts = Counts {
        batches: applied,
        points: read.count("cut")?,
        checkpoints: read.checkpoints()?,
        files: read.count("file")? - dead_files,
        dead_files,
        changes: read.count("event")?,
    };
    Ok((counts, applied))
}

fn bytes(archive: &Archive) -> Result<Bytes, Failure> {
    let layout = &archive.layout;
    let catalog = layout.catalog();
    let beside = [
        catalog.with_extension("db-wal"),
        catalog.with_extension("db-shm"),
    ];
    let files = beside.iter().chain([&catalog]);
    Ok(Bytes {
        mirror: taken(&layout.mirror())?,
        log: taken(&layout.log())?,
        objects: taken(&layout.root.join("objects"))?,
        staging: taken(&layout.root.join("staging"))?,
        catalog: files
            .map(|path| taken(path))
            .sum::<Result<u64, Failure>>()?,
    })
}

/// Bytes that a file, or a directory and all below it, takes on the disk. What is gone meanwhile
/// takes none; of a hard link each name counts a part.
fn taken(path: &Path) -> Result<u64, Failure> {
    let mut total = 0;
    let mut waiting = vec![path.to_owned()];
    while let Some(path) = waiting.pop() {
        let looked = look(&path).map_err(|error| local_failed("look at", &path, &error))?;
        let Some(found) = looked else { continue };
        total += on_disk(&found);
        if found.is_dir() {
            let entries = fs::read_dir(&path);
            let entries = entries.map_err(|error| local_failed("list", &path, &error))?;
            waiting.extend(entries.flatten().map(|entry| entry.path()));
        }
    }
    Ok(total)
}

fn look(path: &Path) -> io::Result<Option<Metadata>> {
    match fs::symlink_metadata(path) {
        Ok(found) => Ok(Some(found)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn on_disk(found: &Metadata) -> u64 {
    // The unit of `st_blocks`, whatever the file system's blocks are.
    let bytes = found.blocks() * 512;
    if found.is_dir() {
        bytes
    } else {
        bytes / found.nlink().max(1)
    }
}

fn lines(figures: &Figures) -> Vec<(&'static str, String)> {
    let Figures {
        bytes,
        counts,
        stored,
        applied,
        ..
    } = figures;
    vec![
        ("mirror", shown::bytes(bytes.mirror)),
        ("log", shown::bytes(bytes.log)),
        ("objects", shown::bytes(bytes.objects)),
        ("staging", shown::bytes(bytes.staging)),
        ("catalog", shown::bytes(bytes.catalog)),
        ("batches", shown::count(counts.batches)),
        ("recovery points", shown::count(counts.points)),
        ("checkpoints", shown::count(counts.checkpoints)),
        ("files", shown::count(counts.files)),
        ("files in history alone", shown::count(counts.dead_files)),
        ("changes", shown::count(counts.changes)),
        ("stored up to", format!("@{stored}")),
        ("in the mirror up to", format!("@{applied}")),
    ]
}

//! The configuration file: read whole, written back whole and atomically, comments kept.

use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use everwrite_protocol::control::PathText;
use toml_edit::{ArrayOfTables, DocumentMut, InlineTable, Item, Table, Value, value};

use super::checked::{Config, Place, RPO_MS_DEFAULT, Receiver, Root};
use super::problem::ConfigError;
use super::raw::RawConfig;

impl Config {
    /// Reads and checks the file. A file that does not exist is an empty configuration: a
    /// coordinator starts with no receiver and no root and learns of both later.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        Self::parse(&read(path)?, path)
    }

    /// Checks `text`; `path` is only named in errors.
    pub fn parse(text: &str, path: &Path) -> Result<Self, ConfigError> {
        let raw: RawConfig = toml::from_str(text).map_err(|error| ConfigError::Syntax {
            path: path.to_owned(),
            message: error.to_string(),
        })?;
        Self::try_from(raw).map_err(|problem| ConfigError::Invalid {
            path: path.to_owned(),
            problem,
        })
    }

    /// Brings receivers and roots in the file up to date. All else in it stays as people wrote it.
    pub fn save(&self, path: &Path) -> Result<(), ConfigError> {
        let mut document: DocumentMut =
            read(path)?
                .parse()
                .map_err(|error: toml_edit::TomlError| ConfigError::Syntax {
                    path: path.to_owned(),
                    message: error.to_string(),
                })?;
        update(
            &mut document,
            "receivers",
            self.receivers.iter().map(receiver_table),
        );
        update(&mut document, "roots", self.roots.iter().map(root_table));
        replace(path, document.to_string().as_bytes()).map_err(|source| ConfigError::Write {
            path: path.to_owned(),
            source,
        })
    }
}

fn read(path: &Path) -> Result<String, ConfigError> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(text),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(String::new()),
        Err(source) => Err(ConfigError::Read {
            path: path.to_owned(),
            source,
        }),
    }
}

/// Replaces `path` by a file with these bytes: after a crash there is the old one or the new one,
/// whole. The owner alone may read it.
pub fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let directory = path.parent().unwrap_or_else(|| Path::new("."));
    let temporary = path.with_extension(format!("{}.new", std::process::id()));
    let written = write_synced(&temporary, bytes).and_then(|()| std::fs::rename(&temporary, path));
    if written.is_err() {
        // The error that matters is the first; a leftover file does no harm.
        let _ = std::fs::remove_file(&temporary);
    }
    written?;
    std::fs::File::open(directory)?.sync_all()
}

fn write_synced(path: &Path, bytes: &[u8]) -> io::Result<()> {
    use std::os::unix::fs::OpenOptionsExt;
    let mut options = std::fs::OpenOptions::new();
    let mut file = options
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// Makes `[[key]]` hold exactly `tables`; one that is there under the same name keeps its comments
/// and what it says beyond the keys given.
fn update(document: &mut DocumentMut, key: &str, tables: impl Iterator<Item = Table>) {
    let old = match document.remove(key) {
        Some(item) => item.into_array_of_tables().unwrap_or_default(),
        None => ArrayOfTables::new(),
    };
    let mut merged = ArrayOfTables::new();
    for table in tables {
        let name = |table: &Table| table.get("name").and_then(Item::as_str).map(str::to_owned);
        let known = old.iter().find(|known| name(known) == name(&table));
        merged.push(known.map_or_else(|| table.clone(), |known| overlay(known, &table)));
    }
    if !merged.is_empty() {
        document.insert(key, Item::ArrayOfTables(merged));
    }
}

fn overlay(known: &Table, new: &Table) -> Table {
    let mut merged = known.clone();
    for (key, item) in new {
        let same = merged
            .get(key)
            .is_some_and(|old| old.to_string().trim() == item.to_string().trim());
        if !same {
            merged.insert(key, item.clone());
        }
    }
    merged
}

fn receiver_table(receiver: &Receiver) -> Table {
    let mut table = Table::new();
    table.insert("name", value(&receiver.name));
    match &receiver.place {
        Place::Network {
            address,
            fingerprint,
        } => {
            table.insert("address", value(address));
            let digits: String = fingerprint
                .iter()
                .map(|byte| format!("{byte:02x}"))
                .collect();
            table.insert("fingerprint", value(digits));
        }
        Place::Directory(path) => {
            table.insert("directory", path_item(path));
        }
    }
    table
}

fn root_table(root: &Root) -> Table {
    let mut table = Table::new();
    table.insert("name", value(&root.name));
    table.insert("path", path_item(&root.path));
    table.insert("to", value(&root.to));
    if root.rpo_ms != RPO_MS_DEFAULT {
        table.insert(
            "rpo_ms",
            value(i64::try_from(root.rpo_ms).unwrap_or(i64::MAX)),
        );
    }
    if root.durable_fsync {
        table.insert("durable_fsync", value(true));
    }
    table
}

fn path_item(path: &Path) -> Item {
    match PathText::from_bytes(path.as_os_str().as_bytes()) {
        PathText::Text(text) => value(text),
        PathText::Bytes { hex } => {
            let mut table = InlineTable::new();
            table.insert("hex", Value::from(hex));
            value(table)
        }
    }
}

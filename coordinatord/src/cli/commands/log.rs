//! `everwrite log [PATH]`.

use std::path::PathBuf;

use clap::Args;
use everwrite_protocol::control::PathText;
use everwrite_protocol::ids::SequenceNumber;
use everwrite_protocol::wire::{Answer, LogEntry, PAGE_ENTRIES_MAX, Query, VersionChange};
use serde::Serialize;

use crate::cli::archive::Archive;
use crate::cli::context::Context;
use crate::cli::exit::{Exit, Failure};
use crate::cli::place::Place;
use crate::cli::{moment, records, shown};

/// Versions of a file, or of everything below a directory, newest first: when, what, who.
#[derive(Args, Debug)]
pub(crate) struct Log {
    /// Local path, or ROOT:path; all roots when not given.
    path: Option<PathBuf>,
    /// Show at most so many.
    #[arg(short = 'n', long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
    limit: u32,
    /// Only versions before this recovery point, as @N.
    #[arg(long, value_name = "@POINT", value_parser = moment::parse_point)]
    before: Option<SequenceNumber>,
}

/// One line of `--json`.
#[derive(Serialize)]
struct Version {
    receiver: String,
    path: PathText,
    point: SequenceNumber,
    time: String,
    change: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    other_path: Option<PathText>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes_stored: Option<u64>,
    size: u64,
    origin: records::OriginRecord,
}

impl Log {
    pub(crate) async fn run(self, context: &Context) -> Result<Exit, Failure> {
        let config = context.config()?;
        let place = Place::find(self.path.as_deref(), &config)?;
        let mut versions = Vec::new();
        for archive in Archive::holding(context, &config, &place).await? {
            let entries = self.ask(&archive, &place).await?;
            for entry in &entries {
                context.say(line(entry))?;
            }
            if entries.len() == self.limit as usize {
                let oldest = entries.last().map_or(0, |entry| entry.sequence.0);
                context.note(format_args!(
                    "older ones: --before @{oldest}, or more with --limit"
                ));
            }
            versions.extend(
                entries
                    .into_iter()
                    .map(|entry| version(&archive.receiver, entry)),
            );
        }
        context.answer(&versions)?;
        if versions.is_empty() {
            context.note("no version is stored there");
        }
        Ok(Exit::answer(!versions.is_empty()))
    }

    async fn ask(&self, archive: &Archive, place: &Place) -> Result<Vec<LogEntry>, Failure> {
        let (mut all, mut before) = (Vec::new(), self.before);
        while all.len() < self.limit as usize {
            let wanted = (self.limit as usize - all.len()).min(PAGE_ENTRIES_MAX);
            let query = Query::Log {
                path: place.path.clone(),
                before,
                limit: wanted as u32,
            };
            let (Answer::Log(entries), _) = archive.ask(query).await? else {
                return Err(archive.mismatch());
            };
            let last = entries.len() < wanted;
            before = entries.last().map(|entry| entry.sequence);
            all.extend(entries);
            if last {
                break;
            }
        }
        Ok(all)
    }
}

fn line(entry: &LogEntry) -> String {
    format!(
        "{}  @{:<8} {:<24} {:>10}  {:<28} {}",
        shown::cut_time(entry.time),
        entry.sequence.0,
        change(&entry.change),
        shown::bytes(entry.size),
        shown::origin(&entry.origin),
        shown::path(&entry.path)
    )
}

fn change(change: &VersionChange) -> String {
    match change {
        VersionChange::Modified { bytes } => format!("modified ({})", shown::bytes(*bytes)),
        VersionChange::RenamedFrom { path } => format!("renamed from {}", shown::path(path)),
        VersionChange::RenamedTo { path } => format!("renamed to {}", shown::path(path)),
        other => word(other).to_owned(),
    }
}

fn word(change: &VersionChange) -> &'static str {
    match change {
        VersionChange::Created => "created",
        VersionChange::Modified { .. } => "modified",
        VersionChange::Attributes => "attributes",
        VersionChange::RenamedFrom { .. } => "renamed-from",
        VersionChange::RenamedTo { .. } => "renamed-to",
        VersionChange::Replaced => "replaced",
        VersionChange::Deleted => "deleted",
    }
}

fn version(receiver: &str, entry: LogEntry) -> Version {
    let (other_path, bytes_stored) = match &entry.change {
        VersionChange::RenamedFrom { path } | VersionChange::RenamedTo { path } => {
            (Some(PathText::from_bytes(path)), None)
        }
        VersionChange::Modified { bytes } => (None, Some(*bytes)),
        _ => (None, None),
    };
    Version {
        receiver: receiver.to_owned(),
        path: PathText::from_bytes(&entry.path),
        point: entry.sequence,
        time: shown::rfc3339(entry.time),
        change: word(&entry.change),
        other_path,
        bytes_stored,
        size: entry.size,
        origin: entry.origin.into(),
    }
}

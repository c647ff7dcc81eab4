//! `everwrite deleted [DIR]`.

use std::path::PathBuf;

use clap::Args;
use everwrite_protocol::control::PathText;
use everwrite_protocol::ids::SequenceNumber;
use everwrite_protocol::wire::{Answer, DeletedEntry, Query};
use serde::Serialize;

use crate::cli::archive::Archive;
use crate::cli::context::Context;
use crate::cli::exit::{Exit, Failure};
use crate::cli::place::Place;
use crate::cli::{records, shown};

/// Files that were deleted and are not there now, newest first.
#[derive(Args, Debug)]
pub(crate) struct Deleted {
    /// Local path, or ROOT:path; all roots when not given.
    dir: Option<PathBuf>,
    /// Show at most so many.
    #[arg(short = 'n', long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=2048))]
    limit: u32,
}

/// One line of `--json`.
#[derive(Serialize)]
struct Tombstone {
    receiver: String,
    path: PathText,
    /// It is there at the point before this one.
    point: SequenceNumber,
    last_seen: SequenceNumber,
    time: String,
    size: u64,
    origin: records::OriginRecord,
}

impl Deleted {
    pub(crate) async fn run(self, context: &Context) -> Result<Exit, Failure> {
        let config = context.config()?;
        let place = Place::find(self.dir.as_deref(), &config)?;
        let mut tombstones = Vec::new();
        for archive in Archive::holding(context, &config, &place).await? {
            let query = Query::Deleted {
                path: place.path.clone(),
                limit: self.limit,
            };
            let (Answer::Deleted(entries), _) = archive.ask(query).await? else {
                return Err(archive.mismatch());
            };
            for entry in &entries {
                context.say(line(entry))?;
            }
            tombstones.extend(
                entries
                    .into_iter()
                    .map(|entry| tombstone(&archive.receiver, entry)),
            );
        }
        context.answer(&tombstones)?;
        match tombstones.len() {
            0 => context.note("nothing is missing"),
            _ => {
                context.note("have one back: `everwrite restore PATH --at @POINT`, as it is shown")
            }
        }
        Ok(Exit::Done)
    }
}

/// The batch before the one in which a file went.
fn last_seen(entry: &DeletedEntry) -> SequenceNumber {
    SequenceNumber(entry.sequence.0.saturating_sub(1))
}

fn line(entry: &DeletedEntry) -> String {
    format!(
        "{}  last there at @{:<8} {:>10}  {:<28} {}",
        shown::cut_time(entry.time),
        last_seen(entry).0,
        shown::bytes(entry.size),
        shown::origin(&entry.origin),
        shown::path(&entry.path)
    )
}

fn tombstone(receiver: &str, entry: DeletedEntry) -> Tombstone {
    Tombstone {
        receiver: receiver.to_owned(),
        path: PathText::from_bytes(&entry.path),
        point: entry.sequence,
        last_seen: last_seen(&entry),
        time: shown::rfc3339(entry.time),
        size: entry.size,
        origin: entry.origin.into(),
    }
}

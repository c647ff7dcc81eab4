//! `everwrite log [PATH]`.

use std::path::PathBuf;

use clap::Args;
use everwrite_protocol::ids::SequenceNumber;
use everwrite_protocol::wire::{Answer, LogEntry, PAGE_ENTRIES_MAX, Query};
use everwrite_receiver::answers::versions::{self, Version};

use crate::cli::archive::Archive;
use crate::cli::context::Context;
use crate::cli::exit::{Exit, Failure};
use crate::cli::moment;
use crate::cli::place::Place;

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

impl Log {
    pub(crate) async fn run(self, context: &Context) -> Result<Exit, Failure> {
        let config = context.config()?;
        let place = Place::find(self.path.as_deref(), &config)?;
        let mut all = Vec::new();
        for archive in Archive::holding(context, &config, &place).await? {
            let entries = self.ask(&archive, &place).await?;
            for entry in &entries {
                context.say(versions::line(entry))?;
            }
            if entries.len() == self.limit as usize {
                let oldest = entries.last().map_or(0, |entry| entry.sequence.0);
                context.note(format_args!(
                    "older ones: --before @{oldest}, or more with --limit"
                ));
            }
            all.extend(
                entries
                    .into_iter()
                    .map(|entry| Version::new(Some(&archive.receiver), entry)),
            );
        }
        context.answer(&all)?;
        if all.is_empty() {
            context.note("no version is stored there");
        }
        Ok(Exit::answer(!all.is_empty()))
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

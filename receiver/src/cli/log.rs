//! `everwrite-receiver log [PATH]`.

use std::path::PathBuf;

use clap::Args;
use everwrite_protocol::ids::SequenceNumber;
use everwrite_protocol::wire::{Answer, LogEntry, PAGE_ENTRIES_MAX, Query};

use super::archive::Archive;
use super::place;
use super::store::SourceOptions;
use crate::answers::exit::{Exit, Failure};
use crate::answers::moment;
use crate::answers::versions::{self, Version};
use crate::restore::HistoryError;

/// Versions of a file, or of everything below a directory, newest first: when, what, who
#[derive(Args, Debug)]
pub(super) struct Log {
    /// ROOT/a/b; all roots when not given
    path: Option<PathBuf>,
    /// Show at most so many
    #[arg(short = 'n', long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
    limit: u32,
    /// Only versions before this recovery point, as @N
    #[arg(long, value_name = "@POINT", value_parser = moment::parse_point)]
    before: Option<SequenceNumber>,
    #[command(flatten)]
    pub(super) source: SourceOptions,
}

impl Log {
    pub(super) fn run(self) -> Result<Exit, Failure> {
        let path = place::parse(self.path.as_deref())?;
        let archive = Archive::open(&self.source)?;
        let output = self.source.output();
        let entries = self.ask(&archive, &path)?;
        for entry in &entries {
            output.say(versions::line(entry))?;
        }
        match entries.last() {
            None => output.note("no version is stored there"),
            Some(oldest) if entries.len() == self.limit as usize => output.note(format_args!(
                "older ones: --before @{}, or more with --limit",
                oldest.sequence.0
            )),
            Some(_) => {}
        }
        let found = !entries.is_empty();
        let versions: Vec<_> = entries
            .into_iter()
            .map(|entry| Version::new(None, entry))
            .collect();
        output.answer(&versions)?;
        Ok(Exit::answer(found))
    }

    fn ask(&self, archive: &Archive, path: &[u8]) -> Result<Vec<LogEntry>, Failure> {
        let (mut all, mut before) = (Vec::new(), self.before);
        while all.len() < self.limit as usize {
            let wanted = (self.limit as usize - all.len()).min(PAGE_ENTRIES_MAX);
            let query = Query::Log {
                path: path.to_owned(),
                before,
                limit: wanted as u32,
            };
            let (Answer::Log(entries), _) = archive.ask(query)? else {
                return Err(archive.unanswered(&HistoryError::Nonsense));
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

//! `everwrite-receiver ls [PATH] --at TIME`.

use std::path::PathBuf;

use clap::Args;
use everwrite_protocol::wire::Kind;

use super::archive::Archive;
use super::place;
use super::store::SourceOptions;
use crate::answers::exit::{Exit, Failure};
use crate::answers::moment::{self, Moment};
use crate::answers::records::{self, EntryRecord};
use crate::history::joined;

/// List a directory as of some moment
#[derive(Args, Debug)]
pub(super) struct Ls {
    /// ROOT/a/b; the roots when not given
    path: Option<PathBuf>,
    /// When: RFC 3339, `10m ago`, `yesterday 14:00`, @POINT or a checkpoint; newest when not given
    #[arg(long, value_name = "TIME", value_parser = moment::parse)]
    at: Option<Moment>,
    #[command(flatten)]
    pub(super) source: SourceOptions,
}

impl Ls {
    pub(super) fn run(self) -> Result<Exit, Failure> {
        let path = place::parse(self.path.as_deref())?;
        let archive = Archive::open(&self.source)?;
        let point = archive.resolve(Moment::or_newest(self.at))?;
        let top = archive.existing(&path, &point)?;
        let output = self.source.output();
        let mut records = Vec::new();
        for entry in archive.list(&path, point.sequence)? {
            output.say(records::line(&entry))?;
            let path = match top.attributes.kind {
                Kind::Directory => joined(&path, entry.name.as_bytes()),
                _ => path.clone(),
            };
            records.push(EntryRecord::new(&path, entry));
        }
        output.answer(&records)?;
        Ok(Exit::Done)
    }
}

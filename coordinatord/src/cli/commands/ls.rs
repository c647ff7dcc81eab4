//! `everwrite ls PATH --at TIME`.

use std::path::PathBuf;

use clap::Args;
use everwrite_protocol::wire::Kind;

use crate::cli::archive::{Archive, child};
use crate::cli::context::Context;
use crate::cli::exit::{Exit, Failure};
use crate::cli::moment::{self, Moment};
use crate::cli::place::Place;
use crate::cli::records::{self, EntryRecord};

/// List a directory as of some moment.
#[derive(Args, Debug)]
pub(crate) struct Ls {
    /// Local path, or ROOT:path; the roots when not given.
    path: Option<PathBuf>,
    /// When: RFC 3339, `10m ago`, `yesterday 14:00`, @POINT or a checkpoint; newest when not given.
    #[arg(long, value_name = "TIME", value_parser = moment::parse)]
    at: Option<Moment>,
}

impl Ls {
    pub(crate) async fn run(self, context: &Context) -> Result<Exit, Failure> {
        let config = context.config()?;
        let place = Place::find(self.path.as_deref(), &config)?;
        let mut records = Vec::new();
        for archive in Archive::holding(context, &config, &place).await? {
            let point = archive.resolve(Moment::or_newest(self.at.clone())).await?;
            let is_dir = match place.path.as_slice() {
                b"" => true,
                path => archive.existing(path, &point).await?.attributes.kind == Kind::Directory,
            };
            for entry in archive.list(&place.path, point.sequence).await? {
                context.say(records::line(&entry))?;
                let path = match is_dir {
                    true => child(&place.path, entry.name.as_bytes()),
                    false => place.path.clone(),
                };
                records.push(EntryRecord::new(&path, entry));
            }
        }
        context.answer(&records)?;
        Ok(Exit::Done)
    }
}

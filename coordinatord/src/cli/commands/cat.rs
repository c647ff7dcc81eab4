//! `everwrite cat PATH --at TIME`.

use std::path::PathBuf;

use clap::Args;
use everwrite_protocol::wire::Kind;

use crate::cli::archive::Archive;
use crate::cli::content::Content;
use crate::cli::context::Context;
use crate::cli::exit::{Exit, Failure};
use crate::cli::moment::{self, Moment};
use crate::cli::output::output_failed;
use crate::cli::place::Place;
use crate::cli::shown;

/// Write a file's content as of some moment to standard output.
#[derive(Args, Debug)]
pub(crate) struct Cat {
    /// Local path, or ROOT:path.
    path: PathBuf,
    /// When: RFC 3339, `10m ago`, `yesterday 14:00`, @POINT or a checkpoint; newest when not given.
    #[arg(long, value_name = "TIME", value_parser = moment::parse)]
    at: Option<Moment>,
}

impl Cat {
    pub(crate) async fn run(self, context: &Context) -> Result<Exit, Failure> {
        let config = context.config()?;
        let place = Place::find(Some(&self.path), &config)?;
        let archive = Archive::of(context, &config, &place).await?;
        let point = archive.resolve(Moment::or_newest(self.at)).await?;
        let entry = archive.existing(&place.path, &point).await?;
        if entry.attributes.kind != Kind::Regular {
            let (path, kind) = (shown::path(&place.path), shown::kind(entry.attributes.kind));
            return Err(Failure::usage(
                format!("{path} was a {kind}"),
                "`everwrite ls` lists it",
            ));
        }
        let mut content = Content::of(&archive, entry.file, point.sequence);
        let mut out = std::io::stdout().lock();
        while let Some(piece) = content.next().await? {
            piece
                .write_to(&mut out)
                .map_err(|error| output_failed(&error))?;
        }
        std::io::Write::flush(&mut out).map_err(|error| output_failed(&error))?;
        Ok(Exit::Done)
    }
}

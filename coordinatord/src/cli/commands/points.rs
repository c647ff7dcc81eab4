//! `everwrite points`.

use clap::Args;
use everwrite_protocol::ids::SequenceNumber;
use everwrite_protocol::wire::{Answer, PAGE_ENTRIES_MAX, Point, Query};

use crate::cli::archive::Archive;
use crate::cli::context::Context;
use crate::cli::exit::{Exit, Failure};
use crate::cli::place::Place;
use crate::cli::records::PointRecord;
use crate::cli::{moment, shown};

/// Recovery points, newest first, with what each is worth.
#[derive(Args, Debug)]
pub(crate) struct Points {
    /// Show at most so many.
    #[arg(short = 'n', long, default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..))]
    limit: u32,
    /// Only points before this one, as @N.
    #[arg(long, value_name = "@POINT", value_parser = moment::parse_point)]
    before: Option<SequenceNumber>,
    /// Only checkpoints, however old.
    #[arg(long)]
    checkpoints: bool,
    /// Only crash-consistent ones: states that the disk really had.
    #[arg(long)]
    consistent: bool,
}

impl Points {
    pub(crate) async fn run(self, context: &Context) -> Result<Exit, Failure> {
        let config = context.config()?;
        let everything = Place::find(None, &config)?;
        let archives = Archive::holding(context, &config, &everything).await?;
        let mut records = Vec::new();
        for archive in &archives {
            if archives.len() > 1 {
                context.say(format_args!("{}:", archive.receiver))?;
            }
            for point in self.ask(archive).await? {
                context.say(line(&point))?;
                records.push(PointRecord::new(Some(&archive.receiver), &point));
            }
        }
        context.answer(&records)?;
        Ok(Exit::Done)
    }

    async fn ask(&self, archive: &Archive) -> Result<Vec<Point>, Failure> {
        let (mut kept, mut before) = (Vec::new(), self.before);
        while kept.len() < self.limit as usize {
            let query = Query::Points {
                before,
                limit: PAGE_ENTRIES_MAX as u32,
            };
            let (Answer::Points(points), _) = archive.ask(query).await? else {
                return Err(archive.mismatch());
            };
            let Some(last) = points.last() else { break };
            before = Some(last.sequence);
            let wanted = |point: &Point| {
                (!self.checkpoints || point.checkpoint.is_some())
                    && (!self.consistent || point.kind.is_consistent())
            };
            kept.extend(points.into_iter().filter(wanted));
        }
        kept.truncate(self.limit as usize);
        Ok(kept)
    }
}

fn line(point: &Point) -> String {
    let name = point
        .checkpoint
        .as_ref()
        .map(|name| format!("  {}", shown::path(name.as_bytes())));
    let why = point.kind.why();
    let why = why.map(|why| format!(": {}", shown::path(why.as_bytes())));
    format!(
        "{}  @{:<8} {}{}{}",
        shown::cut_time(point.time),
        point.sequence.0,
        point.kind.name(),
        why.unwrap_or_default(),
        name.unwrap_or_default()
    )
}

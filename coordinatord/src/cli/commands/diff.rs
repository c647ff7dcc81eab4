//! `everwrite diff PATH --at TIME`.

use std::path::PathBuf;

use clap::Args;
use everwrite_protocol::control::PathText;
use everwrite_protocol::ids::SequenceNumber;
use everwrite_protocol::wire::{Kind, TreeEntry};
use serde::Serialize;
use similar::TextDiff;

use crate::cli::archive::{Archive, child};
use crate::cli::content::Content;
use crate::cli::context::Context;
use crate::cli::exit::{Exit, Failure};
use crate::cli::history_diff::{Change, Listing, changes};
use crate::cli::moment::{self, Moment};
use crate::cli::output::print;
use crate::cli::place::Place;
use crate::cli::shown;

/// What changed since some moment; of one text file: which lines. Exit code 1: something did.
#[derive(Args, Debug)]
pub(crate) struct Diff {
    /// Local path, or ROOT:path.
    path: PathBuf,
    /// Since when: RFC 3339, `10m ago`, `yesterday 14:00`, @POINT or a checkpoint.
    #[arg(long, value_name = "TIME", value_parser = moment::parse)]
    at: Moment,
    /// Until when; the newest recovery point when not given.
    #[arg(long, value_name = "TIME", value_parser = moment::parse)]
    until: Option<Moment>,
}

/// Longest text that is compared line by line.
const TEXT_BYTES_MAX: u64 = 1 << 20;
/// Unchanged lines shown round a change.
const CONTEXT_LINES: usize = 3;

/// One line of `--json`.
#[derive(Serialize)]
struct Record {
    path: PathText,
    change: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    from: Option<PathText>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    what: Vec<&'static str>,
}

/// One receiver between two points.
struct Between {
    archive: Archive,
    from: SequenceNumber,
    until: SequenceNumber,
}

impl Diff {
    pub(crate) async fn run(self, context: &Context) -> Result<Exit, Failure> {
        let config = context.config()?;
        let place = Place::find(Some(&self.path), &config)?;
        let archive = Archive::of(context, &config, &place).await?;
        let from = archive.resolve(self.at.at()).await?.sequence;
        let until = archive
            .resolve(Moment::or_newest(self.until))
            .await?
            .sequence;
        let between = Between {
            archive,
            from,
            until,
        };
        let old = between.archive.stat(&place.path, from).await?;
        let new = between.archive.stat(&place.path, until).await?;
        if let (Some(old), Some(new)) = (&old, &new)
            && let Some(exit) = between.lines(context, &place.path, old, new).await?
        {
            return Ok(exit);
        }
        if old.is_none() && new.is_none() {
            let path = shown::path(&place.path);
            let message = format!("{path}: nothing was there, neither then nor now");
            return Err(Failure::negative(
                message,
                "`everwrite log PATH` shows when it was there",
            ));
        }
        let found = between.trees(&place.path, old, new).await?;
        report(context, &found)?;
        Ok(Exit::answer(found.is_empty()))
    }
}

impl Between {
    /// Two versions of one small text, line by line; `None`: it is something else.
    async fn lines(
        &self,
        context: &Context,
        path: &[u8],
        old: &TreeEntry,
        new: &TreeEntry,
    ) -> Result<Option<Exit>, Failure> {
        let small = |entry: &TreeEntry| {
            entry.attributes.kind == Kind::Regular && entry.attributes.size <= TEXT_BYTES_MAX
        };
        if context.json || !small(old) || !small(new) {
            return Ok(None);
        }
        let before = self.read(old, self.from).await?;
        let after = self.read(new, self.until).await?;
        let (Some(before), Some(after)) = (text(&before), text(&after)) else {
            return Ok(None);
        };
        if before == after {
            return Ok(None);
        }
        let name = |at: SequenceNumber| format!("{}@{}", shown::path(path), at.0);
        let diff = TextDiff::from_lines(before, after);
        let mut unified = diff.unified_diff();
        let unified = unified.context_radius(CONTEXT_LINES);
        print(unified.header(&name(self.from), &name(self.until)))?;
        Ok(Some(Exit::Negative))
    }

    async fn trees(
        &self,
        path: &[u8],
        old: Option<TreeEntry>,
        new: Option<TreeEntry>,
    ) -> Result<Vec<(Vec<u8>, Change)>, Failure> {
        let old = self.walk(path, old, self.from).await?;
        let new = self.walk(path, new, self.until).await?;
        let mut found = Vec::new();
        for (path, change) in changes(&old, &new) {
            match change {
                Change::Modified {
                    mut what,
                    compare: true,
                } => {
                    if !self.same_content(&old[&path], &new[&path]).await? {
                        what.insert(0, "content");
                    }
                    if !what.is_empty() {
                        found.push((
                            path,
                            Change::Modified {
                                what,
                                compare: false,
                            },
                        ));
                    }
                }
                change => found.push((path, change)),
            }
        }
        Ok(found)
    }

    /// Everything at and below `path`.
    async fn walk(
        &self,
        path: &[u8],
        top: Option<TreeEntry>,
        at: SequenceNumber,
    ) -> Result<Listing, Failure> {
        let mut listing = Listing::new();
        let mut waiting: Vec<_> = top
            .into_iter()
            .map(|entry| (path.to_owned(), entry))
            .collect();
        while let Some((path, entry)) = waiting.pop() {
            if entry.attributes.kind == Kind::Directory {
                let below = self.archive.list(&path, at).await?;
                let below = below.into_iter();
                waiting.extend(below.map(|entry| (child(&path, entry.name.as_bytes()), entry)));
            }
            listing.insert(path, entry);
        }
        Ok(listing)
    }

    async fn same_content(&self, old: &TreeEntry, new: &TreeEntry) -> Result<bool, Failure> {
        Ok(self.digest(old, self.from).await? == self.digest(new, self.until).await?)
    }

    async fn digest(&self, entry: &TreeEntry, at: SequenceNumber) -> Result<blake3::Hash, Failure> {
        let mut digest = blake3::Hasher::new();
        self.copy(entry, at, &mut digest).await?;
        Ok(digest.finalize())
    }

    async fn read(&self, entry: &TreeEntry, at: SequenceNumber) -> Result<Vec<u8>, Failure> {
        let mut bytes = Vec::new();
        self.copy(entry, at, &mut bytes).await?;
        Ok(bytes)
    }

    async fn copy(
        &self,
        entry: &TreeEntry,
        at: SequenceNumber,
        to: &mut impl std::io::Write,
    ) -> Result<(), Failure> {
        let mut content = Content::of(&self.archive, entry.file, at);
        while let Some(piece) = content.next().await? {
            piece
                .write_to(to)
                .map_err(|error| Failure::negative(error.to_string(), ""))?;
        }
        Ok(())
    }
}

/// `None`: not a text.
fn text(bytes: &[u8]) -> Option<&str> {
    std::str::from_utf8(bytes)
        .ok()
        .filter(|text| !text.contains('\0'))
}

fn report(context: &Context, found: &[(Vec<u8>, Change)]) -> Result<(), Failure> {
    for (path, change) in found {
        let path = shown::path(path);
        match change {
            Change::Added => context.say(format_args!("A  {path}")),
            Change::Removed => context.say(format_args!("D  {path}")),
            Change::Renamed { from } => {
                context.say(format_args!("R  {} -> {path}", shown::path(from)))
            }
            Change::Modified { what, .. } => {
                context.say(format_args!("M  {path} ({})", what.join(", ")))
            }
        }?;
    }
    context.answer(&found.iter().map(record).collect::<Vec<_>>())
}

fn record((path, change): &(Vec<u8>, Change)) -> Record {
    let (word, from, what) = match change {
        Change::Added => ("added", None, Vec::new()),
        Change::Removed => ("removed", None, Vec::new()),
        Change::Renamed { from } => ("renamed", Some(PathText::from_bytes(from)), Vec::new()),
        Change::Modified { what, .. } => ("modified", None, what.clone()),
    };
    Record {
        path: PathText::from_bytes(path),
        change: word,
        from,
        what,
    }
}

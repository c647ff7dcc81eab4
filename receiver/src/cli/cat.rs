//! `everwrite-receiver cat PATH --at TIME`.

use std::io::Write;
use std::path::PathBuf;

use clap::Args;
use everwrite_protocol::control::PathText;
use everwrite_protocol::wire::{Kind, Point, TreeEntry};
use serde::Serialize;

use super::archive::Archive;
use super::place;
use super::store::SourceOptions;
use crate::answers::exit::{Exit, Failure};
use crate::answers::moment::{self, Moment};
use crate::answers::output::output_failed;
use crate::answers::shown;

/// Write a file's content as of some moment to standard output
#[derive(Args, Debug)]
pub(super) struct Cat {
    /// ROOT/a/b
    path: PathBuf,
    /// When: RFC 3339, `10m ago`, `yesterday 14:00`, @POINT or a checkpoint; newest when not given
    #[arg(long, value_name = "TIME", value_parser = moment::parse)]
    at: Option<Moment>,
    #[command(flatten)]
    pub(super) source: SourceOptions,
}

/// `--json`.
#[derive(Serialize)]
struct Content {
    path: PathText,
    point: u64,
    size: u64,
    /// Text where it is UTF-8, otherwise hexadecimal digits.
    content: PathText,
}

impl Cat {
    pub(super) fn run(self) -> Result<Exit, Failure> {
        let path = place::parse(Some(&self.path))?;
        let archive = Archive::open(&self.source)?;
        let point = archive.resolve(Moment::or_newest(self.at.clone()))?;
        let entry = archive.existing(&path, &point)?;
        if entry.attributes.kind != Kind::Regular {
            let (path, kind) = (shown::path(&path), shown::kind(entry.attributes.kind));
            return Err(Failure::usage(
                format!("{path} was a {kind}"),
                "`everwrite-receiver ls` lists it",
            ));
        }
        match self.source.json() {
            true => self.as_json(&archive, &path, &entry, &point)?,
            false => {
                let mut out = std::io::stdout().lock();
                write_to(&mut out, &archive, &entry, &point)?;
                out.flush().map_err(|error| output_failed(&error))?;
            }
        }
        Ok(Exit::Done)
    }

    fn as_json(
        &self,
        archive: &Archive,
        path: &[u8],
        entry: &TreeEntry,
        point: &Point,
    ) -> Result<(), Failure> {
        let mut content = Vec::new();
        write_to(&mut content, archive, entry, point)?;
        self.source.output().answer(&Content {
            path: PathText::from_bytes(path),
            point: point.sequence.0,
            size: content.len() as u64,
            content: PathText::from_bytes(&content),
        })
    }
}

/// Piece by piece, however large the file is.
fn write_to(
    out: &mut impl Write,
    archive: &Archive,
    entry: &TreeEntry,
    point: &Point,
) -> Result<(), Failure> {
    let mut offset = 0;
    loop {
        let piece = archive
            .asked()
            .read(entry.file, point.sequence, offset)
            .map_err(|error| archive.unanswered(&error))?;
        piece.write_to(out).map_err(|error| output_failed(&error))?;
        if piece.is_last() {
            return Ok(());
        }
        offset = piece.end();
    }
}

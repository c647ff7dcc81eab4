//! `everwrite-receiver verify`.

use clap::Args;
use everwrite_protocol::control::PathText;
use serde::Serialize;

use super::archive::{Archive, failed};
use super::store::SourceOptions;
use crate::answers::exit::{Exit, Failure};
use crate::answers::shown;
use crate::verify::{self, Difference, Part, Report};

/// Check the log's checksums, and the mirror against catalog and log
#[derive(Args, Debug)]
pub(super) struct Verify {
    #[command(flatten)]
    pub(super) source: SourceOptions,
}

/// `--json`.
#[derive(Serialize)]
struct Answer {
    source: String,
    frames: u64,
    files: u64,
    bytes_compared: u64,
    /// Content that came by a copy at the source: the log does not tell it.
    bytes_untold: u64,
    /// Files with attributes that the store's user may not set.
    unset: u64,
    differences: Vec<DifferenceRecord>,
}

#[derive(Serialize)]
struct DifferenceRecord {
    part: &'static str,
    path: PathText,
    what: String,
}

impl Verify {
    pub(super) fn run(self) -> Result<Exit, Failure> {
        let archive = Archive::open(&self.source)?;
        let report = verify::verify(&archive.layout).map_err(|error| failed(&error))?;
        let output = self.source.output();
        for found in &report.differences {
            let path = shown::path(&found.path);
            output.say(format_args!(
                "{:<7} {path}: {}",
                part(found.part),
                found.what
            ))?;
        }
        output.say(summary(&report))?;
        if !report.differences.is_empty() {
            output.note(
                "keep the store as it is; `restore` of other paths and moments may still be right: \
                 it reads back what it writes",
            );
        }
        let exit = Exit::answer(report.differences.is_empty());
        output.answer(&Answer::new(archive.source.id.to_string(), report))?;
        Ok(exit)
    }
}

fn part(part: Part) -> &'static str {
    match part {
        Part::Log => "log",
        Part::Mirror => "mirror",
    }
}

fn summary(report: &Report) -> String {
    let untold = match report.bytes_untold {
        0 => String::new(),
        bytes => format!(
            " ({} came by copies and can't be told)",
            shown::bytes(bytes)
        ),
    };
    let unset = match report.unset {
        0 => String::new(),
        files => format!(
            "; {} files have attributes only in the catalog",
            shown::count(files)
        ),
    };
    format!(
        "{} differences; {} frames of the log, {} paths, {} of content compared{untold}{unset}",
        shown::count(report.differences.len() as u64),
        shown::count(report.frames),
        shown::count(report.files),
        shown::bytes(report.bytes_compared)
    )
}

impl Answer {
    fn new(source: String, report: Report) -> Self {
        let record = |found: Difference| DifferenceRecord {
            part: part(found.part),
            path: PathText::from_bytes(&found.path),
            what: found.what,
        };
        Self {
            source,
            frames: report.frames,
            files: report.files,
            bytes_compared: report.bytes_compared,
            bytes_untold: report.bytes_untold,
            unset: report.unset,
            differences: report.differences.into_iter().map(record).collect(),
        }
    }
}

//! The plan of a window, computed from the state before it and its batches. No input or output but
//! the questions to [`Before`]: the same question always gets the same plan, so that a plan can be
//! computed again after a crash and carried on.

mod batch;
mod batch_end;
pub mod before;
pub mod content;
mod outcome;
pub mod rows;
pub mod steps;
mod view;

use std::collections::BTreeMap;

use everwrite_protocol::ids::{FileId, SequenceNumber};

use batch::{BatchRun, Progress};
use before::{Before, Placed, WindowBatch};
use content::{Content, Superseded};
use outcome::{End, Outcome};
use rows::Rows;
use steps::Steps;
use view::{FileView, Life, View};

use crate::log::StoredCut;

/// What the catalog has to know of a file anew.
#[derive(Clone, Debug)]
pub struct FileChange {
    /// The file.
    pub file: FileId,
    /// The batch that created it, if it was created in the window.
    pub born: Option<SequenceNumber>,
    /// The batch in which it died, if it died in the window.
    pub dead: Option<SequenceNumber>,
    /// Where it is now; `None`: it is to be forgotten.
    pub placed: Option<Placed>,
    /// Its content, where the window touched it.
    pub content: Option<Content>,
}

/// A plan.
#[derive(Debug)]
pub struct Plan {
    /// The cuts of its batches.
    pub cuts: Vec<StoredCut>,
    /// What to do to the mirror.
    pub steps: Steps,
    /// What to add to the catalog.
    pub rows: Rows,
    /// What to add to the history. The pieces placed `Before` are the needs for pre-images, in order.
    pub superseded: Vec<Superseded>,
    /// Files that changed.
    pub files: Vec<FileChange>,
    /// The highest id that the window used; 0: it created nothing.
    pub highest_file: FileId,
}

/// Computes the plan of `window`, whose first batch may have copies, the others not.
pub fn plan<B: Before>(before: &B, window: &[WindowBatch]) -> Result<Plan, B::Error> {
    let view = View::new(before);
    let mut progress = Progress {
        view,
        rows: Rows::default(),
        superseded: Vec::new(),
    };
    for batch in window {
        BatchRun::run(&mut progress, batch)?;
    }
    let (steps, ends) = Outcome::of(&mut progress.view, &progress.superseded)?;
    let Progress {
        view,
        mut rows,
        mut superseded,
    } = progress;
    let dropped = |file: FileId| ends.get(&file) == Some(&End::Dropped);
    rows.forget(dropped);
    superseded.retain(|row| !dropped(row.file));
    Ok(Plan {
        cuts: window.iter().map(|batch| batch.cut.clone()).collect(),
        steps,
        rows,
        superseded,
        highest_file: view.highest_file(),
        files: changes(view.into_files(), &ends),
    })
}

fn changes(files: BTreeMap<FileId, FileView>, ends: &BTreeMap<FileId, End>) -> Vec<FileChange> {
    let changed = files
        .into_iter()
        .filter_map(|(file, view)| Some((file, view, ends.get(&file)?)));
    changed
        .filter(|(_, view, end)| **end != End::Dropped || view.before.is_some())
        .map(|(file, view, end)| FileChange {
            file,
            born: view.born,
            dead: match view.life {
                Life::Dead(sequence) => Some(sequence),
                _ => None,
            },
            placed: match end {
                End::Placed(placed) => Some(*placed),
                End::Dropped => None,
            },
            content: view.content,
        })
        .collect()
}

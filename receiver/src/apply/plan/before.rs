//! What a plan is computed from: the state before the window, and the window's batches.

use everwrite_protocol::ids::{FileId, Name};
use everwrite_protocol::wire::{Attributes, Part};

use super::content::ContentBefore;
use crate::log::{FramePosition, StoredCut};

/// Where a file's bytes are when no name leads to them, or that a name does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Placed {
    /// Its names lead to it: in the mirror, or below a directory that is itself staged or kept.
    Named,
    /// In `staging/`: it never had a name.
    Staged,
    /// In `objects/`: dead, the inode kept.
    Object,
    /// Dead; its bytes (if it had any) are all in the log.
    Log,
}

/// A file before the window.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FileBefore {
    /// All but content and names.
    pub attributes: Attributes,
    /// Where it is.
    pub placed: Placed,
}

/// The state before a window: the catalog, or a table in a test.
pub trait Before: ContentBefore {
    /// A file; `None`: there is none by this id.
    fn file(&self, file: FileId) -> Result<Option<FileBefore>, Self::Error>;
    /// Its names, the oldest first.
    fn names(&self, file: FileId) -> Result<Vec<(FileId, Name)>, Self::Error>;
    /// Who has this name.
    fn child(&self, parent: FileId, name: &Name) -> Result<Option<FileId>, Self::Error>;
    /// How many names a directory holds.
    fn children(&self, parent: FileId) -> Result<u64, Self::Error>;
    /// Ids above this were never used.
    fn highest_file(&self) -> FileId;
}

/// A part of a batch, and the frame that holds its payload.
#[derive(Clone, Debug)]
pub struct WindowPart {
    /// The part.
    pub part: Part,
    /// Its frame in the log.
    pub frame: FramePosition,
}

/// A batch of a window.
#[derive(Clone, Debug)]
pub struct WindowBatch {
    /// How it ended.
    pub cut: StoredCut,
    /// Its parts, in order.
    pub parts: Vec<WindowPart>,
}

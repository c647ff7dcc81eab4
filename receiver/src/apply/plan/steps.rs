//! What the mirror has to go through, as values.
//!
//! Phases, each of which can be done again after a crash at any byte:
//!
//! - P0 [`Build`]: files made of other files' bytes are put together in `staging/`, while those bytes
//!   are still as before the window;
//! - P1 [`Detach`]: closed names, the deepest first;
//! - P2 [`Arrive`]: directories (parents first), then files, get to their places;
//! - P3, P4: content and attributes of each file, directories' attributes last.

use std::collections::HashMap;

use everwrite_protocol::ids::{FileId, Name};
use everwrite_protocol::wire::Attributes;

use super::content::Piece;

/// Where an inode is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Home {
    /// Under this name in a directory.
    In(FileId, Name),
    /// In `staging/`, by its id.
    Staging,
    /// In `objects/`, by its id.
    Object,
}

/// Where each directory is that a step speaks of (and each file that bytes are taken from).
/// [`FileId::TOP`] is the mirror itself.
pub type Homes = HashMap<FileId, Home>;

/// A file put together in `staging/` before anything is changed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Build {
    /// The file.
    pub file: FileId,
    /// Its content.
    pub content: Whole,
}

/// The whole content of a new file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Whole {
    /// Bytes.
    pub size: u64,
    /// What is not zeros, in order.
    pub pieces: Vec<Piece>,
}

/// Where the inode of a closed name goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fate {
    /// Nowhere: other names hold it, or nothing of it is needed.
    Unlink,
    /// Nowhere: an empty directory.
    RemoveDirectory,
    /// To `staging/`: it gets another name.
    Staging,
    /// To `objects/`: it is dead and kept.
    Object,
}

/// A name taken away.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Detach {
    /// Whose inode.
    pub file: FileId,
    /// Where it is: a name, or `staging/`.
    pub from: Home,
    /// Where it goes.
    pub fate: Fate,
}

/// How an inode comes to its home.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Arrive {
    /// It is made there.
    Create,
    /// It comes from `staging/`.
    FromStaging,
    /// It is there.
    Stay,
}

/// What to do to the content of a file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ContentStep {
    /// Nothing.
    None,
    /// All of it is new.
    Whole(Whole),
    /// Some of it is new.
    Patch {
        /// Cut to this first, if it is smaller.
        low_water: u64,
        /// Then make it this long.
        size: u64,
        /// What is new, zeros too, in order.
        pieces: Vec<Piece>,
    },
}

/// A file or directory that the window touched.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FileStep {
    /// The file.
    pub file: FileId,
    /// Where it is at the end of the window.
    pub home: Home,
    /// How it gets there.
    pub arrive: Arrive,
    /// Further names it gets.
    pub links: Vec<(FileId, Name)>,
    /// Content.
    pub content: ContentStep,
    /// All but content and names.
    pub attributes: Attributes,
    /// They have to be set.
    pub set_attributes: bool,
}

/// All steps of a window.
#[derive(Debug, Default)]
pub struct Steps {
    /// Where directories, and files that bytes are taken from, are before the window.
    pub homes_before: Homes,
    /// Where directories are after it.
    pub homes_after: Homes,
    /// P0.
    pub builds: Vec<Build>,
    /// P1, in this order.
    pub detaches: Vec<Detach>,
    /// P2 and P4 of directories, parents first.
    pub directories: Vec<FileStep>,
    /// P2 to P4 of everything else.
    pub files: Vec<FileStep>,
    /// Directories whose entries changed: they get their recorded times back.
    pub stirred: Vec<(FileId, Attributes)>,
}

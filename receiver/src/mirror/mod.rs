//! The plain files: a source's mirror, and beside it what is staged and what is kept of the dead.
//!
//! Nothing here takes a path from a peer. A place is a directory's descriptor and one checked name;
//! every opening is `openat2(2)` beneath that directory, through no link of any kind.

mod attributes;
mod beneath;
mod content;
mod directories;
mod layout;

pub use attributes::{Node, Privileges, Unset, read_attributes, set_attributes, set_modified};
pub use beneath::{is_absent, open_directory, open_file, open_node};
pub use content::{copy_range, data_ranges, punch, read_at, write_at};
pub use directories::{Directories, Homing, Spot};
pub use layout::{Layout, SourceDirectory};

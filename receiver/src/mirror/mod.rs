//! The plain files: opened beneath a directory through no link, content in ranges, attributes.

mod attributes;
mod beneath;
mod content;

pub use attributes::{Node, Privileges, Unset, read_attributes, set_attributes, set_modified};
pub use beneath::{open_directory, open_file, open_node};
pub use content::{copy_range, data_ranges, punch, read_at, write_at};

//! Compares what a store holds of a source with what it should hold.
//!
//! The log by its checksums and its chain; the mirror by names, attributes and content against the
//! catalog. Content is told by the log, which still has all bytes that came over the wire; what came
//! by a copy from another file is not in it and can't be told ([`Report::bytes_untold`]). Nothing is
//! changed. It works beside a writer: everything is compared within a shared hold of the apply lock,
//! piece by piece.

mod attributes;
mod content;
mod log;
mod mirror;

pub use attributes::differences;

use crate::mirror::Layout;
use crate::store::StoreError;

/// Which part of a store.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Part {
    /// The log; paths are below the store's directory of the source.
    Log,
    /// The mirror; paths are names joined by slashes, the root's first.
    Mirror,
}

/// Something that is not as it should be.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Difference {
    /// Where it belongs to.
    pub part: Part,
    /// Path there.
    pub path: Vec<u8>,
    /// In words.
    pub what: String,
}

/// What was compared, and what was found.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Report {
    /// Frames of the log whose checksums were looked at.
    pub frames: u64,
    /// Names in the mirror that were compared.
    pub files: u64,
    /// Bytes of content that were compared.
    pub bytes_compared: u64,
    /// Bytes of content that the log does not tell.
    pub bytes_untold: u64,
    /// Files with attributes that the user of the store may not set; the catalog has them.
    pub unset: u64,
    /// All that is wrong.
    pub differences: Vec<Difference>,
}

impl Report {
    fn differs(&mut self, part: Part, path: &[u8], what: impl Into<String>) {
        let (path, what) = (path.to_owned(), what.into());
        self.differences.push(Difference { part, path, what });
    }
}

/// Looks at everything. An error means that looking was not possible.
pub fn verify(layout: &Layout) -> Result<Report, StoreError> {
    let mut report = Report::default();
    log::verify(layout, &mut report)?;
    mirror::verify(layout, &mut report)?;
    Ok(report)
}

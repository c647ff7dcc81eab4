//! A base for a large new file: what it is probably a new version of.
//!
//! Most programs save by writing a temporary file beside the old one and renaming it over. Sent
//! before the rename, the temporary file would travel whole; against its sibling only the difference
//! does. A wrong guess costs a comparison, nothing else.

use anyhow::Result;
use everwrite_protocol::ids::{FileId, Name};

use super::Round;
use super::names::{At, Why};
use crate::index::FileRow;
use crate::look::Stat;

/// Smaller files are not worth a comparison.
const SIZE_MIN: u64 = 1 << 20;
/// Names of a directory that are looked through.
const NAMES_MAX: usize = 2000;

impl Round<'_> {
    /// A sibling of the file `stat` that it may be a new version of. Only for hinted files: a scan
    /// meets files in no order that would tell anything.
    pub(super) fn sibling(
        &self,
        at: &At<'_>,
        name: &Name,
        stat: &Stat,
        own: Option<FileId>,
        why: Why,
    ) -> Result<Option<FileRow>> {
        if stat.size < SIZE_MIN || !why.mark.sources.announced() {
            return Ok(None);
        }
        // The new file may still be growing.
        let sizes = (stat.size / 2, u64::MAX);
        let mut siblings = self
            .state
            .index
            .regular_files_in(at.file, sizes, NAMES_MAX)?;
        siblings.retain(|(_, row)| Some(row.id) != own && row.inode != stat.inode && !row.staged);
        Ok(pick(name, stat.size, siblings))
    }
}

/// The best guess: a name within the other, else nearly the same size.
fn pick(name: &Name, size: u64, siblings: Vec<(Name, FileRow)>) -> Option<FileRow> {
    let near = |row: &FileRow| row.size.abs_diff(size) <= size / 100;
    let candidates = siblings
        .into_iter()
        .filter(|(other, row)| is_related(name, other) || near(row));
    let best =
        candidates.min_by_key(|(other, row)| (!is_related(name, other), row.size.abs_diff(size)));
    best.map(|(_, row)| row)
}

/// `notes.txt` and `.notes.txt.Xa3f`, `notes.txt~`, `#notes.txt#`, `notes.txt.tmp`.
fn is_related(name: &Name, other: &Name) -> bool {
    let (name, other) = (name.as_bytes(), other.as_bytes());
    let holds = |long: &[u8], short: &[u8]| {
        short.len() >= 2 && long.windows(short.len()).any(|window| window == short)
    };
    holds(name, other) || holds(other, name)
}

#[cfg(test)]
mod tests {
    use everwrite_protocol::ids::Timestamp;
    use everwrite_protocol::local::Inode;
    use everwrite_protocol::wire::Kind;

    use super::*;

    fn sibling(text: &str, id: u64, size: u64) -> (Name, FileRow) {
        let row = FileRow {
            id: FileId(id),
            inode: Inode {
                device: 1,
                inode: id,
            },
            birth: 0,
            kind: Kind::Regular,
            size,
            modified: Timestamp(0),
            changed: Timestamp(0),
            digest: [0; 16],
            staged: false,
        };
        (Name::new(text).unwrap(), row)
    }

    fn picked(text: &str, size: u64, siblings: &[(&str, u64)]) -> Option<usize> {
        let rows = siblings.iter().enumerate();
        let rows = rows
            .map(|(at, (name, size))| sibling(name, at as u64, *size))
            .collect();
        pick(&Name::new(text).unwrap(), size, rows).map(|row| row.id.0 as usize)
    }

    #[test]
    fn a_related_name_comes_first_then_nearly_the_same_size() {
        assert_eq!(
            picked(".a.txt.Xy3", 1000, &[("b", 1000), ("a.txt", 700)]),
            Some(1)
        );
        assert_eq!(
            picked("sedGh5k2", 1000, &[("b", 500), ("c", 1001)]),
            Some(1)
        );
        assert_eq!(picked("other", 1000, &[("b", 500), ("c", 1500)]), None);
    }
}

//! What a name's two sides, disk and index, mean together. Pure.

use everwrite_protocol::ids::FileId;
use everwrite_protocol::wire::Kind;

use super::stat::Stat;
use crate::index::FileRow;

/// What is to be done about a name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NameVerdict {
    /// Neither disk nor index has it.
    Nothing,
    /// Both have it, and mean the same file.
    Same(FileId),
    /// The index has it from a rebuild, without knowing the inode: bind it.
    Adopt(FileId),
    /// The disk has it no more.
    Gone(FileId),
    /// The disk has a file under it that the index knows under another name.
    Moved {
        /// That file.
        file: FileId,
        /// Whose name it was.
        replaced: Option<FileId>,
    },
    /// The disk has a file that the index does not know.
    New {
        /// Whose name it was.
        replaced: Option<FileId>,
    },
}

/// `indexed`: the file of that name in the index; `found`: what the disk has there; `known`: the file
/// that the index knows by the inode found, which need not be looked for where the two are [the same](is_same).
pub fn decide_name(
    indexed: Option<&FileRow>,
    found: Option<&Stat>,
    known: Option<&FileRow>,
) -> NameVerdict {
    match (indexed, found) {
        (None, None) => NameVerdict::Nothing,
        (Some(row), None) => NameVerdict::Gone(row.id),
        (Some(row), Some(stat)) if is_same(row, stat) => NameVerdict::Same(row.id),
        (Some(row), Some(stat)) if !row.is_bound() && known.is_none() && may_adopt(row, stat) => {
            NameVerdict::Adopt(row.id)
        }
        (_, Some(stat)) => {
            let replaced = indexed.map(|row| row.id);
            match known.filter(|row| is_same(row, stat) && Some(row.id) != replaced) {
                Some(row) => NameVerdict::Moved {
                    file: row.id,
                    replaced,
                },
                None => NameVerdict::New { replaced },
            }
        }
    }
}

/// A link's target, or a device's number, can't be changed: another one is another file, and which one the
/// receiver has is not known here.
fn may_adopt(row: &FileRow, stat: &Stat) -> bool {
    let changeable = [Kind::Regular, Kind::Directory, Kind::Fifo, Kind::Socket];
    row.kind == stat.kind && changeable.contains(&stat.kind)
}

/// Are the row and what was found the same file?
pub fn is_same(row: &FileRow, stat: &Stat) -> bool {
    stat.is_file(row.inode, row.birth) && row.kind == stat.kind
}

#[cfg(test)]
mod tests {
    use everwrite_protocol::ids::Timestamp;
    use everwrite_protocol::local::Inode;

    use super::*;

    fn row(id: u64, inode: u64, birth: u64) -> FileRow {
        FileRow {
            id: FileId(id),
            inode: Inode { device: 1, inode },
            birth,
            kind: Kind::Regular,
            size: 0,
            modified: Timestamp(0),
            changed: Timestamp(0),
            digest: [0; 16],
            staged: false,
        }
    }

    fn stat(inode: u64, birth: u64) -> Stat {
        Stat {
            inode: Inode { device: 1, inode },
            birth,
            kind: Kind::Regular,
            mode: 0,
            uid: 0,
            gid: 0,
            size: 0,
            allocated: 0,
            modified: Timestamp(0),
            changed: Timestamp(0),
            device_number: 0,
            links: 1,
        }
    }

    #[test]
    fn every_pair_of_sides() {
        let (a, b, mut unbound) = (row(1, 10, 5), row(2, 20, 5), row(3, 3, 0));
        unbound.inode.device = 0;
        let kind = Kind::Symlink;
        let (unbound_link, link) = (
            FileRow {
                kind,
                ..unbound.clone()
            },
            Stat {
                kind,
                ..stat(10, 5)
            },
        );
        let one = Some(FileId(1));
        let cases = [
            (None, None, None, NameVerdict::Nothing),
            (Some(&a), None, None, NameVerdict::Gone(FileId(1))),
            (
                Some(&a),
                Some(stat(10, 5)),
                Some(&a),
                NameVerdict::Same(FileId(1)),
            ),
            // What the inode is known as was not even looked for.
            (
                Some(&a),
                Some(stat(10, 5)),
                None,
                NameVerdict::Same(FileId(1)),
            ),
            (
                None,
                Some(stat(10, 5)),
                Some(&a),
                NameVerdict::Moved {
                    file: FileId(1),
                    replaced: None,
                },
            ),
            (
                Some(&a),
                Some(stat(20, 5)),
                Some(&b),
                NameVerdict::Moved {
                    file: FileId(2),
                    replaced: one,
                },
            ),
            (
                None,
                Some(stat(30, 5)),
                None,
                NameVerdict::New { replaced: None },
            ),
            (
                Some(&a),
                Some(stat(30, 5)),
                None,
                NameVerdict::New { replaced: one },
            ),
            // The inode number was reused: another birth, another file.
            (
                Some(&a),
                Some(stat(10, 6)),
                Some(&a),
                NameVerdict::New { replaced: one },
            ),
            // A file system without birth times: the number has to do.
            (
                Some(&a),
                Some(stat(10, 0)),
                Some(&a),
                NameVerdict::Same(FileId(1)),
            ),
            (
                Some(&unbound),
                Some(stat(10, 5)),
                None,
                NameVerdict::Adopt(FileId(3)),
            ),
            (
                Some(&unbound_link),
                Some(link),
                None,
                NameVerdict::New {
                    replaced: Some(FileId(3)),
                },
            ),
            (
                Some(&unbound),
                Some(stat(10, 5)),
                Some(&a),
                NameVerdict::Moved {
                    file: FileId(1),
                    replaced: Some(FileId(3)),
                },
            ),
        ];
        for (indexed, found, known, expected) in cases {
            assert_eq!(
                decide_name(indexed, found.as_ref(), known),
                expected,
                "{indexed:?} {found:?}"
            );
        }
    }
}

//! A change that a round found.

use std::path::PathBuf;

use everwrite_protocol::control::{GapCause, MissCause};
use everwrite_protocol::ids::{Name, Timestamp};
use everwrite_protocol::local::Inode;

use crate::index::FileRow;
use crate::intake::{OriginId, Sources};
use crate::look::Stat;

/// A file or a name that was not as the index had it: commands were made for it.
#[derive(Clone, Debug)]
pub struct Change {
    /// The file.
    pub file: Inode,
    /// The directory and the name, where it is the name that changed.
    pub name: Option<(Inode, Name)>,
    /// Who did it.
    pub origin: OriginId,
    /// Who had told of it when it was found.
    pub sources: Sources,
    /// What is known of it, if nobody had.
    pub suspect: Option<Suspect>,
}

/// What might be a miss.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Suspect {
    /// Absolute path.
    pub path: PathBuf,
    /// Size as found, or before, if it is gone.
    pub size: u64,
    /// What it looks like.
    pub cause: MissCause,
}

/// Content that was told of and was gone before it could be read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Gap {
    /// Absolute path.
    pub path: PathBuf,
    /// How it came.
    pub cause: GapCause,
}

/// The two sides of a change that nobody announced.
#[derive(Clone, Copy, Debug)]
pub struct Look<'l> {
    /// What the index had of the file.
    pub before: Option<&'l FileRow>,
    /// What is there.
    pub now: Option<&'l Stat>,
    /// The name is new for it.
    pub named: bool,
    /// It is known to be mapped shared and writable.
    pub mapped: bool,
    /// When the last scan that ended had begun.
    pub scanned: Option<Timestamp>,
}

/// What it was, as far as the two sides tell.
pub fn suspected_cause(look: Look<'_>) -> MissCause {
    match (look.before, look.now) {
        (_, None) => MissCause::Removed,
        (Some(_), Some(_)) if look.named => MissCause::Renamed,
        (None, Some(now)) if is_older(now, look.scanned) => MissCause::MovedIn,
        (None, Some(_)) => MissCause::Created,
        (Some(_), Some(_)) if look.mapped => MissCause::Mapped,
        (Some(before), Some(now)) => content_cause(before, now),
    }
}

/// Was it there, somewhere, before a scan that did not find it?
fn is_older(now: &Stat, scanned: Option<Timestamp>) -> bool {
    now.birth != 0 && scanned.is_some_and(|scanned| now.birth.cast_signed() < scanned.0)
}

fn content_cause(before: &FileRow, now: &Stat) -> MissCause {
    if now.modified < before.modified {
        MissCause::TimesSetBack
    } else if now.modified == before.modified && now.size == before.size {
        MissCause::Attributes
    } else {
        MissCause::Written
    }
}

#[cfg(test)]
mod tests {
    use everwrite_protocol::ids::FileId;
    use everwrite_protocol::wire::Kind;

    use super::*;

    fn stat(birth: u64, modified: i64, size: u64) -> Stat {
        Stat {
            inode: Inode {
                device: 1,
                inode: 1,
            },
            birth,
            kind: Kind::Regular,
            mode: 0,
            uid: 0,
            gid: 0,
            size,
            allocated: 0,
            modified: Timestamp(modified),
            changed: Timestamp(modified),
            device_number: 0,
            links: 1,
        }
    }

    #[test]
    fn only_what_the_two_sides_tell_is_said() {
        let known = FileRow::of(FileId(1), &stat(5, 100, 10), [0; 16], false);
        let cases = [
            (true, None, false, false, MissCause::Removed),
            (false, Some(stat(5, 9, 1)), true, false, MissCause::MovedIn),
            (false, Some(stat(60, 9, 1)), true, false, MissCause::Created),
            (false, Some(stat(0, 9, 1)), true, false, MissCause::Created),
            (
                true,
                Some(stat(5, 100, 10)),
                true,
                false,
                MissCause::Renamed,
            ),
            (
                true,
                Some(stat(5, 100, 10)),
                false,
                false,
                MissCause::Attributes,
            ),
            (
                true,
                Some(stat(5, 99, 10)),
                false,
                false,
                MissCause::TimesSetBack,
            ),
            (
                true,
                Some(stat(5, 101, 10)),
                false,
                false,
                MissCause::Written,
            ),
            (
                true,
                Some(stat(5, 100, 11)),
                false,
                false,
                MissCause::Written,
            ),
            (true, Some(stat(5, 101, 10)), false, true, MissCause::Mapped),
        ];
        for (before, now, named, mapped, expected) in cases {
            let look = Look {
                before: before.then_some(&known),
                now: now.as_ref(),
                named,
                mapped,
                scanned: Some(Timestamp(50)),
            };
            assert_eq!(suspected_cause(look), expected, "{look:?}");
        }
        let first = Look {
            before: None,
            now: Some(&stat(5, 9, 1)),
            named: true,
            mapped: false,
            scanned: None,
        };
        assert_eq!(suspected_cause(first), MissCause::Created, "no scan before");
    }
}

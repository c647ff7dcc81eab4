//! What a file's times tell of its content, and what they don't. Pure.

use everwrite_protocol::ids::Timestamp;

use crate::index::FileRow;
use crate::look::Stat;
use crate::queue::DirtyFile;

const SECOND_NS: i64 = 1_000_000_000;
/// Grain of times without nanoseconds: FAT counts in steps of two seconds.
const COARSE_GRAIN_NS: i64 = 2 * SECOND_NS;
/// A time this far ahead is of another clock, and tells nothing about this moment.
const AHEAD_MAX_NS: i64 = 10 * SECOND_NS;
/// Known files larger than this are compared by digests, so that looking costs reading and no sending.
const DIGEST_BYTES_MIN: u64 = 128 << 10;

/// Does it look as if content had changed? What was announced would have been announced as written: then a
/// write moves the time of content on, and the other with it, and what sets only one of them (chmod, rename),
/// or sets the first back (utimes), leaves content alone. What a scan finds was announced by nobody; programs
/// write and then set the time of content to what they like (`cp -p`), even to what it was. There any other
/// time of content is reason enough; the other time alone only where looking is cheap for what it is.
pub(super) fn looks_written(row: &FileRow, stat: &Stat, found_by_scan: bool) -> bool {
    let moved = row.modified != stat.modified;
    let moved_on = moved && (stat.modified > row.modified || stat.modified == stat.changed);
    let touched = !row.is_unproven() && row.changed != stat.changed && stat.size > DIGEST_BYTES_MIN;
    row.size != stat.size || moved_on || found_by_scan && (moved || touched)
}

/// Could it be written to after a look without showing it? `tick` is the clock by which file systems set times,
/// read before the look: a write within the same tick, or grain, sets the same time again. (Since Linux 6.13
/// most file systems give a time that was looked at only once; then this is hardly ever so.)
pub(super) fn is_racy(stat: &Stat, tick: Timestamp) -> bool {
    let whole_seconds = stat.changed.0 % SECOND_NS == 0;
    let grain = if whole_seconds { COARSE_GRAIN_NS } else { 0 };
    let ahead = stat.changed.0.saturating_sub(tick.0);
    (-grain..AHEAD_MAX_NS).contains(&ahead)
}

/// Was the file changed since its first part was read, and nobody announced it? What was read then
/// may be out of date.
pub(super) fn changed_in_between(entry: &DirtyFile, stat: &Stat) -> bool {
    entry.next.is_none() && entry.begun.is_some_and(|changed| changed != stat.changed)
}

#[cfg(test)]
mod tests {
    use everwrite_protocol::ids::FileId;
    use everwrite_protocol::local::Inode;
    use everwrite_protocol::wire::Kind;

    use super::*;

    fn stat(modified: i64, changed: i64, size: u64) -> Stat {
        Stat {
            inode: Inode {
                device: 1,
                inode: 1,
            },
            birth: 0,
            kind: Kind::Regular,
            mode: 0,
            uid: 0,
            gid: 0,
            size,
            allocated: 0,
            modified: Timestamp(modified),
            changed: Timestamp(changed),
            device_number: 0,
            links: 1,
        }
    }

    #[test]
    fn what_looks_like_a_write() {
        let big = DIGEST_BYTES_MIN + 1;
        let cases = [
            ("chmod", stat(5, 9, 10), (false, false)),
            ("chmod of a large file", stat(5, 9, big), (false, true)),
            ("untouched", stat(5, 5, big), (false, false)),
            ("utimes to the past", stat(2, 9, 10), (false, true)),
            ("written", stat(9, 9, 10), (true, true)),
            ("written, then chmod", stat(8, 9, 10), (true, true)),
        ];
        for (what, now, (announced, found)) in cases {
            let row = FileRow::of(FileId(1), &stat(5, 5, now.size), [0; 16], false);
            assert_eq!(looks_written(&row, &now, false), announced, "{what}");
            assert_eq!(looks_written(&row, &now, true), found, "{what}, by a scan");
            let shorter = Stat { size: 3, ..now };
            assert!(
                looks_written(&row, &shorter, false),
                "{what}, and another size"
            );
        }
    }

    #[test]
    fn a_time_is_racy_while_another_write_could_set_it_again() {
        let tick = Timestamp(1000 * SECOND_NS + 4_000_000);
        let cases = [
            (tick.0 - 1, false, "an earlier tick"),
            (tick.0, true, "this tick"),
            (tick.0 + 900, true, "a finer clock within this tick"),
            (1000 * SECOND_NS, true, "whole seconds, this one"),
            (998 * SECOND_NS, false, "whole seconds, an earlier one"),
            (tick.0 + 3600 * SECOND_NS, false, "the future"),
        ];
        for (changed, racy, what) in cases {
            assert_eq!(is_racy(&stat(0, changed, 1), tick), racy, "{what}");
        }
    }
}

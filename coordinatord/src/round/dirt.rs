//! What is dirty about a file, by what hints, index and disk say together. Pure, save that the young are told by
//! the clock.

use std::time::Duration;

use super::times::{is_racy, looks_written};
use crate::clock::wall_clock;
use crate::index::FileRow;
use crate::intake::Source;
use crate::look::Stat;
use crate::queue::{Dirt, DirtyFile, Mark};
use crate::read::OpenContent;

/// Files up to this size are sent whole when it is not known what changed (one question to the
/// receiver would cost as much).
pub(super) const ASK_BYTES_MIN: u64 = 128 << 10;
/// A larger file of which only a part was told is not compared while somebody waits for the scan, but by the next
/// one in the background.
const PROOF_IN_A_HURRY_BYTES_MAX: u64 = 16 << 20;
/// A file of at least this size that was mostly rewritten is compared with the receiver's copy.
const REWRITTEN_BYTES_MIN: u64 = 1 << 20;
/// A file that is older is not thought to be in the making any more.
const YOUNG: Duration = Duration::from_secs(60);
/// It must have grown by one part in so many to be compared again.
const GROWN_PART: u64 = 8;

/// May what was read be out of date already, and nothing show it? What somebody announces is announced again
/// when it is written again.
pub(super) fn hides_writes(content: &OpenContent, mark: Mark) -> bool {
    mark.sources.has(Source::Scan) && is_racy(&content.stat, content.tick)
}

/// Is it a young file that goes on growing, as one that will replace another does? Comparing reads all
/// of it, so it must have grown by a good part: then all comparisons together read a few times its size.
pub(super) fn is_being_made(row: &FileRow, stat: &Stat) -> bool {
    let age = wall_clock().0.saturating_sub(stat.birth.cast_signed());
    let grown = stat.size.saturating_sub(row.size);
    (0..YOUNG.as_nanos() as i64).contains(&age)
        && grown >= REWRITTEN_BYTES_MIN
        && grown >= stat.size / GROWN_PART
}

/// Is most of a large file dirty?
pub(super) fn is_heavy(dirt: &Dirt, row: &FileRow, stat: &Stat) -> bool {
    let size = stat.size.max(row.size);
    let dirty = if dirt.whole {
        size
    } else {
        dirt.ranges.bytes(size)
    };
    dirty >= REWRITTEN_BYTES_MIN && dirty * 2 > size
}

/// Is most of a file dirty of which the receiver has an older, large version?
fn is_rewritten(dirt: &Dirt, row: &FileRow, stat: &Stat) -> bool {
    row.size >= REWRITTEN_BYTES_MIN && is_heavy(dirt, row, stat)
}

/// Why what is announced of a file may not be all.
#[derive(Clone, Copy, Default)]
pub(super) struct Doubt {
    /// Nobody listened for a while, and the file has not been compared since.
    pub(super) unheard: bool,
    /// Not every writer is heard.
    pub(super) others: bool,
    /// Somebody waits for the scan that compares it.
    pub(super) in_a_hurry: bool,
}

/// Turns what the hints and the two sides say into ranges, where that is possible. A row is suspect
/// while the file is half sent; that is no reason to begin anew. What is announced of a file that is
/// doubted does not tell all of it.
pub(super) fn widen(entry: &mut DirtyFile, row: &FileRow, stat: &Stat, doubt: Doubt) {
    let dirt = &mut entry.dirt;
    let told = !dirt.ranges.is_empty() || dirt.appended || dirt.whole;
    let announced = entry.begun.is_some() || told && !doubt.unheard;
    let fresh = !row.staged && entry.begun.is_none();
    let suspect = row.is_suspect() && fresh;
    let scanned = entry.mark.sources.has(Source::Scan);
    let affordable = !doubt.in_a_hurry || stat.size <= PROOF_IN_A_HURRY_BYTES_MAX;
    let hidden = row.is_unproven() || told && doubt.others && row.changed != stat.changed;
    let unproven = hidden && fresh && scanned && affordable;
    let by_scan = scanned || doubt.unheard;
    dirt.whole |= suspect || unproven || !announced && looks_written(row, stat, by_scan);
    if stat.size > row.size {
        dirt.ranges.add(row.size, u64::MAX);
    }
}

/// Is less looked at than all of the file?
pub(super) fn is_told_in_part(dirt: &Dirt, stat: &Stat) -> bool {
    !dirt.whole && stat.size > 0 && !dirt.ranges.contains(0, stat.size)
}

pub(super) fn wants_comparison(entry: &DirtyFile, row: &FileRow, stat: &Stat) -> bool {
    let whole = entry.dirt.whole && stat.size.max(row.size) > ASK_BYTES_MIN;
    let rewritten = entry.begun.is_none() && is_rewritten(&entry.dirt, row, stat);
    !row.staged && (whole || rewritten)
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use everwrite_protocol::ids::{FileId, Timestamp};
    use everwrite_protocol::local::Inode;
    use everwrite_protocol::wire::Kind;

    use super::*;
    use crate::index::{SUSPECT, UNPROVEN};
    use crate::intake::OriginId;
    use crate::queue::Ticket;

    fn stat(size: u64) -> Stat {
        let inode = Inode {
            device: 1,
            inode: 1,
        };
        Stat {
            inode,
            birth: 0,
            kind: Kind::Regular,
            mode: 0,
            uid: 0,
            gid: 0,
            size,
            allocated: 0,
            modified: Timestamp(0),
            changed: Timestamp(0),
            device_number: 0,
            links: 1,
        }
    }

    #[test]
    fn a_file_in_the_making_is_young_and_grows_by_a_good_part() {
        let now = wall_clock().0.cast_unsigned();
        let born = |birth, size| Stat {
            birth,
            ..stat(size)
        };
        let row = |size| FileRow::of(FileId(1), &stat(size), [0; 16], false);
        let cases = [
            (now, 40 << 20, 50 << 20, true),
            (now, 100 << 20, 101 << 20, false),
            (now, 100, 200, false),
            (now - 2 * YOUNG.as_nanos() as u64, 40 << 20, 50 << 20, false),
            (0, 40 << 20, 50 << 20, false),
        ];
        for (birth, before, size, expected) in cases {
            let made = is_being_made(&row(before), &born(birth, size));
            assert_eq!(made, expected, "from {before} to {size}, born {birth}");
        }
    }

    /// Dirty from 4 MiB on.
    fn entry(begun: Option<Timestamp>, source: Source) -> DirtyFile {
        let mark = Mark {
            ticket: Ticket(1),
            since: Instant::now(),
            origin: OriginId::SCAN,
            sources: source.into(),
        };
        let mut dirt = Dirt::default();
        dirt.ranges.add(4 << 20, u64::MAX);
        DirtyFile {
            dirt,
            begun,
            ..DirtyFile::new(mark)
        }
    }

    #[test]
    fn what_is_told_of_a_doubted_file_is_not_all() {
        let row = FileRow::of(FileId(1), &stat(10 << 20), [0; 16], false);
        let written = Stat {
            modified: Timestamp(row.modified.0 + 1),
            changed: Timestamp(row.changed.0 + 1),
            ..stat(10 << 20)
        };
        for (unheard, begun, whole) in [
            (false, None, false),
            (true, None, true),
            (true, Some(written.changed), false),
        ] {
            let mut entry = entry(begun, Source::Shim);
            let doubt = Doubt {
                unheard,
                ..Doubt::default()
            };
            widen(&mut entry, &row, &written, doubt);
            assert_eq!(entry.dirt.whole, whole, "{unheard} {begun:?}");
        }
    }

    #[test]
    fn what_was_told_in_part_is_compared_by_scans() {
        let large = PROOF_IN_A_HURRY_BYTES_MAX + 1;
        let cases = [
            (Source::Shim, 10 << 20, false, false),
            (Source::Scan, 10 << 20, false, true),
            (Source::Scan, 10 << 20, true, true),
            (Source::Scan, large, true, false),
            (Source::Scan, large, false, true),
        ];
        for (source, size, in_a_hurry, whole) in cases {
            let mut row = FileRow::of(FileId(1), &stat(size), [0; 16], false);
            row.changed = UNPROVEN;
            let mut entry = entry(None, source);
            let doubt = Doubt {
                in_a_hurry,
                ..Doubt::default()
            };
            widen(&mut entry, &row, &stat(size), doubt);
            assert_eq!(entry.dirt.whole, whole, "{source:?} {size} {in_a_hurry}");
        }
    }

    /// Its hint and the scan came together.
    #[test]
    fn what_is_told_while_a_scan_looks_is_not_all_where_others_are_not_heard() {
        let row = FileRow::of(FileId(1), &stat(10 << 20), [0; 16], false);
        let written = Stat {
            changed: Timestamp(row.changed.0 + 1),
            ..stat(10 << 20)
        };
        for (others, now, whole) in [
            (false, &written, false),
            (true, &written, true),
            (true, &stat(10 << 20), false),
        ] {
            let mut entry = entry(None, Source::Shim);
            entry.mark.sources = entry.mark.sources.and(Source::Scan);
            let doubt = Doubt {
                others,
                ..Doubt::default()
            };
            widen(&mut entry, &row, now, doubt);
            assert_eq!(entry.dirt.whole, whole, "{others}");
        }
    }

    #[test]
    fn a_part_is_less_than_the_file() {
        let mut dirt = Dirt::default();
        assert!(is_told_in_part(&dirt, &stat(100)));
        assert!(!is_told_in_part(&dirt, &stat(0)));
        dirt.ranges.add(0, 60);
        assert!(is_told_in_part(&dirt, &stat(100)));
        dirt.ranges.add(60, u64::MAX);
        assert!(!is_told_in_part(&dirt, &stat(100)));
        dirt = Dirt {
            whole: true,
            ..Dirt::default()
        };
        assert!(!is_told_in_part(&dirt, &stat(100)));
    }

    #[test]
    fn what_is_half_sent_is_not_begun_anew() {
        let stat = stat(10 << 20);
        let mut row = FileRow::of(FileId(1), &stat, [0; 16], false);
        row.changed = SUSPECT;
        for begun in [None, Some(stat.changed)] {
            let mut entry = entry(begun, Source::Scan);
            widen(&mut entry, &row, &stat, Doubt::default());
            assert_eq!(entry.dirt.whole, begun.is_none());
            assert_eq!(wants_comparison(&entry, &row, &stat), begun.is_none());
        }
        let mut entry = entry(Some(stat.changed), Source::Scan);
        entry.dirt.whole = true;
        assert!(
            wants_comparison(&entry, &row, &stat),
            "a new hint that says nothing of where"
        );
    }
}

//! Fsync points: consistent points at which every program that cares has just made durable what it wrote. Pure.
//!
//! A program cares when it has asked for durability (fsync(2), fdatasync(2), …) or moved into place what it wrote
//! (rename(2)). A consistent point is an fsync point when such a program did so since the point before, and none
//! of them has written anything by a call since it did so last. What programs write that never ask for durability
//! does not count, and neither do stores into mappings.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use crate::intake::{Hint, OriginId, What};

/// What was written is on the disk after so long, whoever asks: `vm.dirty_expire_centisecs`, proc_sys_vm(5).
const WRITTEN_BACK: Duration = Duration::from_secs(30);
/// Programs kept apart.
const PROGRAMS_MAX: usize = 4096;

/// One program.
#[derive(Debug, Default)]
struct Program {
    /// It has asked for durability.
    cares: bool,
    /// It did so since the point before, having written something.
    fresh: bool,
    /// When it last wrote, if it has not asked for durability since.
    unsynced: Option<Instant>,
}

impl Program {
    fn is_between(&self, now: Instant) -> bool {
        self.cares
            && self
                .unsynced
                .is_some_and(|at| now.duration_since(at) < WRITTEN_BACK)
    }
}

/// What is known of all programs.
#[derive(Debug, Default)]
pub(super) struct FsyncPoints {
    programs: HashMap<OriginId, Program>,
    /// When hints were lost, or there were too many programs to tell: any may have written something.
    unsure: Option<Instant>,
}

impl FsyncPoints {
    /// Hints have come, in the order of what they tell as far as there is one.
    pub(super) fn take(&mut self, hints: &[Hint], now: Instant) {
        let flushed = |hint: &Hint| match hint.what {
            What::Flush { file } => Some(file),
            _ => None,
        };
        let mapped: HashSet<_> = hints.iter().filter_map(flushed).collect();
        // Before anybody was heard there was nothing to lose: everything is looked at after a start, too.
        if !self.programs.is_empty() && hints.iter().any(Hint::tells_of_loss) {
            self.unsure = Some(now);
        }
        for hint in hints.iter().filter(|hint| hint.origin != OriginId::SCAN) {
            match hint.what {
                What::Write { file, .. } | What::Append { file, .. } | What::Whole { file, .. }
                    if !mapped.contains(&file) =>
                {
                    self.wrote(hint.origin, now);
                }
                What::Sync { .. } | What::Rename { .. } => self.synced(hint.origin),
                _ => {}
            }
        }
    }

    fn wrote(&mut self, program: OriginId, now: Instant) {
        if self.programs.len() >= PROGRAMS_MAX && !self.programs.contains_key(&program) {
            self.programs.clear();
            self.unsure = Some(now);
        }
        self.programs.entry(program).or_default().unsynced = Some(now);
    }

    /// Whoever asks for durability of nothing makes no point.
    fn synced(&mut self, program: OriginId) {
        if let Some(program) = self.programs.get_mut(&program) {
            program.cares = true;
            program.fresh |= program.unsynced.take().is_some();
        }
    }

    /// Would a consistent point be an fsync point now?
    pub(super) fn is_one(&self, now: Instant) -> bool {
        let unsure = self
            .unsure
            .is_some_and(|at| now.duration_since(at) < WRITTEN_BACK);
        !unsure && self.programs.values().any(|program| program.fresh) && !self.is_between(now)
    }

    /// Has a program that cares written something since it made durable what it wrote before?
    pub(super) fn is_between(&self, now: Instant) -> bool {
        self.programs
            .values()
            .any(|program| program.is_between(now))
    }

    /// A consistent point was made.
    pub(super) fn made(&mut self) {
        for program in self.programs.values_mut() {
            program.fresh = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use everwrite_protocol::ids::Name;
    use everwrite_protocol::local::Inode;

    use super::*;
    use crate::intake::Source;

    fn file(inode: u64) -> Inode {
        Inode { device: 1, inode }
    }

    fn hint(program: u32, what: What) -> Hint {
        Hint {
            origin: OriginId(program),
            source: Source::Shim,
            at: Instant::now(),
            what,
        }
    }

    fn write(program: u32, inode: u64) -> Hint {
        let file = file(inode);
        hint(program, What::Append { file, birth: 0 })
    }

    fn sync(program: u32) -> Hint {
        hint(program, What::Sync { file: file(1) })
    }

    #[test]
    fn a_point_after_the_last_sync_is_one() {
        let (mut points, now) = (FsyncPoints::default(), Instant::now());
        points.take(&[sync(1)], now);
        assert!(!points.is_one(now), "nothing was written");
        points.take(&[write(1, 1)], now);
        assert!(
            !points.is_one(now) && !points.is_between(now),
            "nobody cares"
        );
        points.take(&[sync(1)], now);
        assert!(points.is_one(now));
        points.take(&[write(1, 1)], now);
        assert!(!points.is_one(now) && points.is_between(now));
        points.take(&[sync(1)], now);
        points.made();
        assert!(!points.is_one(now), "that was named already");
    }

    #[test]
    fn all_that_care_count_and_nobody_else() {
        let (mut points, now) = (FsyncPoints::default(), Instant::now());
        points.take(
            &[write(1, 1), write(2, 2), write(3, 3), sync(1), sync(2)],
            now,
        );
        assert!(points.is_one(now), "3 never asked");
        points.take(&[write(2, 2)], now);
        assert!(!points.is_one(now), "2 is between");
        assert!(
            points.is_one(now + WRITTEN_BACK),
            "by now the kernel wrote it"
        );
        points.take(&[sync(2)], now);
        assert!(points.is_one(now));
    }

    #[test]
    fn what_is_moved_into_place_is_done_and_stores_into_mappings_are_no_writes() {
        let (mut points, now) = (FsyncPoints::default(), Instant::now());
        let name = || Name::new(b"name".to_vec()).unwrap();
        let renamed = hint(
            1,
            What::Rename {
                old_directory: file(9),
                old_name: name(),
                new_directory: file(9),
                new_name: name(),
            },
        );
        points.take(&[write(1, 1)], now);
        points.take(&[renamed], now);
        assert!(points.is_one(now));
        points.take(&[hint(0, What::Flush { file: file(2) }), write(1, 2)], now);
        assert!(points.is_one(now));
    }

    #[test]
    fn lost_hints_make_no_claim() {
        let (mut points, now) = (FsyncPoints::default(), Instant::now());
        let lost = || hint(1, What::Everything);
        points.take(&[lost()], now);
        points.take(&[write(1, 1), sync(1)], now);
        assert!(points.is_one(now), "nobody had been heard");
        points.take(&[lost()], now);
        assert!(!points.is_one(now), "who knows what was written");
        assert!(points.is_one(now + WRITTEN_BACK));
    }

    #[test]
    fn too_many_programs_make_no_claim() {
        let (mut points, now) = (FsyncPoints::default(), Instant::now());
        for program in 1..=PROGRAMS_MAX as u32 + 1 {
            points.take(&[write(program, 1)], now);
        }
        points.take(&[sync(PROGRAMS_MAX as u32 + 1)], now);
        assert!(points.programs.len() <= PROGRAMS_MAX && !points.is_one(now));
        assert!(points.is_one(now + WRITTEN_BACK));
    }
}

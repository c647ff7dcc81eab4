//! The brake on disasters: one process that deletes or overwrites much in a short time.
//!
//! `rm -rf` in the wrong place deletes, ransomware overwrites in place, or writes new files and
//! deletes the old; so both count alike, each file once. What a process wrote itself a moment ago is
//! no loss: compilers and package managers delete their own temporary files all day. `git checkout`
//! and `cargo clean` may look like a disaster; so nothing is halted, and it is only said where to go
//! back to.

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::time::{Duration, Instant};

use everwrite_protocol::ids::{FileId, SequenceNumber, Timestamp};

use crate::intake::OriginId;

/// Processes that are watched at once.
const RUNS_MAX: usize = 256;
/// Files of a process that are kept apart; beyond, a file may be counted twice.
const FILES_MAX: usize = 64 * 1024;
/// So much fewer files are enough when they are so many times the share of the root.
const SMALL_ROOT: (u64, u64) = (10, 3);

/// From where on it is a burst.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// At least so many files; 0: nothing is a burst.
    pub files: u64,
    /// And more than this part of the root's files, in percent.
    pub percent: u64,
    /// Within this time.
    pub window: Duration,
}

/// A file whose content is gone, save in the history.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Loss {
    /// Which.
    pub file: FileId,
    /// The root that it was in.
    pub root: FileId,
    /// Who did it.
    pub origin: OriginId,
    /// Deleted; otherwise overwritten or replaced.
    pub removed: bool,
    /// When it was made, nanoseconds since 1970; 0 when not known.
    pub birth: u64,
}

/// A process that may be up to something.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Suspected {
    /// Who.
    pub origin: OriginId,
    /// Where.
    pub root: FileId,
    /// Files deleted.
    pub removed: u64,
    /// Files overwritten or replaced.
    pub overwritten: u64,
    /// The first batch that holds any of it.
    pub first: SequenceNumber,
    /// It was found to be a burst before, under this number.
    pub raised: Option<u64>,
}

/// What each process has deleted or overwritten of late.
#[derive(Debug, Default)]
pub struct Bursts(HashMap<(OriginId, FileId), Run>);

#[derive(Debug)]
struct Run {
    files: HashSet<FileId>,
    removed: u64,
    overwritten: u64,
    /// The batches that hold them. Of a known burst, the first stands for all.
    batches: VecDeque<Losses>,
    /// Nobody is asked again before there are so many.
    ask_at: u64,
    raised: Option<u64>,
}

/// What of a process's losses one batch holds.
#[derive(Debug)]
struct Losses {
    at: Instant,
    sequence: SequenceNumber,
    removed: u64,
    overwritten: u64,
    files: Vec<FileId>,
}

impl Bursts {
    /// A batch holds these losses. Gives the processes that have come so far that it is worth
    /// counting the root's files.
    pub fn take(
        &mut self,
        losses: &[Loss],
        sequence: SequenceNumber,
        (now, wall): (Instant, Timestamp),
        limits: Limits,
    ) -> Vec<Suspected> {
        self.0.retain(|_, run| run.is_recent(now, limits.window));
        if limits.files == 0 {
            return Vec::new();
        }
        let mut touched = BTreeSet::new();
        for loss in losses
            .iter()
            .filter(|loss| !loss.is_young(wall, limits.window))
        {
            if self
                .run(loss)
                .is_some_and(|run| run.add(loss, sequence, now))
            {
                touched.insert((loss.origin, loss.root));
            }
        }
        let mut suspected = Vec::new();
        for key in touched {
            if let Some(run) = self.0.get_mut(&key) {
                run.forget_before(now, limits.window);
                suspected.extend(run.suspected(key, limits));
            }
        }
        suspected
    }

    /// It is a burst: all that follows belongs to it.
    pub fn raised(&mut self, suspected: &Suspected, number: u64) {
        if let Some(run) = self.0.get_mut(&(suspected.origin, suspected.root)) {
            run.raised = Some(number);
        }
    }

    /// It is none so far. It is looked at again when there are a good many more.
    pub fn declined(&mut self, suspected: &Suspected) {
        if let Some(run) = self.0.get_mut(&(suspected.origin, suspected.root)) {
            run.ask_at = run.count() + run.count() / 4;
        }
    }

    fn run(&mut self, loss: &Loss) -> Option<&mut Run> {
        let key = (loss.origin, loss.root);
        if self.0.len() >= RUNS_MAX && !self.0.contains_key(&key) {
            let least = self.0.iter().min_by_key(|(_, run)| run.count());
            let least = least.map(|(key, _)| *key)?;
            self.0.remove(&least);
        }
        Some(self.0.entry(key).or_insert_with(Run::new))
    }
}

impl Loss {
    fn is_young(&self, wall: Timestamp, window: Duration) -> bool {
        let age = wall.0.saturating_sub(self.birth.cast_signed());
        (0..window.as_nanos() as i64).contains(&age)
    }
}

impl Run {
    fn new() -> Self {
        Self {
            files: HashSet::new(),
            removed: 0,
            overwritten: 0,
            batches: VecDeque::new(),
            ask_at: 0,
            raised: None,
        }
    }

    fn count(&self) -> u64 {
        self.removed + self.overwritten
    }

    fn is_recent(&self, now: Instant, window: Duration) -> bool {
        let last = self.batches.back();
        last.is_some_and(|last| now.duration_since(last.at) < window)
    }

    /// False when the file was counted before.
    fn add(&mut self, loss: &Loss, sequence: SequenceNumber, now: Instant) -> bool {
        if self.files.contains(&loss.file) {
            return false;
        }
        let removed = u64::from(loss.removed);
        self.removed += removed;
        self.overwritten += 1 - removed;
        let kept = self.files.len() < FILES_MAX && self.files.insert(loss.file);
        let batch = self.batch(sequence, now);
        batch.at = now;
        batch.removed += removed;
        batch.overwritten += 1 - removed;
        batch.files.extend(kept.then_some(loss.file));
        true
    }

    fn batch(&mut self, sequence: SequenceNumber, now: Instant) -> &mut Losses {
        let is_open = |last: &Losses| self.raised.is_some() || last.sequence == sequence;
        if !self.batches.back().is_some_and(is_open) {
            self.batches.push_back(Losses {
                at: now,
                sequence,
                removed: 0,
                overwritten: 0,
                files: Vec::new(),
            });
        }
        let last = self.batches.len() - 1;
        &mut self.batches[last]
    }

    /// What lies before the window does not count any more, unless it is part of a known burst.
    fn forget_before(&mut self, now: Instant, window: Duration) {
        let old = |batch: &Losses| now.duration_since(batch.at) >= window;
        while self.raised.is_none() && self.batches.front().is_some_and(old) {
            let Some(batch) = self.batches.pop_front() else {
                return;
            };
            self.removed -= batch.removed;
            self.overwritten -= batch.overwritten;
            batch.files.iter().for_each(|file| {
                self.files.remove(file);
            });
        }
    }

    fn suspected(&self, key: (OriginId, FileId), limits: Limits) -> Option<Suspected> {
        let enough = self.count() >= (limits.files / SMALL_ROOT.0).max(1);
        let asked = self.raised.is_none() && self.count() < self.ask_at;
        (enough && !asked).then(|| Suspected {
            origin: key.0,
            root: key.1,
            removed: self.removed,
            overwritten: self.overwritten,
            first: self
                .batches
                .front()
                .map_or(SequenceNumber(0), |first| first.sequence),
            raised: self.raised,
        })
    }
}

impl Suspected {
    /// Is it a burst, in a root that had `files_before` files?
    pub fn is_burst(&self, files_before: u64, limits: Limits) -> bool {
        let lost = self.removed + self.overwritten;
        let reaches = |files: u64, percent: u64| {
            lost >= files && lost.saturating_mul(100) > files_before.saturating_mul(percent)
        };
        let (fewer, more) = SMALL_ROOT;
        limits.files > 0
            && (reaches(limits.files, limits.percent)
                || reaches(limits.files / fewer, limits.percent * more))
    }

    /// The last batch that holds nothing of it; `None` when it began with the first.
    pub fn point_before(&self) -> Option<SequenceNumber> {
        let before = self.first.0.saturating_sub(1);
        (before > 0).then_some(SequenceNumber(before))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits {
        files: 500,
        percent: 25,
        window: Duration::from_secs(60),
    };
    const PROCESS: OriginId = OriginId(3);
    const ROOT: FileId = FileId(1);

    fn loss(file: u64, removed: bool) -> Loss {
        Loss {
            file: FileId(file),
            root: ROOT,
            origin: PROCESS,
            removed,
            birth: 0,
        }
    }

    fn losses(files: std::ops::Range<u64>, removed: bool) -> Vec<Loss> {
        files.map(|file| loss(file, removed)).collect()
    }

    /// Batches of one second each, 100 files in each.
    fn run(bursts: &mut Bursts, batches: std::ops::Range<u64>, start: Instant) -> Vec<Suspected> {
        let batch = |number: u64| {
            let now = start + Duration::from_secs(number);
            let files = losses(number * 100..(number + 1) * 100, true);
            let taken = bursts.take(&files, SequenceNumber(10 + number), clocks(now), LIMITS);
            taken.first().copied()
        };
        batches.filter_map(batch).collect()
    }

    fn clocks(now: Instant) -> (Instant, Timestamp) {
        (now, Timestamp(1_000_000_000_000_000))
    }

    #[test]
    fn a_burst_names_the_point_before_its_first_file() {
        let mut bursts = Bursts::default();
        let suspected = run(&mut bursts, 0..6, Instant::now());
        let last = suspected[5];
        assert_eq!((last.removed, last.first), (600, SequenceNumber(10)));
        assert_eq!(last.point_before(), Some(SequenceNumber(9)));
        assert!(last.is_burst(2399, LIMITS) && !last.is_burst(2400, LIMITS));
        assert!(!suspected[3].is_burst(1000, LIMITS), "400 are not many");
        let first = Suspected {
            first: SequenceNumber(1),
            ..last
        };
        assert_eq!(first.point_before(), None);
    }

    #[test]
    fn in_a_small_root_fewer_are_enough_if_they_are_nearly_all() {
        let some = |removed, overwritten| Suspected {
            origin: PROCESS,
            root: ROOT,
            removed,
            overwritten,
            first: SequenceNumber(5),
            raised: None,
        };
        assert!(some(40, 40).is_burst(100, LIMITS));
        assert!(!some(40, 30).is_burst(100, LIMITS));
        assert!(!some(49, 0).is_burst(49, LIMITS));
        let off = Limits { files: 0, ..LIMITS };
        assert!(!some(1000, 0).is_burst(1000, off));
    }

    #[test]
    fn a_slow_process_is_none() {
        let (mut bursts, start) = (Bursts::default(), Instant::now());
        for number in 0..1000 {
            let now = start + Duration::from_secs(number);
            let taken = bursts.take(
                &losses(number * 7..number * 7 + 7, false),
                SequenceNumber(number + 1),
                clocks(now),
                LIMITS,
            );
            let most = taken.iter().map(|suspected| suspected.overwritten).max();
            assert!(most.unwrap_or(0) <= 60 * 7, "{taken:?}");
            if let Some(suspected) = taken.first() {
                assert!(suspected.first.0 + 60 > number, "the window moves on");
            }
        }
    }

    #[test]
    fn a_file_counts_once_and_a_young_one_not_at_all() {
        let (mut bursts, now) = (Bursts::default(), Instant::now());
        for number in 1..10 {
            let files = losses(0..60, false);
            let taken = bursts.take(&files, SequenceNumber(number), clocks(now), LIMITS);
            let counted: Vec<_> = taken
                .iter()
                .map(|suspected| suspected.overwritten)
                .collect();
            assert_eq!(counted, if number == 1 { vec![60] } else { vec![] });
        }
        let young = Loss {
            birth: clocks(now).1.0 as u64 - 1_000_000_000,
            ..loss(1000, true)
        };
        let young = vec![young; 1000];
        assert!(
            bursts
                .take(&young, SequenceNumber(11), clocks(now), LIMITS)
                .is_empty()
        );
    }

    #[test]
    fn what_follows_belongs_to_it_and_what_is_declined_is_not_asked_each_time() {
        let (mut bursts, start) = (Bursts::default(), Instant::now());
        let first = run(&mut bursts, 0..4, start);
        assert_eq!(first.len(), 4);
        bursts.declined(&first[3]);
        assert!(run(&mut bursts, 4..5, start)[0].removed >= 500);
        bursts.declined(&first[3]);
        assert!(
            run(&mut bursts, 5..6, start).is_empty(),
            "625 are not reached"
        );
        let later = run(&mut bursts, 6..7, start);
        bursts.raised(&later[0], 77);
        let much_later = run(&mut bursts, 7..120, start);
        let last = much_later.last().unwrap();
        assert_eq!((last.raised, last.removed), (Some(77), 12_000));
        assert_eq!(last.first, SequenceNumber(10));
    }

    #[test]
    fn each_process_is_counted_by_itself_and_their_number_is_bounded() {
        let (mut bursts, now) = (Bursts::default(), Instant::now());
        for process in 1..2000 {
            let origin = OriginId(process);
            let mut files = losses(0..40, true);
            files.iter_mut().for_each(|loss| loss.origin = origin);
            let taken = bursts.take(&files, SequenceNumber(2), clocks(now), LIMITS);
            assert!(taken.is_empty());
        }
        assert!(bursts.0.len() <= RUNS_MAX);
        let later = now + LIMITS.window;
        bursts.take(&[], SequenceNumber(3), clocks(later), LIMITS);
        assert!(bursts.0.is_empty(), "those at rest are forgotten");
    }
}

//! What of the account survives a restart.
//!
//! A file of its own beside the index, and not in it: the index is thrown away and rebuilt from the
//! receiver when it does not fit, and that is just when one wants to know what was missed. It is
//! replaced by rename, not fsynced: a power loss may take the last of it, which is a report about the
//! past and nothing that a backup depends on.

use std::collections::VecDeque;
use std::io;
use std::path::Path;

use everwrite_protocol::control::{Burst, CaptureGap, Miss};
use everwrite_protocol::ids::Timestamp;
use serde::{Deserialize, Serialize};

use super::periods::Periods;

/// Misses that are kept by name, and capture gaps.
const MISSES_MAX: usize = 500;
/// Bursts that are kept.
const BURSTS_MAX: usize = 100;
/// How long a miss, a gap or a burst is shown.
const DAY_NS: i64 = 24 * 60 * 60 * 1_000_000_000;

/// Counts of the last day, the last misses and the last bursts.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Kept {
    /// Changes by five minutes.
    pub periods: Periods,
    misses: VecDeque<Miss>,
    #[serde(default)]
    gaps: VecDeque<CaptureGap>,
    bursts: VecDeque<Burst>,
    last_burst: u64,
}

impl Kept {
    /// Reads the file; where there is none, nothing is kept yet.
    pub fn load(path: &Path) -> io::Result<Self> {
        match std::fs::read(path) {
            Ok(bytes) => Ok(serde_json::from_slice(&bytes)?),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(error),
        }
    }

    /// Replaces the file.
    pub fn save(&self, path: &Path) -> io::Result<()> {
        let temporary = path.with_extension("new");
        std::fs::write(&temporary, serde_json::to_vec(self)?)?;
        std::fs::rename(temporary, path)
    }

    /// One more; the oldest is forgotten when there are many.
    pub fn miss(&mut self, miss: Miss) {
        self.misses.push_back(miss);
        let surplus = self.misses.len().saturating_sub(MISSES_MAX);
        self.misses.drain(..surplus);
    }

    /// Something was gone before it could be read; the oldest is forgotten when there are many.
    pub fn gap(&mut self, gap: CaptureGap) {
        self.gaps.push_back(gap);
        let surplus = self.gaps.len().saturating_sub(MISSES_MAX);
        self.gaps.drain(..surplus);
    }

    /// The capture gaps of the last day, the newest first.
    pub fn gaps(&self, now: Timestamp) -> impl Iterator<Item = &CaptureGap> {
        let gaps = self.gaps.iter().rev();
        gaps.filter(move |gap| is_of_the_last_day(gap.at, now))
    }

    /// The last `count` misses, the newest first.
    pub fn last_misses(&self, count: u64) -> impl Iterator<Item = &Miss> {
        let count = usize::try_from(count).unwrap_or(usize::MAX);
        self.misses.iter().rev().take(count)
    }

    /// The misses of the last day, the newest first.
    pub fn misses(&self, now: Timestamp) -> impl Iterator<Item = &Miss> {
        let misses = self.misses.iter().rev();
        misses.filter(move |miss| is_of_the_last_day(miss.at, now))
    }

    /// A burst was noticed. Gives it its number.
    pub fn raise(&mut self, mut burst: Burst) -> u64 {
        self.last_burst += 1;
        burst.id = self.last_burst;
        self.bursts.push_back(burst);
        let surplus = self.bursts.len().saturating_sub(BURSTS_MAX);
        self.bursts.drain(..surplus);
        self.last_burst
    }

    /// It goes on.
    pub fn grow(&mut self, burst: u64, removed: u64, overwritten: u64) {
        let known = self.bursts.iter_mut().find(|known| known.id == burst);
        if let Some(known) = known {
            (known.removed, known.overwritten) = (removed, overwritten);
        }
    }

    /// Those of the last day that nobody has acknowledged, the newest first.
    pub fn bursts(&self, now: Timestamp) -> impl Iterator<Item = &Burst> {
        let bursts = self.bursts.iter().rev();
        bursts.filter(move |burst| !burst.acknowledged && is_of_the_last_day(burst.at, now))
    }

    /// Somebody has seen those that were noticed until then. Gives how many that makes.
    pub fn acknowledge(&mut self, until: Timestamp) -> u64 {
        let meant = |known: &&mut Burst| !known.acknowledged && known.at <= until;
        let meant = self.bursts.iter_mut().filter(meant);
        meant.map(|known| known.acknowledged = true).count() as u64
    }
}

fn is_of_the_last_day(at: Timestamp, now: Timestamp) -> bool {
    now.0.saturating_sub(at.0) < DAY_NS
}

#[cfg(test)]
mod tests {
    use everwrite_protocol::control::{GapCause, MissCause, PathText};
    use everwrite_protocol::ids::SequenceNumber;

    use super::*;
    use crate::intake::Source;

    fn miss(at: i64) -> Miss {
        Miss {
            at: Timestamp(at),
            path: PathText::from_bytes(b"/r/\xff"),
            size: 7,
            cause: MissCause::MovedIn,
            witness: false,
        }
    }

    fn gap(at: i64) -> CaptureGap {
        CaptureGap {
            at: Timestamp(at),
            path: PathText::from_bytes(b"/r/f"),
            cause: GapCause::Died,
        }
    }

    fn burst(at: i64) -> Burst {
        Burst {
            id: 0,
            at: Timestamp(at),
            root: "r".to_owned(),
            receiver: "attic".to_owned(),
            program: "rm".to_owned(),
            executable: "/bin/rm".to_owned(),
            pid: 5,
            uid: 0,
            removed: 600,
            overwritten: 0,
            files_before: 1000,
            point: Some(SequenceNumber(9)),
            acknowledged: false,
        }
    }

    #[test]
    fn what_is_saved_is_loaded() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("attic.json");
        assert_eq!(Kept::load(&path).unwrap(), Kept::default());
        let mut kept = Kept::default();
        kept.periods.count(Timestamp(1), Source::Scan.into());
        kept.miss(miss(1));
        kept.gap(gap(1));
        kept.raise(burst(1));
        kept.save(&path).unwrap();
        assert_eq!(Kept::load(&path).unwrap(), kept);
        std::fs::write(&path, "{").unwrap();
        assert!(Kept::load(&path).is_err(), "damage is told");
    }

    #[test]
    fn the_last_misses_of_the_last_day_are_kept() {
        let mut kept = Kept::default();
        (0..600).for_each(|at| kept.miss(miss(at)));
        let shown: Vec<_> = kept.misses(Timestamp(DAY_NS + 597)).collect();
        assert_eq!(shown, [&miss(599), &miss(598)]);
        assert_eq!(kept.misses(Timestamp(600)).count(), MISSES_MAX);
        let last: Vec<_> = kept.last_misses(1).collect();
        assert_eq!(last, [&miss(599)]);
    }

    #[test]
    fn the_last_gaps_of_the_last_day_are_kept() {
        let mut kept = Kept::default();
        (0..600).for_each(|at| kept.gap(gap(at)));
        let shown: Vec<_> = kept.gaps(Timestamp(DAY_NS + 597)).collect();
        assert_eq!(shown, [&gap(599), &gap(598)]);
        assert_eq!(kept.gaps(Timestamp(600)).count(), MISSES_MAX);
    }

    /// Before there were any in it.
    #[test]
    fn a_file_without_gaps_is_read() {
        let old = r#"{"periods": [], "misses": [], "bursts": [], "last_burst": 0}"#;
        assert_eq!(serde_json::from_str::<Kept>(old).unwrap(), Kept::default());
    }

    #[test]
    fn a_burst_is_shown_for_a_day_or_until_acknowledged() {
        let (mut kept, now) = (Kept::default(), Timestamp(100));
        let (first, second) = (kept.raise(burst(1)), kept.raise(burst(50)));
        kept.grow(first, 700, 3);
        let shown: Vec<_> = kept
            .bursts(now)
            .map(|burst| (burst.id, burst.removed))
            .collect();
        assert_eq!(shown, [(second, 600), (first, 700)]);
        assert_eq!(kept.acknowledge(Timestamp(0)), 0);
        assert_eq!(kept.acknowledge(Timestamp(49)), 1);
        let left: Vec<_> = kept.bursts(now).map(|burst| burst.id).collect();
        assert_eq!(left, [second]);
        assert_eq!(kept.bursts(Timestamp(DAY_NS + 50)).count(), 0);
        assert_eq!((kept.acknowledge(now), kept.acknowledge(now)), (1, 0));
    }
}

//! The account of one pipeline, put together.

use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use everwrite_protocol::control::{CaptureGap, Changes, Miss, PathText};
use everwrite_protocol::ids::Timestamp;
use everwrite_protocol::wire::Origin;

use super::{Bursts, Change, Gap, Kept, Processes, Programs, Suspect, Tally, count};

/// Counts alone are worth a write only so often.
const SAVE_EVERY: Duration = Duration::from_secs(60);

/// The account of one pipeline. See the module above.
pub struct Account {
    /// Changes that wait for the hints of their time.
    pub tally: Tally,
    /// What survives a restart.
    pub kept: Kept,
    /// Who deletes or overwrites much.
    pub bursts: Bursts,
    /// Who of them is one.
    pub processes: Processes,
    /// By program, since start.
    pub programs: Programs,
    /// Since start.
    pub changes: Changes,
    /// Contents that were gone before they could be read, since start.
    pub gaps: u64,
    file: PathBuf,
    /// Something is not in the file yet; and something that nobody should have to do without.
    unsaved: (bool, bool),
    saved: Instant,
}

impl Account {
    /// Goes on where the file ends. One that can't be read is told of and begun anew: no backup
    /// depends on it.
    pub fn open(file: PathBuf, now: Instant) -> Self {
        let kept = Kept::load(&file).unwrap_or_else(|error| {
            tracing::warn!(
                path = %file.display(), %error,
                "what was missed before can't be read; counting begins anew"
            );
            Kept::default()
        });
        Self {
            tally: Tally::default(),
            kept,
            bursts: Bursts::default(),
            processes: Processes::default(),
            programs: Programs::default(),
            changes: Changes::default(),
            gaps: 0,
            file,
            unsaved: (false, false),
            saved: now,
        }
    }

    /// Every source has had its chance to tell of it: counts it. Gives the miss, if it is one.
    pub fn count(
        &mut self,
        change: &Change,
        origin: &Origin,
        witness: bool,
        now: Timestamp,
    ) -> Option<Miss> {
        count(&mut self.changes, change.sources);
        self.kept.periods.count(now, change.sources);
        self.programs.count(origin, change.sources);
        self.unsaved.0 = true;
        let suspect = change.suspect.as_ref();
        let miss = suspect.filter(|_| !change.sources.announced())?;
        let miss = told(miss, witness, now);
        self.kept.miss(miss.clone());
        self.unsaved.1 = true;
        Some(miss)
    }

    /// Something was gone before it could be read.
    pub fn gap(&mut self, gap: &Gap, at: Timestamp) {
        let (path, cause) = (path_text(&gap.path), gap.cause);
        self.kept.gap(CaptureGap { at, path, cause });
        self.gaps += 1;
        self.unsaved.1 = true;
    }

    /// Something happened that is to be kept.
    pub fn touch(&mut self) {
        self.unsaved = (true, true);
    }

    /// Writes the file, at once if something else than counts is new.
    pub fn save_if_due(&mut self, now: Instant) {
        let (any, urgent) = self.unsaved;
        if urgent || any && now.duration_since(self.saved) >= SAVE_EVERY {
            self.saved = now;
            self.save();
        }
    }

    /// Writes the file.
    pub fn save(&mut self) {
        match self.kept.save(&self.file) {
            Ok(()) => self.unsaved = (false, false),
            Err(error) => {
                // It is tried again with the counts.
                self.unsaved.1 = false;
                tracing::warn!(
                    path = %self.file.display(), %error,
                    "what was missed can't be written down: make room, or make it writable"
                );
            }
        }
    }
}

fn told(suspect: &Suspect, witness: bool, at: Timestamp) -> Miss {
    Miss {
        at,
        path: path_text(&suspect.path),
        size: suspect.size,
        cause: suspect.cause,
        witness,
    }
}

fn path_text(path: &Path) -> PathText {
    PathText::from_bytes(path.as_os_str().as_bytes())
}

#[cfg(test)]
mod tests {
    use everwrite_protocol::control::MissCause;
    use everwrite_protocol::local::Inode;

    use super::*;
    use crate::intake::{OriginId, Source};

    fn change(source: Source) -> Change {
        let suspect = Suspect {
            path: "/r/f".into(),
            size: 3,
            cause: MissCause::Written,
        };
        Change {
            file: Inode {
                device: 1,
                inode: 1,
            },
            name: None,
            origin: OriginId::SCAN,
            sources: source.into(),
            suspect: Some(suspect),
        }
    }

    fn nobody() -> Origin {
        Origin {
            pid: 0,
            uid: 0,
            started_ticks: 0,
            program: String::new(),
            executable: String::new(),
            cgroup: String::new(),
        }
    }

    #[test]
    fn a_miss_is_kept_over_a_restart_and_what_was_announced_late_is_none() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("a.json");
        let (now, wall) = (Instant::now(), Timestamp(1));
        let mut account = Account::open(file.clone(), now);
        let late = account.count(&change(Source::Kernel), &nobody(), true, wall);
        assert_eq!(late, None);
        account.save_if_due(now);
        assert!(!file.exists(), "a count can wait");
        let miss = account.count(&change(Source::Scan), &nobody(), true, wall);
        assert!(
            miss.unwrap()
                .suspicion()
                .contains("neither shim nor witness")
        );
        account.save_if_due(now);
        let again = Account::open(file.clone(), now);
        assert_eq!(again.kept, account.kept);
        assert_eq!(again.kept.misses(wall).count(), 1);
        assert_eq!(again.kept.periods.lately(wall).day.all(), 2);
        assert_eq!(again.changes.all(), 0, "since start");

        std::fs::write(&file, "damaged").unwrap();
        assert_eq!(Account::open(file, now).kept, Kept::default());
    }
}

//! A protected tree with programs at work in it.

use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::{Duration, SystemTime};

use harness::{Pair, Place, Receiver, try_wait_for};

use crate::notes::Nanoseconds;
use crate::points::Points;

/// Longest time from a coordinator's start to that scan.
const LATE_SCAN: Duration = Duration::from_secs(4);

/// A protected tree, and a directory outside of it for what the writers note.
pub(crate) struct Scene {
    pub(crate) pair: Pair,
    pub(crate) notes: PathBuf,
}

impl Scene {
    /// With a tree that `fill` fills before it is protected.
    #[track_caller]
    pub(crate) fn new(fill: impl FnOnce(&Path)) -> Self {
        let place = Place::new();
        let notes = place.directory("notes");
        let receiver = Receiver::start(&place, "store");
        let pair = Pair::start_between(place, receiver, "", fill);
        pair.source.settle();
        wait_for_late_scan(&pair);
        Self { pair, notes }
    }

    /// Python in the tree, under the shim: `program` with these arguments.
    pub(crate) fn python(&self, program: &str, arguments: &[String]) -> Command {
        let mut command = self.pair.source.command();
        command
            .args(["run", "--", "python3", "-c", program])
            .args(arguments)
            .current_dir(&self.pair.tree);
        command
    }

    /// Where a writer notes what it did.
    pub(crate) fn notes_of(&self, writer: u64) -> PathBuf {
        self.notes.join(format!("writer-{writer}"))
    }

    /// Runs all of them at the same time to their ends; gives the points that were made meanwhile.
    #[track_caller]
    pub(crate) fn points_during(&self, commands: Vec<Command>) -> Points {
        let from = wall_clock();
        let running: Vec<Child> = commands
            .into_iter()
            .map(|mut command| command.spawn().expect("start a writer"))
            .collect();
        for mut child in running {
            let status = child.wait().expect("status of a writer");
            assert!(status.success(), "a writer ended: {status}");
        }
        let to = wall_clock();
        self.pair.source.settle();
        Points::between(&self.pair, from, to)
    }
}

/// Soon after its start a coordinator looks at everything once more, for programs that began before it. While
/// it does, and under load that may take seconds, no point is consistent.
fn wait_for_late_scan(pair: &Pair) {
    let last = || pair.source.status().capture.scan.last_at;
    let before = last();
    // Where it comes earlier there is nothing to wait for.
    let _ = try_wait_for(LATE_SCAN, || (last() != before).then_some(()));
}

/// What the writers' clocks say.
pub(crate) fn wall_clock() -> Nanoseconds {
    let time = SystemTime::UNIX_EPOCH.elapsed().expect("a time after 1970");
    i64::try_from(time.as_nanos()).expect("a time within 300 years")
}

/// How long and how hard programs work, and how many points are judged.
#[derive(Clone, Copy)]
pub(crate) struct Load {
    /// So long.
    pub(crate) seconds: u32,
    /// Longest time that a writer rests between two transactions. A coordinator that is built for debugging
    /// has to keep up, beside other tests on the same machine.
    pub(crate) rest_ms: u32,
}

impl Load {
    /// As the environment says.
    pub(crate) fn wanted() -> Self {
        let number = |name: &str, usual| {
            let given = std::env::var(name).ok();
            given.map_or(usual, |text| text.parse().expect("a number"))
        };
        Self {
            seconds: number("EVERWRITE_LOAD_S", if at_length() { 60 } else { 8 }),
            rest_ms: number("EVERWRITE_REST_MS", 20),
        }
    }
}

/// Whether tests may take their time.
pub(crate) fn at_length() -> bool {
    std::env::var_os("EVERWRITE_DATABASES").is_some()
}

//! What goes wrong.

use std::time::Duration;

use harness::Seed;

use super::world::World;
use super::writers::Writers;

/// Longest time that something is wrong.
const WRONG_MAX: Duration = Duration::from_millis(1500);
/// A line so slow that batches wait for one another.
const SLOW_BYTES_PER_SECOND: u32 = 200_000;

/// One thing that goes wrong, and is mended.
#[derive(Clone, Copy, Debug)]
pub(super) enum Fault {
    KillCoordinator,
    KillReceiver,
    KillBoth,
    KillWriter,
    Cut,
    CutInTheMiddle,
    Hold,
    Slow,
    FullDisk,
    SwitchOff,
    MoveClock,
}

const ALL: [Fault; 11] = [
    Fault::KillCoordinator,
    Fault::KillReceiver,
    Fault::KillBoth,
    Fault::KillWriter,
    Fault::Cut,
    Fault::CutInTheMiddle,
    Fault::Hold,
    Fault::Slow,
    Fault::FullDisk,
    Fault::SwitchOff,
    Fault::MoveClock,
];

/// The one that comes next.
pub(super) fn next(seed: &Seed) -> Fault {
    ALL[seed.below(ALL.len() as u64) as usize]
}

impl Fault {
    /// Lets it happen for a while. Some are left for the next fault, or for the end of the round, to mend.
    pub(super) fn happen(self, world: &mut World, writers: &mut Writers) {
        println!("{self:?}");
        self.begin(world, writers);
        world.seed().moment(WRONG_MAX);
        if world.seed().below(4) > 0 {
            world.mend();
        }
    }

    fn begin(self, world: &mut World, writers: &mut Writers) {
        match self {
            Self::KillCoordinator => world.kill_source(),
            Self::KillReceiver => world.kill_receiver(),
            Self::KillBoth => {
                world.kill_receiver();
                world.kill_source();
            }
            Self::KillWriter => writers.kill_one(world),
            Self::Cut => world.proxy.cut(),
            Self::CutInTheMiddle => world.proxy.cut_after(world.seed().below(1 << 20)),
            Self::Hold => world.proxy.hold(),
            Self::Slow => world.proxy.slow(SLOW_BYTES_PER_SECOND),
            Self::FullDisk => world.fill_disk(),
            Self::SwitchOff => world.switch("off"),
            Self::MoveClock => world.move_clock(),
        }
    }
}

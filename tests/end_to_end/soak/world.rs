//! A pair with a proxy between, the receiver on a small disk, and what is known of the past.

use std::ffi::OsString;
use std::path::PathBuf;

use harness::{
    Clock, Destination, Pair, Place, Proxy, Receiver, Seed, SmallDisk, Source, shell, tree,
};
use serde_json::Value;

/// Room for the history of some rounds.
const DISK_MEBIBYTES: u64 = 3000;
const CLOCK_WRONG_MAX_S: u64 = 24 * 3600;
/// Points between checkpoints that are restored in the end.
const POINTS_RESTORED: u64 = 5;

/// Fields are dropped in this order: daemons before their disk.
pub(super) struct World {
    pub(super) pair: Pair,
    pub(super) proxy: Proxy,
    disk: Option<SmallDisk>,
    /// The receiver's and the source's, where they can be moved.
    clocks: [Option<Clock>; 2],
    /// Where the disk is mounted.
    _mounted_in: Place,
    wrong: Wrong,
    checkpoints: Vec<(String, PathBuf)>,
}

/// What is to be mended.
#[derive(Default)]
struct Wrong {
    source_killed: bool,
    receiver_killed: bool,
    full: bool,
    off: bool,
}

impl World {
    /// A tree with a few files, and its first copy.
    pub(super) fn begin(seed: u64) -> Self {
        let (mounted_in, mut place) = (Place::new(), Place::new());
        place.seed = Seed::new(seed);
        let disk = SmallDisk::mount(&mounted_in, DISK_MEBIBYTES).ok();
        let store = disk.as_ref().map_or_else(
            || place.directory("store"),
            |disk| disk.path().join("store"),
        );
        let clocks = ["receiver", "home"].map(|name| Clock::start(&place, name).ok());
        let [receivers, sources] = clocks.each_ref().map(environment);
        let receiver = Receiver::start_with(&place, "receiver", &store, receivers);
        let proxy = Proxy::start(receiver.address());
        let source = Source::start_in(&place, "home", sources);
        source.pair(
            &receiver
                .pairing_code()
                .replace(receiver.address(), &proxy.address()),
        );
        let tree = place.directory("tree");
        shell(
            &tree,
            "echo anchor > anchor; mkdir -p d0/d1 d1/d2 d2; seq 20000 > a; seq 9000 > d0/b",
        );
        source.protect(&tree, Pair::ROOT, &Destination::Receiver(&receiver));
        let pair = Pair {
            source,
            receiver,
            tree,
            place,
        };
        Self {
            pair,
            proxy,
            disk,
            clocks,
            _mounted_in: mounted_in,
            wrong: Wrong::default(),
            checkpoints: Vec::new(),
        }
    }

    /// What is left to chance.
    pub(super) fn seed(&self) -> &Seed {
        &self.pair.place.seed
    }

    /// kill -9 of the coordinator.
    pub(super) fn kill_source(&mut self) {
        self.pair.source.kill();
        self.wrong.source_killed = true;
    }

    /// kill -9 of the receiver.
    pub(super) fn kill_receiver(&mut self) {
        self.pair.receiver.kill();
        self.wrong.receiver_killed = true;
    }

    /// The receiver's disk is full. Nothing where there is no disk that could be filled.
    pub(super) fn fill_disk(&mut self) {
        if let Some(disk) = &self.disk {
            disk.fill();
            self.wrong.full = true;
        }
    }

    /// One of the two wall clocks goes wrong by up to a day, and stays so: nobody mends it.
    pub(super) fn move_clock(&self) {
        let seconds = self.seed().below(2 * CLOCK_WRONG_MAX_S) as i64 - CLOCK_WRONG_MAX_S as i64;
        if let Some(clock) = &self.clocks[self.seed().below(2) as usize] {
            clock.move_by(seconds);
        }
    }

    /// Turns the switch, if there is a daemon to turn it.
    pub(super) fn switch(&mut self, to: &str) {
        let turned = self.pair.source.everwrite([to]);
        self.wrong.off = to == "off" && turned.code == Some(0);
    }

    /// Everything is as it should be.
    pub(super) fn mend(&mut self) {
        if std::mem::take(&mut self.wrong.full) {
            self.disk.as_ref().expect("a disk that was filled").free();
        }
        self.proxy.resume();
        // Who was not killed has to be there: no fault ends a daemon.
        match std::mem::take(&mut self.wrong.receiver_killed) {
            true => self.pair.receiver.start_again(),
            false => self.pair.receiver.daemon().assert_alive(),
        }
        match std::mem::take(&mut self.wrong.source_killed) {
            true => self.pair.source.start_again(),
            false => self.pair.source.daemon().assert_alive(),
        }
        if self.wrong.off {
            self.switch("on");
        }
    }

    /// Nobody writes: tree and mirror are equal. Remembers the tree as it is.
    pub(super) fn judge(&mut self, round: u32) {
        self.mend();
        self.pair.assert_mirrored();
        let name = format!("round-{round}");
        self.pair.source.everwrite(["checkpoint", &name]).success();
        let copy = tree::copy_of(&self.pair.tree, &self.pair.place.path().join(&name));
        self.checkpoints.push((name, copy));
    }

    /// Every checkpoint is what was copied then, and any point can be had, without the source.
    pub(super) fn end(mut self) {
        let points: Vec<Value> = self
            .pair
            .source
            .everwrite(["points", "--json", "-n", "1000000"])
            .success()
            .json();
        assert!(
            points.len() > self.checkpoints.len(),
            "no points between checkpoints"
        );
        self.pair.source.kill();
        for (name, copy) in &self.checkpoints {
            self.pair.assert_restores(name, copy);
        }
        for _ in 0..POINTS_RESTORED {
            let point = &points[self.seed().below(points.len() as u64) as usize]["point"];
            self.restore(&format!("@{point}"));
        }
        println!(
            "{} points, {} checkpoints",
            points.len(),
            self.checkpoints.len()
        );
    }

    /// What it restores is not known, but it can be had.
    fn restore(&self, at: &str) {
        let to = self
            .pair
            .place
            .directory(&format!("restored-{}", self.seed().next()));
        let store = self.pair.receiver.store();
        store
            .restore(&self.pair.source_id(), Pair::ROOT, at, &to)
            .success();
    }
}

fn environment(clock: &Option<Clock>) -> Vec<(&'static str, OsString)> {
    clock.as_ref().map(Clock::environment).unwrap_or_default()
}

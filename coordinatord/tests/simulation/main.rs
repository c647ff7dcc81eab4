//! Coordinator and receiver, simulated: one thread, one seed, and everything that can go wrong.
//!
//! The real pipeline (with its queue, rounds, index and cuts) and the real receiver (sessions, log, apply,
//! catalog) work on real directories; between them a network that cuts lines in the middle of frames; around
//! them programs that change the tree, an ear that tells of it late, doubled, wider or not at all, kills of
//! either side, full disks, an index that is older or gone, and clocks that are turned back. All of it runs in
//! one tokio runtime on one thread, whose clock stands still but when everybody waits. So a seed is a run.
//!
//! ```text
//! programs ── hints ─▶ ear ─▶ Pipeline ─▶ Uplink ══ network ══ session ─▶ SourceStore (log, mirror, history)
//!    │ snapshots                                    (cut, slow)                │
//!    └───────────────────────▶ judge ◀─────────────────────────────────────────┘
//! ```
//!
//! What is not simulated: intake, witness and front (the ear stands for them; the intake is there, but nobody
//! attaches), TLS, the kernel's times of files (real ones; runs do not depend on them), durability of disks
//! (killed, not without power: `disk_loses_power` is about that).
//!
//! `EVERWRITE_SEED=n` runs that one, `EVERWRITE_SIMULATIONS=n` as many as that; otherwise as many as fit.
//! `EVERWRITE_TRACE=1` shows all that happened.

#[path = "../../../receiver/tests/support/disk.rs"]
#[allow(dead_code, reason = "others use more of it")]
mod disk;
#[path = "../../../receiver/tests/support/place.rs"]
#[allow(dead_code, reason = "others use more of it")]
mod place;
#[path = "../../../receiver/tests/support/random.rs"]
mod random;

mod dice;
mod ear;
mod judge;
mod network;
mod power;
mod programs;
mod receiver;
mod source;
mod trace;
mod tree;
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use trace::Trace;
use world::Ran;

/// Seeds that found something once. (What they do changes with the simulation: some found it in an earlier one.)
const FOUND: &[u64] = &[
    5,
    6,
    8,
    11,
    13,
    16,
    29,
    37,
    60,
    65,
    178,
    1025,
    2199,
    20_780_000_005,
    20_780_000_039,
];
/// As long as nobody says how many.
const TIME: Duration = Duration::from_secs(20);
const WORKERS: usize = 2;
/// How often the power goes, as long as nobody says how often.
const LOSSES: u64 = 40;
/// How often in a run, as a rule.
const LOSSES_OF_A_RUN: u64 = 5;

fn setting(name: &str) -> Option<u64> {
    let value = std::env::var(name).ok()?;
    Some(value.parse().unwrap_or_else(|_| panic!("{name}={value}")))
}

/// Runs a seed; on failure tells how it came to that.
fn run(seed: u64, power: bool) -> Result<Ran, String> {
    let trace = Trace::default();
    let ran = catch_unwind(AssertUnwindSafe(|| world::run(seed, &trace, power)));
    if setting("EVERWRITE_TRACE").is_some() {
        println!("{}", trace.lines().join("\n"));
    }
    ran.map_err(|why| {
        let why = why
            .downcast_ref::<String>()
            .cloned()
            .or_else(|| why.downcast_ref::<&str>().map(|it| (*it).to_owned()));
        format!(
            "{}\n\nEVERWRITE_SEED={seed}: {}",
            trace.end(),
            why.unwrap_or_default()
        )
    })
}

/// Runs these, several at once, as long as there is time. Gives how often programs have waited for a cut.
fn run_all(seeds: impl Iterator<Item = u64> + Send, time: Duration, power: bool) -> u64 {
    let (seeds, until) = (Mutex::new(seeds), Instant::now() + time);
    let [runs, batches, consistent, kills, waits] = [const { AtomicU64::new(0) }; 5];
    let failed = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..WORKERS {
            scope.spawn(|| {
                while Instant::now() < until && failed.lock().unwrap().is_empty() {
                    let Some(seed) = seeds.lock().unwrap().next() else {
                        return;
                    };
                    match run(seed, power) {
                        Ok(ran) => {
                            runs.fetch_add(1, Ordering::Relaxed);
                            batches.fetch_add(ran.batches as u64, Ordering::Relaxed);
                            consistent.fetch_add(ran.consistent as u64, Ordering::Relaxed);
                            kills.fetch_add(u64::from(ran.kills), Ordering::Relaxed);
                            waits.fetch_add(u64::from(ran.waits), Ordering::Relaxed);
                        }
                        Err(why) => failed.lock().unwrap().push(why),
                    }
                }
            });
        }
    });
    let [runs, batches, consistent, kills, waits] =
        [runs, batches, consistent, kills, waits].map(AtomicU64::into_inner);
    println!(
        "{runs} runs, {batches} batches, {consistent} of them consistent, {kills} kills, {waits} waits for a cut"
    );
    let failed = failed.into_inner().unwrap();
    assert!(failed.is_empty(), "{}", failed.join("\n\n"));
    waits
}

#[test]
fn what_was_found_once_is_not_found_again() {
    let waits = run_all(FOUND.iter().copied(), TIME * 10_000, false);
    assert!(waits > 0, "nobody was held");
}

#[test]
fn nothing_is_lost_and_every_point_was_one() {
    let (seed, count) = (setting("EVERWRITE_SEED"), setting("EVERWRITE_SIMULATIONS"));
    // Other ones each day, so that all days together see many.
    let today = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let first = seed.unwrap_or_else(|| today.unwrap_or_default().as_secs() / 86_400 * 1_000_000);
    let count = count.or_else(|| seed.map(|_| 1));
    println!("from seed {first}");
    let time = if count.is_some() { TIME * 10_000 } else { TIME };
    let seeds = first..first.saturating_add(count.unwrap_or(u64::MAX / 2));
    run_all(seeds, time, false);
}

/// The same with the source's state on a disk that forgets: instead of being killed, it loses power.
#[test]
fn an_index_that_lost_power_never_leads() {
    place::apart("an_index_that_lost_power_never_leads", || {
        let losses = setting("EVERWRITE_POWER_LOSSES").unwrap_or(LOSSES);
        let first = setting("EVERWRITE_SEED").unwrap_or(1);
        let count = losses.div_ceil(LOSSES_OF_A_RUN);
        run_all(first..first + count, TIME * 10_000, true);
    });
}

#[test]
fn the_same_seed_is_the_same_run() {
    if !judge::has_fine_times(tempfile::tempdir().unwrap().path()) {
        let name = "the_same_seed_is_the_same_run";
        return eprintln!("SKIPPED {name}: two changes in a row have the same time here");
    }
    for seed in [5, 8] {
        let [first, again] = std::thread::scope(|scope| {
            let runs = [(); 2].map(|()| scope.spawn(move || run(seed, false)));
            runs.map(|run| run.join().unwrap().unwrap_or_else(|why| panic!("{why}")))
        });
        let (lines, other) = (first.trace.lines(), again.trace.lines());
        let differs = lines.into_iter().zip(other).find(|(a, b)| a != b);
        assert_eq!(differs, None, "seed {seed}");
        assert_eq!(first.hash, again.hash, "seed {seed}");
    }
}

//! Fuzzing without instrumentation: good inputs, mutated from a seed, as ordinary tests.
//!
//! Each target is a function over bytes. It gets first what lies in `tests/corpus/NAME` of its crate
//! (inputs that failed once stay there), then mutations of golden samples: [`INPUTS`] of them, or as
//! many as `EVERWRITE_FUZZ=SECONDS` has time for. `EVERWRITE_SEED` chooses others.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Inputs of one target in an ordinary run.
const INPUTS: u64 = 15_000;
/// Longest input in bytes.
const BYTES_MAX: usize = 1 << 16;
/// Numbers at which decoders change their minds: limits of types, bincode's marks of long numbers.
const EDGES: [u64; 16] = [
    0,
    1,
    0x7f,
    0x80,
    250,
    251,
    252,
    253,
    254,
    0xff,
    0xffff,
    1 << 20,
    u32::MAX as u64,
    1 << 60,
    i64::MAX as u64,
    u64::MAX,
];

/// Has `target` look at the corpus, at `samples`, and at mutations of both. One that needs files gets
/// fewer: `share` is by how many times.
pub(crate) fn fuzz(
    crate_root: &str,
    (name, share): (&str, u64),
    samples: &[Vec<u8>],
    target: impl Fn(&[u8]),
) {
    let corpus = Path::new(crate_root).join("tests/corpus").join(name);
    let once_failed = read_all(&corpus);
    once_failed
        .iter()
        .chain(samples)
        .for_each(|input| target(input));
    let seeds: Vec<&Vec<u8>> = samples.iter().chain(&once_failed).collect();
    let mut random = Random(number("EVERWRITE_SEED").unwrap_or(1));
    let until = number("EVERWRITE_FUZZ").map(|s| Instant::now() + Duration::from_secs(s));
    let mut inputs = 0;
    while until.map_or(inputs < INPUTS / share, |until| Instant::now() < until) {
        let input = mutated(&mut random, &seeds);
        if catch_unwind(AssertUnwindSafe(|| target(&input))).is_err() {
            keep(&corpus, &input);
        }
        inputs += 1;
    }
    println!("{name}: {inputs} inputs");
}

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(
        text.parse()
            .unwrap_or_else(|_| panic!("{variable} is a number")),
    )
}

fn read_all(corpus: &Path) -> Vec<Vec<u8>> {
    let Ok(entries) = std::fs::read_dir(corpus) else {
        return Vec::new();
    };
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths
        .iter()
        .map(|path| std::fs::read(path).unwrap())
        .collect()
}

/// What failed belongs in the corpus, beside the mending.
fn keep(corpus: &Path, input: &[u8]) {
    std::fs::create_dir_all(corpus).unwrap();
    let path = corpus.join(format!("failed-{}", input.len()));
    std::fs::write(&path, input).unwrap();
    panic!("{} fails; keep it", path.display());
}

fn mutated(random: &mut Random, seeds: &[&Vec<u8>]) -> Vec<u8> {
    let mut bytes = seeds[random.below(seeds.len())].clone();
    for _ in 0..=random.below(4) {
        mutate(random, &mut bytes, seeds);
    }
    bytes.truncate(BYTES_MAX);
    bytes
}

fn mutate(random: &mut Random, bytes: &mut Vec<u8>, seeds: &[&Vec<u8>]) {
    let at = random.below(bytes.len() + 1);
    let end = at + random.below(bytes.len() - at + 1);
    let edge = EDGES[random.below(EDGES.len())];
    match random.below(8) {
        0 => bytes.truncate(at),
        1 => drop(bytes.drain(at..end)),
        2 => bytes.extend_from_within(at..end),
        3 => drop(bytes.splice(at..at, [253].into_iter().chain(edge.to_le_bytes()))),
        4 => drop(bytes.splice(at..at, edge.to_le_bytes()[..1 << random.below(4)].to_vec())),
        5 => {
            let other = seeds[random.below(seeds.len())];
            let from = random.below(other.len() + 1);
            drop(bytes.splice(at..end, other[from..].to_vec()));
        }
        _ if at == bytes.len() => bytes.push(edge as u8),
        6 => bytes[at] = edge as u8,
        _ => bytes[at] ^= 1 << random.below(8),
    }
}

/// Numbers that one seed decides (SplitMix64).
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % bound as u64) as usize
    }
}

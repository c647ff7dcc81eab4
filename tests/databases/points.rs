//! The recovery points that were made during a load, and a choice of them.

use std::collections::BTreeMap;

use harness::{Pair, Seed};
use serde::Deserialize;

use crate::notes::Nanoseconds;

/// Kinds that claim to be a state that the disk really had.
const CONSISTENT: [&str; 2] = ["crash-consistent", "fsync-point"];

/// One of `everwrite points --json`.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Point {
    /// Its number.
    pub(crate) point: u64,
    time: jiff::Timestamp,
    /// What it claims to be.
    pub(crate) kind: String,
    /// Why it does not claim more.
    #[serde(default)]
    why: Option<String>,
}

impl Point {
    /// When its cut was made.
    pub(crate) fn time(&self) -> Nanoseconds {
        i64::try_from(self.time.as_nanosecond()).expect("a time within 300 years")
    }

    fn is_consistent(&self) -> bool {
        CONSISTENT.contains(&self.kind.as_str())
    }
}

/// The points of a time.
#[derive(Debug)]
pub(crate) struct Points(Vec<Point>);

impl Points {
    /// Those made between two moments.
    #[track_caller]
    pub(crate) fn between(pair: &Pair, from: Nanoseconds, to: Nanoseconds) -> Self {
        let answer = pair
            .source
            .everwrite(["points", "--json", "-n", "1000000"])
            .success();
        let mut points: Vec<Point> = answer.json();
        points.retain(|point| (from..=to).contains(&point.time()));
        Self(points)
    }

    /// Those that claim to be a state that the disk really had.
    pub(crate) fn consistent(&self) -> Vec<Point> {
        self.0
            .iter()
            .filter(|point| point.is_consistent())
            .cloned()
            .collect()
    }

    /// Those that do not.
    pub(crate) fn others(&self) -> Vec<Point> {
        self.0
            .iter()
            .filter(|point| !point.is_consistent())
            .cloned()
            .collect()
    }

    /// How many of each kind, and of each reason.
    pub(crate) fn kinds(&self) -> String {
        let mut counts = BTreeMap::<String, u32>::new();
        for point in &self.0 {
            let why = point.why.as_deref().map(|why| format!(" ({why})"));
            let kind = format!("{}{}", point.kind, why.unwrap_or_default());
            *counts.entry(kind).or_default() += 1;
        }
        let counts: Vec<_> = counts
            .iter()
            .map(|(kind, count)| format!("{count} {kind}"))
            .collect();
        counts.join(", ")
    }
}

/// So many of them, or all if there are fewer, in the order of time.
pub(crate) fn sample(mut points: Vec<Point>, count: usize, seed: &Seed) -> Vec<Point> {
    while points.len() > count {
        points.swap_remove(seed.below(points.len() as u64) as usize);
    }
    points.sort_by_key(|point| point.point);
    points
}

//! Points restored, judged and counted.

use std::io::Write;
use std::path::Path;

use harness::Pair;

use crate::points::{Point, Points, sample};

/// What was found wrong with a restored state.
pub(crate) type Verdict = Result<(), String>;

/// How many points of each kind a test has judged.
#[derive(Clone, Copy)]
pub(crate) struct Samples {
    /// For the count.
    pub(crate) test: &'static str,
    /// At most so many.
    pub(crate) count: usize,
    /// That long, programs were at work: consistent points are to come all the time.
    pub(crate) seconds: u32,
}

/// Fewest consistent points a second under load. Daemons built to be released make several; those built for
/// debugging, on a busy machine, take seconds to compare a database that grows.
const POINTS_PER_SECOND_MIN: f64 = 0.25;

const COMPLAINT_CHARACTERS: usize = 400;

/// Judges a choice of the consistent points, each restored into a directory of its own. Panics if one is not
/// what it claims to be, or if there are hardly any.
#[track_caller]
pub(crate) fn assert_good(
    pair: &Pair,
    points: &Points,
    samples: Samples,
    mut judge: impl FnMut(&Path, &Point) -> Verdict,
) {
    say(&format!("{}: {}", samples.test, points.kinds()));
    if std::env::var_os("EVERWRITE_FUZZY").is_some() {
        count_bad(pair, "others", points.others(), samples, &mut judge);
    }
    let consistent = points.consistent();
    let made = consistent.len();
    let bad = count_bad(pair, "consistent", consistent, samples, &mut judge);
    assert!(
        bad.is_empty(),
        "not what they claim to be:\n{}",
        bad.join("\n")
    );
    let fewest = POINTS_PER_SECOND_MIN * f64::from(samples.seconds);
    assert!(
        made as f64 >= fewest,
        "{made} consistent points, not even {fewest}"
    );
}

/// What is wrong with each bad one of a choice of `points`; the counts are printed.
fn count_bad(
    pair: &Pair,
    kind: &str,
    points: Vec<Point>,
    samples: Samples,
    judge: &mut impl FnMut(&Path, &Point) -> Verdict,
) -> Vec<String> {
    let made = points.len();
    let chosen = sample(points, samples.count, &pair.place.seed);
    let count = chosen.len();
    let verdicts = chosen
        .iter()
        .map(|point| (point, judge_restored(pair, point, judge)));
    let bad: Vec<String> = verdicts
        .filter_map(|(point, verdict)| Some(describe(point, &verdict.err()?)))
        .collect();
    let good = count - bad.len();
    say(&format!(
        "{}: {kind}: {made} made, {count} judged, {good} good",
        samples.test
    ));
    bad.iter().take(5).for_each(|bad| say(&format!("  {bad}")));
    bad
}

/// What is wrong with a point, shortened: one broken page makes a thousand complaints.
fn describe(point: &Point, wrong: &str) -> String {
    let (number, kind, time) = (point.point, &point.kind, point.time());
    let wrong: String = wrong.chars().take(COMPLAINT_CHARACTERS).collect();
    format!(
        "@{number} ({kind}) of {time}: {}",
        wrong.replace('\n', "; ")
    )
}

/// Restores one point and judges it. What is bad stays, to be looked at.
fn judge_restored(
    pair: &Pair,
    point: &Point,
    judge: &mut impl FnMut(&Path, &Point) -> Verdict,
) -> Verdict {
    let to = pair.place.directory(&format!("at-{}", point.point));
    let (store, at) = (pair.receiver.store(), format!("@{}", point.point));
    store
        .restore(&pair.source_id(), Pair::ROOT, &at, &to)
        .success();
    let verdict = judge(&to.join(Pair::ROOT), point);
    if verdict.is_ok() {
        std::fs::remove_dir_all(&to).expect("remove what was restored");
    }
    verdict
}

/// On the real standard error: libtest keeps what is printed.
fn say(line: &str) {
    // Nothing is lost when standard error is closed but the remark itself.
    let _ = writeln!(std::io::stderr(), "{line}");
}

//! Who told of each change, and what nobody told of: counted, named, and kept over a restart.

use std::collections::BTreeMap;
use std::path::Path;

use everwrite_protocol::control::{Changes, Coverage, Miss, MissCause, ProgramChanges};
use harness::{DEADLINE, Pair, shell, skip, wait_for};

/// Where the kernel tells, nothing that programs do is missed.
const NO_WITNESS: &str = "[witness]\nenabled = false";

fn coverage(pair: &Pair) -> Coverage {
    pair.source
        .everwrite(["coverage", "--json"])
        .success()
        .json()
}

/// Once the hints of the time are in, and all is counted.
fn coverage_with(pair: &Pair, changes: u64) -> Coverage {
    let mut last = None;
    wait_for("all changes are counted", DEADLINE, || {
        last = Some(coverage(pair));
        last.clone()
            .filter(|coverage| coverage.capture.changes.all() >= changes)
    })
}

fn causes(misses: &[Miss], tree: &Path) -> BTreeMap<String, MissCause> {
    let misses = misses.iter().map(|miss| {
        let path = String::from_utf8(miss.path.to_bytes().unwrap()).unwrap();
        let tree = format!("{}/", tree.display());
        let name = path.strip_prefix(&tree);
        let name = name.unwrap_or_else(|| panic!("{path} is not below {tree}"));
        (name.to_owned(), miss.cause)
    });
    misses.collect()
}

fn with_files(settings: &str) -> Pair {
    let mut pair = Pair::start_with(|tree| {
        shell(
            tree,
            "mkdir d; for f in written back mode gone renamed appended; do echo $f > $f; done; echo out > ../outside",
        );
    });
    pair.source.configure(settings);
    pair.assert_mirrored();
    // No scan is under way any more that could find what comes now, as part of what it is for.
    pair.source.everwrite(["reconcile"]).success();
    pair
}

#[test]
fn what_programs_with_the_shim_do_is_announced_by_it() {
    let pair = with_files("");
    let before = coverage(&pair).capture.changes;
    pair.run("python3 -c 'for n in range(20): open(f\"d/{n}\", \"w\").write(\"x\")'; rm gone; echo more >> appended; mv renamed d");
    pair.assert_mirrored();
    pair.source.everwrite(["reconcile"]).success();
    // 20 new names, one gone, one written to, and a rename, which is one or two changes.
    let heard = coverage_with(&pair, before.all() + 23);
    let changes = heard.capture.changes;
    assert_eq!(
        (changes.missed, changes.kernel),
        (before.missed, before.kernel),
        "only others than the shim told of them"
    );
    let told = |changes: Changes| changes.shim + changes.both;
    let new = told(changes) - told(before);
    assert!((23..60).contains(&new), "not each once: {changes:?}");
    let python = |row: &&ProgramChanges| row.program.contains("python");
    let python = heard.programs.iter().find(python).expect("python's line");
    assert!(told(python.changes) >= 20, "{python:?}");
    assert_eq!(heard.capture.lately.hour, heard.capture.lately.day);
    assert!(told(heard.capture.lately.hour) >= 23);
}

#[test]
fn what_nobody_told_of_is_named_with_its_cause_and_kept() {
    let mut pair = with_files(NO_WITNESS);
    let before = coverage(&pair).capture.changes.missed;
    shell(
        &pair.tree,
        "echo other > written; chmod 600 mode; rm gone; echo n > new; mv ../outside moved-in
         mv renamed d/renamed; touch -d 2001-01-01 back",
    );
    let said = pair.source.everwrite(["reconcile"]).exits(1).text();
    let heard = coverage(&pair);
    let expected: BTreeMap<_, _> = [
        ("written", MissCause::Written),
        ("mode", MissCause::Attributes),
        ("gone", MissCause::Removed),
        ("new", MissCause::Created),
        ("moved-in", MissCause::MovedIn),
        ("d/renamed", MissCause::Renamed),
        ("back", MissCause::TimesSetBack),
    ]
    .map(|(name, cause)| (name.to_owned(), cause))
    .into();
    assert_eq!(causes(&heard.misses, &pair.tree), expected);
    let missed = heard.capture.changes.missed - before;
    assert_eq!(missed, expected.len() as u64, "each once");
    assert!(
        said.contains("d/renamed") && said.contains(&format!("{missed} changes")),
        "{said}"
    );
    assert!(heard.misses.iter().all(|miss| !miss.witness));
    let new = heard
        .misses
        .iter()
        .find(|miss| miss.cause == MissCause::Created);
    assert_eq!(new.map(|miss| miss.size), Some(2));
    assert_eq!(pair.source.status().capture.scan.misses, missed);

    let (hour, misses) = (heard.capture.lately.hour, heard.misses);
    pair.source.daemon().terminate();
    pair.source.start_again();
    let again = coverage(&pair);
    assert_eq!(
        (again.capture.lately.hour.missed, again.misses),
        (hour.missed, misses)
    );
    assert_eq!(again.capture.changes.missed, 0, "since start");
    let shown = pair.source.everwrite(["coverage"]).success().text();
    assert!(
        shown.contains("moved or linked in from elsewhere"),
        "{shown}"
    );
    pair.assert_mirrored();
}

/// What happens while nobody listens is no miss: nobody could have announced it.
#[test]
fn what_is_found_after_a_gap_is_no_miss() {
    let mut pair = with_files("");
    pair.source.daemon().terminate();
    shell(&pair.tree, "echo other > written; rm gone; echo n > new");
    pair.source.start_again();
    pair.assert_mirrored();
    pair.source.everwrite(["reconcile"]).success();
    let heard = coverage(&pair);
    assert_eq!((heard.capture.changes.missed, heard.misses), (0, vec![]));
}

/// What programs without the shim do is announced by the kernel alone, and by their names.
#[test]
fn what_the_kernel_alone_tells_of() {
    let pair = with_files("");
    let capture = pair.source.status().capture;
    if capture.names.state != "on" {
        return skip(
            "account::what_the_kernel_alone_tells_of",
            &capture.names.reason,
        );
    }
    let before = coverage(&pair).capture.changes;
    shell(
        &pair.tree,
        "python3 -c 'for n in range(20): open(f\"d/{n}\", \"w\").write(\"x\")'; rm gone; echo more >> appended",
    );
    pair.assert_mirrored();
    pair.source.everwrite(["reconcile"]).success();
    let heard = coverage_with(&pair, before.all() + 22);
    let changes = heard.capture.changes;
    assert_eq!((changes.missed, changes.shim), (before.missed, before.shim));
    assert!(changes.kernel >= before.kernel + 22, "{changes:?}");
    let python = |row: &&ProgramChanges| row.program.contains("python");
    let python = heard.programs.iter().find(python).expect("python's line");
    assert!(python.changes.kernel >= 20, "{python:?}");
}

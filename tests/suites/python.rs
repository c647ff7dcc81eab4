//! Python's own tests of what touches the system most.

use std::path::{Path, PathBuf};
use std::process::Command;

use harness::{run, skip};

use crate::ground::Ground;

const TESTS: &str =
    "test_subprocess test_os test_io test_mmap test_fileio test_shutil test_tempfile test_posix";
/// Prints one line a case, sorted: its name, and how it ended.
const CASES: &str = "
import sys, xml.etree.ElementTree as tree
for case in tree.parse(sys.argv[1]).iter('testcase'):
    print(case.get('name'), *sorted(child.tag for child in case if child.tag in ('failure', 'error', 'skipped')))";

/// The first Python that has its tests with it.
fn python() -> Option<&'static str> {
    ["python3", "/usr/bin/python3"].into_iter().find(|python| {
        let mut tried = Command::new(python);
        tried.args(["-c", "import test.test_os, test.test_subprocess"]);
        run(&mut tried).code == Some(0)
    })
}

fn cases(python: &str, report: &Path) -> Vec<String> {
    let listed = run(Command::new(python).args(["-c", CASES]).arg(report)).success();
    let mut cases: Vec<String> = listed.text().lines().map(str::to_owned).collect();
    cases.sort();
    cases
}

/// What is different, one case a line.
fn differences(python: &str, reports: [PathBuf; 2]) -> Vec<String> {
    let [bare, ours] = reports.map(|report| cases(python, &report));
    assert!(bare.len() > 1000, "only {} cases", bare.len());
    let lost = bare.iter().filter(|case| !ours.contains(case));
    let new = ours.iter().filter(|case| !bare.contains(case));
    let lost = lost.map(|case| format!("without: {case}"));
    lost.chain(new.map(|case| format!("with:    {case}")))
        .collect()
}

#[test]
fn python_finds_the_same() {
    let Some(python) = python() else {
        return skip(
            "python",
            "no python3 has its own tests (scripts/setup --for-tests)",
        );
    };
    let ground = Ground::new();
    let report = "$(basename \"$PWD\").xml";
    let script = format!(
        "{python} -m test --tempdir . --junit-xml ../{report} {TESTS} >../{report}.log 2>&1"
    );
    let ended = ground.both(&script);
    let reports = ["bare", "tree"].map(|name| ground.path().join(format!("{name}.xml")));
    let different = differences(python, reports);
    assert!(different.is_empty(), "{}", different.join("\n"));
    assert_eq!(ended[0].code, ended[1].code);
    ground.assert_stored();
}

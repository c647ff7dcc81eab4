//! The test suites of git and SQLite themselves, from their sources: fetched and built by `scripts/fetch-suites`, so
//! only where they are allowed to take that long.

use std::path::{Path, PathBuf};
use std::process::Command;

use harness::{artifacts::shim, run, skip};

use crate::ground::{Ground, at_length};

/// One script of git's in so many.
const GIT_STEP: usize = 12;
/// What of SQLite's touches files most. (Its `crash` tests count otherwise each time.)
const SQLITE: &str = "wal wal2 wal3 walro pager1 pager2 journal1 jrnlmode delete trans savepoint rollback vacuum \
                      incrvacuum backup mmap1 mmap2 io lock exclusive superlock multiplex e_walauto sync2 symlink \
                      temptable attach diskfull ioerr syscall";
/// Runs SQLite's tests named in `$TESTS`, and prints what they found, a test in a line.
const RUN_SQLITE: &str = r#"for test in $TESTS; do
    "$SOURCES/testfixture" "$SOURCES/test/$test.test" 2>&1 | grep -E '^! |errors out of|^!Failures' |
        sed "s/ on .*//; s/^/$test: /" || true
done"#;

/// Where the sources are; `None`, and said so, when nobody wants them.
fn sources(test: &str) -> Option<PathBuf> {
    if !at_length() {
        skip(test, "takes half an hour: EVERWRITE_SUITES=1 has it run");
        return None;
    }
    let place = shim().ancestors().nth(2)?.join("suites");
    let fetch = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts/fetch-suites");
    run(Command::new(fetch).arg(&place)).success();
    Some(place)
}

/// A part of git's scripts, another with each seed.
fn some_of_git(sources: &Path, ground: &Ground) -> Vec<String> {
    let listed = std::fs::read_dir(sources.join("t")).expect("git's tests");
    let mut names: Vec<String> = listed
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| name.starts_with('t') && name.ends_with(".sh"))
        .filter(|name| name.as_bytes()[1].is_ascii_digit() && !name.starts_with("t9"))
        .collect();
    names.sort();
    let first = ground.seed().below(GIT_STEP as u64) as usize;
    names.into_iter().skip(first).step_by(GIT_STEP).collect()
}

/// Its cases, and how each ended.
fn cases(said: &str) -> Vec<&str> {
    let is_case = |line: &&str| line.starts_with("ok ") || line.starts_with("not ok ");
    said.lines().filter(is_case).collect()
}

#[test]
fn git_finds_the_same() {
    let Some(place) = sources("git_finds_the_same") else {
        return;
    };
    let (place, ground) = (place.join("git"), Ground::new());
    let mut found = 0;
    for name in some_of_git(&place, &ground) {
        // By its own checks of memory git would put another library into our place.
        let script = format!(
            "export TEST_OUTPUT_DIRECTORY=$PWD TEST_NO_MALLOC_CHECK=1; cd {}; ./{name} </dev/null 2>&1",
            place.join("t").display()
        );
        // Some cases are named by the directory that they run in.
        let here = [ground.bare(), ground.tree()].map(|path| path.display().to_string());
        let anywhere = |said: String| here.iter().fold(said, |said, here| said.replace(here, "."));
        let ended = ground.both(&script);
        let said = ended.map(|ended| (ended.code, anywhere(ended.text())));
        let [bare, ours] = said.each_ref().map(|(code, said)| (code, cases(said)));
        assert_eq!(bare, ours, "{name}");
        found += bare.1.len();
    }
    assert!(found > 500, "only {found} cases");
    println!("{found} cases");
    ground.assert_stored();
}

#[test]
fn sqlite_finds_the_same() {
    let Some(place) = sources("sqlite_finds_the_same") else {
        return;
    };
    let ground = Ground::new();
    let sources = place.join("sqlite");
    let script = format!(
        "SOURCES={} TESTS='{SQLITE}'; mkdir work; cd work; {RUN_SQLITE}",
        sources.display()
    );
    let [bare, ours] = ground.both(&script).map(|ended| ended.success().text());
    assert!(bare.lines().count() >= 30, "{bare}");
    assert_eq!(bare, ours);
    // The index of a log lies in a mapping.
    ground.assert_stored_but_for_mappings();
}

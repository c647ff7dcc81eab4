//! The table of hooks, as the library exports it, against the cases and against libc: a row without a
//! case, or for a function that nobody has, fails here.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use harness::artifacts::{artifacts, shim};
use serde::Deserialize;

use crate::calls::CALLS;
use crate::scene::Scene;

/// Not a hook: it tells gcc's address sanitizer not to look who comes first.
const FOR_SANITIZERS: &str = "__asan_default_options";
fn symbols(which: &str, file: &Path) -> BTreeSet<String> {
    let listed = harness::run(Command::new("nm").args(["-D", which]).arg(file))
        .success()
        .text();
    let last = |line: &str| line.split_whitespace().last().map(str::to_owned);
    let bare = |name: String| name.split('@').next().unwrap_or_default().to_owned();
    listed.lines().filter_map(last).map(bare).collect()
}

/// The names that the shim stands in front of.
pub(crate) fn hooks() -> BTreeSet<String> {
    let mut hooks = symbols("--defined-only", shim());
    assert!(hooks.remove(FOR_SANITIZERS));
    assert!(hooks.len() > 150, "{hooks:?}");
    hooks
}

/// The cases call a hook by its name, or look it up first.
#[test]
fn every_hook_has_a_case() {
    let scene = Scene::new();
    let program = scene.compile("calls", CALLS);
    let called = symbols("--undefined-only", &program);
    let looked_up = |name: &String| CALLS.contains(&format!("\"{name}\")"));
    let missing: Vec<String> = hooks()
        .into_iter()
        .filter(|name| !called.contains(name) && !looked_up(name))
        .collect();
    assert!(missing.is_empty(), "no case calls {missing:?}");
}

/// What `everwrite preload check` says of this machine.
#[derive(Deserialize)]
struct Checked {
    hooks: Hooks,
}

#[derive(Deserialize)]
struct Hooks {
    present: Vec<String>,
    absent: Vec<Absent>,
    unexplained: Vec<String>,
}

#[derive(Deserialize)]
struct Absent {
    name: String,
}

/// Its list is the table, too: what libc has, and why it lacks the rest.
#[test]
fn the_self_test_knows_every_hook() {
    let mut check = Command::new(&artifacts().everwrite);
    check.args(["preload", "check", "--json"]);
    let check = harness::run(check.env("EVERWRITE_SHIM", shim())).success();
    let Checked { hooks: told } = check.json();
    assert_eq!(told.unexplained, [""; 0]);
    let libc = harness::run(Command::new("cc").arg("-print-file-name=libc.so.6")).text();
    let theirs = symbols("--defined-only", Path::new(libc.trim()));
    let absent: BTreeSet<String> = told.absent.into_iter().map(|absent| absent.name).collect();
    let present: BTreeSet<String> = told.present.into_iter().collect();
    assert!(present.is_subset(&theirs) && absent.is_disjoint(&theirs));
    assert_eq!(&present | &absent, hooks());
}

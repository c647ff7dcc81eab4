//! The table of hooks, as the library exports it, against the cases and against libc: a row without a
//! case, or for a function that nobody has, fails here.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use harness::artifacts::shim;

use crate::calls::CALLS;
use crate::scene::Scene;

/// Not a hook: it tells gcc's address sanitizer not to look who comes first.
const FOR_SANITIZERS: &str = "__asan_default_options";
/// What this libc may lack: functions of newer ones, of older ones, and of libaio.
const OF_OTHERS: [&str; 8] = [
    "__xmknod",
    "__xmknodat",
    "io_getevents",
    "io_pgetevents",
    "io_submit",
    "openat2",
    "pidfd_spawn",
    "pidfd_spawnp",
];

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

#[test]
fn every_hook_is_a_function_of_libc() {
    let libc = harness::run(Command::new("cc").arg("-print-file-name=libc.so.6")).text();
    let theirs = symbols("--defined-only", Path::new(libc.trim()));
    let strange: Vec<String> = hooks()
        .into_iter()
        .filter(|name| !theirs.contains(name) && !OF_OTHERS.contains(&name.as_str()))
        .collect();
    assert!(strange.is_empty(), "nobody has {strange:?}");
}

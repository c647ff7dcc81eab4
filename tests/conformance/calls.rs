//! Every hooked function is called, and what it changed must have been told.

use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitStatus};

use harness::recorder::{FileKey, Record, Snapshot};

use crate::scene::Scene;

pub(crate) const CALLS: &str = include_str!("c/calls.c");
const PREPARE: &str = "
    rm -rf ./*; mkdir dir
    head -c 20000 /dev/zero | tr '\\0' o >old; cp old old2; ln -s old link; sync -f .
";

/// With this a case ends that asks for a privilege, a library or a function that is not there.
const CANNOT_BE_HAD: i32 = 77;

/// The names of the cases, from a program that was started without any.
fn cases(program: &mut Command) -> Vec<String> {
    let listed = harness::run(program).success().text();
    listed.lines().map(str::to_owned).collect()
}

#[test]
fn every_call_is_told() {
    let scene = Scene::new();
    let program = scene.compile("calls", CALLS);
    check_all(&scene, &|| scene.command(&program));
}

/// Runs every case of the program that `start` starts.
#[track_caller]
pub(crate) fn check_all(scene: &Scene, start: &dyn Fn() -> Command) {
    check_all_but(scene, start, &[]);
}

/// The same without some.
#[track_caller]
pub(crate) fn check_all_but(scene: &Scene, start: &dyn Fn() -> Command, left_out: &[&str]) {
    let mut faults = Vec::new();
    let cases = cases(&mut start());
    assert!(
        left_out
            .iter()
            .all(|name| cases.iter().any(|case| case == name))
    );
    for case in cases
        .iter()
        .filter(|case| !left_out.contains(&case.as_str()))
    {
        // A program that is not heard in time, on a busy machine, tells nothing that could be checked.
        let heard = (0..10).find_map(|_| faults_of(scene, start(), case));
        faults.extend(heard.unwrap_or_else(|| vec![format!("{case}: never heard")]));
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// What is wrong with a case; `None` when it was not heard.
fn faults_of(scene: &Scene, mut program: Command, case: &str) -> Option<Vec<String>> {
    scene.prepare(PREPARE);
    let before = Snapshot::of(&scene.tree);
    let old = Snapshot::key(&scene.tree.join("old"));
    let status = program.arg(case).status().expect("run the case");
    let record = scene.recorder.take();
    if status.code() == Some(CANNOT_BE_HAD) {
        eprintln!("left out, for the machine or its libc lacks what it takes: {case}");
        return Some(Vec::new());
    }
    let (mut faults, _) = before.missed(&record);
    faults.extend(marks(case, &record, old).map(str::to_owned));
    if !ended_well(case, status) {
        faults.push(status.to_string());
    }
    if record.stdio_unseen {
        faults.push("stdio was not seen".to_owned());
    }
    let named = faults
        .iter()
        .map(|fault| format!("{case}: {fault}"))
        .collect();
    (record.in_vain == 0).then_some(named)
}

/// One case kills itself, to leave nothing but what was told.
fn ended_well(case: &str, status: ExitStatus) -> bool {
    status.success() || (case == "vfork_first" && status.signal() == Some(9))
}

/// What can't be seen in the tree, but must have been told of `old`.
fn marks(case: &str, record: &Record, old: FileKey) -> Option<&'static str> {
    let told = record.of(old);
    if record.ring_unseen != (case.split('_').next() == Some("ring")) {
        return Some("the ring was not told");
    }
    match case.split('_').next() {
        Some("attribute") if told.attributes == 0 => Some("attributes were not told"),
        Some("sync") if told.synced == 0 => Some("no mark of durability"),
        Some("map") if told.mapped == 0 => Some("the mapping was not told"),
        _ => None,
    }
}

/// With the shim a program does what it does without: output, errors, end.
#[test]
fn nothing_else_changes() {
    let scene = Scene::new();
    let program = scene.compile("calls", CALLS);
    for case in cases(&mut Command::new(&program)) {
        let mut plain = Command::new(&program);
        let mut shimmed = scene.command(&program);
        let [bare, watched] = [&mut plain, &mut shimmed].map(|command| {
            scene.prepare(PREPARE);
            let ended = command
                .arg(&case)
                .current_dir(&scene.tree)
                .output()
                .expect("run");
            let modes = harness::shell(
                &scene.tree,
                "find . -name 'new*' -type f | sort | xargs -r cksum; stat -c '%n %s %a' old* || true",
            );
            (ended.status, ended.stdout, ended.stderr, modes.text())
        });
        assert_eq!(bare, watched, "{case}");
    }
}

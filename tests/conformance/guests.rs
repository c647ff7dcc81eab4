//! What programs do that a library inside them has to live with: storms of signals, children and
//! threads, tiny stacks and limits, closing everything. With the shim they print, leave and end with
//! the same as without, and all that they change is told.

use std::collections::BTreeSet;
use std::process::{Command, ExitStatus};

use harness::recorder::Snapshot;

use crate::scene::Scene;

const GUEST: &str = include_str!("c/guest.c");
/// With this a case ends that asks for a privilege or a limit that is not to be had.
const CANNOT_BE_HAD: i32 = 77;
/// Their files depend on when they were interrupted.
const BY_CHANCE: [&str; 3] = ["cancel", "timer_storm", "jump_storm"];
/// Those that call nothing before they can't be heard any more: memory or rights are gone, or a filter
/// is on. What they say must be right; what is told of them need not be all.
const UNHEARD: [&str; 2] = ["no_memory", "strict"];

/// How a program ended, what it said, and what it left.
type Ending = (ExitStatus, String, String, BTreeSet<String>);

fn end(scene: &Scene, mut command: Command, case: &str) -> Ending {
    let ended = command
        .arg(case)
        .current_dir(&scene.tree)
        .output()
        .expect("run the case");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let sums = "find . -type f | sort | xargs -r cksum; find . ! -type f | sort";
    let left = harness::shell(&scene.tree, sums).text();
    let left = match BY_CHANCE.contains(&case) {
        true => BTreeSet::new(),
        false => left.lines().map(str::to_owned).collect(),
    };
    (ended.status, text(&ended.stdout), text(&ended.stderr), left)
}

fn check(case: &str) {
    let scene = Scene::new();
    let program = scene.compile("guest", GUEST);
    let bare = end(&scene, Command::new(&program), case);
    if bare.0.code() == Some(CANNOT_BE_HAD) {
        return harness::skip(case, "the machine does not let it");
    }
    // A program that is not heard in time, on a busy machine, tells nothing that could be checked.
    let heard = (0..20).find(|_| {
        scene.prepare("rm -rf ./*; chmod 755 .");
        let before = Snapshot::of(&scene.tree);
        let shimmed = end(&scene, scene.command(&program), case);
        assert_eq!(bare, shimmed);
        let record = scene.recorder.take();
        let (missed, _) = before.missed(&record);
        let heard = record.in_vain == 0;
        let all = missed.is_empty() || !heard || UNHEARD.contains(&case);
        assert!(all, "not told:\n{}", missed.join("\n"));
        heard
    });
    if heard.is_none() {
        harness::skip(
            case,
            "the machine is so busy that processes gave up asking to be heard",
        );
    }
}

/// One test a case; `every_case_is_run` sees to it that none is left out.
macro_rules! guests {
    ($($case:ident)*) => {
        $(
            #[test]
            fn $case() {
                check(stringify!($case));
            }
        )*
        const ALL: &[&str] = &[$(stringify!($case)),*];
    };
}

guests! {
    cancel
    timer_storm
    jump_storm
    on_small_stack
    fork_storm
    fork_among_threads
    vfork_storm
    spawn_storm
    ten_thousand_threads
    few_descriptors
    no_memory
    small_files
    killed_for_size
    no_processes
    close_everything
    dup_over_everything
    descriptors_are_its_own
    strict
    other_rights
    no_environment
    stdio_unflushed
}

#[test]
fn every_case_is_run() {
    let scene = Scene::new();
    let program = scene.compile("guest", GUEST);
    let listed = harness::run(&mut Command::new(program)).text();
    assert_eq!(listed.lines().collect::<Vec<_>>(), ALL);
}

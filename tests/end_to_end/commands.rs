//! Every command as a user would give it: what it answers, to people and to programs, and its exit
//! code.

use harness::{Outcome, Pair, shell};
use serde_json::Value;

const OF_A_LINK: &str = "ln -s file link; ";

/// A root with a past: checkpoint `first`, then changes.
fn pair_with_a_past() -> Pair {
    let pair = Pair::start_with(|tree| {
        shell(
            tree,
            format!("{OF_A_LINK} seq 9 > file; mkdir d; echo x > d/x; echo same > same"),
        );
    });
    pair.source.everwrite(["checkpoint", "first"]).success();
    pair.run("echo more >> file; rm -r d; echo new > new; mv same moved");
    pair.source.settle();
    pair
}

trait Ask {
    fn ask(&self, line: &str) -> Outcome;
}

impl Ask for Pair {
    /// `everwrite LINE`, with `TREE` for the root's directory and `PLACE` for where there is room.
    fn ask(&self, line: &str) -> Outcome {
        let tree = self.tree.display().to_string();
        let place = self.place.path().display().to_string();
        let word = |word: &str| word.replace("TREE", &tree).replace("PLACE", &place);
        self.source.everwrite(line.split_whitespace().map(word))
    }
}

#[test]
fn every_answer_can_be_had_as_json() {
    let pair = pair_with_a_past();
    let lines = [
        "status",
        "sync",
        "checkpoint second",
        "reconcile",
        "log TREE",
        "log",
        "deleted TREE",
        "points",
        "ls TREE --at first",
        "diff TREE --at first",
        "verify",
        "explain TREE/file",
        "doctor",
        "preload check",
        "preload status",
        "coverage",
        "restore TREE --at first --in-place --dry-run",
        "restore TREE/file --at first --to PLACE/json",
        "off",
        "on",
        "unprotect tree",
    ];
    for line in lines {
        let outcome = pair.ask(&format!("{line} --json"));
        let _: Value = outcome.json();
        assert_eq!(
            outcome.stdout.iter().filter(|byte| **byte == b'\n').count(),
            1,
            "{line}"
        );
    }
    let refused = pair.ask("unprotect nothing --json").exits(2);
    let error: Value = serde_json::from_str(&refused.stderr).expect("an error as JSON");
    assert!(error["error"].is_string() && error["hint"].is_string() && error["exit"] == 2);
}

#[test]
fn the_exit_code_is_the_answer() {
    let mut pair = pair_with_a_past();
    let cases = [
        ("status", 0),
        ("verify", 0),
        ("diff TREE --at first", 1),
        ("diff TREE --at now", 0),
        ("diff TREE/file --at first", 1),
        ("explain TREE/file", 0),
        ("explain /", 1),
        ("coverage", 0),
        ("preload install --root PLACE/none", 1),
        ("preload remove --root PLACE", 1),
        ("ls TREE/none", 1),
        ("cat TREE/d/x", 1),
        ("cat TREE/d --at first", 2),
        ("log TREE/none", 1),
        ("restore TREE/none --at first", 1),
        ("restore TREE/file --at unheard-of", 1),
        ("restore /etc/passwd --at first", 2),
        ("protect TREE/d", 2),
        ("protect PLACE", 4),
        ("protect TREE --name again", 4),
        ("ls elsewhere:", 2),
    ];
    for (line, code) in cases {
        pair.ask(line).exits(code);
    }
    pair.source.kill();
    shell(&pair.tree, "echo unstored > file");
    for (line, code) in [
        ("status", 3),
        ("sync", 3),
        ("on", 3),
        ("coverage", 3),
        ("verify", 1),
        ("explain TREE/file", 1),
    ] {
        pair.ask(line).exits(code);
    }
    assert_eq!(pair.ask("cat TREE/d/x --at first").success().text(), "x\n");
    pair.receiver.kill();
    for line in ["log", "points", "verify", "restore TREE --at first"] {
        pair.ask(line).exits(3);
    }
}

#[test]
fn what_changed_is_told_as_it_was_done() {
    let pair = pair_with_a_past();
    let told = pair.ask("diff TREE --at first").text();
    for line in [
        "M  tree/file (content, time)",
        "D  tree/d/x",
        "A  tree/new",
        "R  tree/same -> tree/moved",
    ] {
        assert!(told.contains(line), "{line:?} is not told:\n{told}");
    }
    let lines = pair.ask("diff TREE/file --at first").text();
    assert!(
        lines.contains("\n+more\n") && !lines.contains("-9"),
        "{lines}"
    );
}

#[test]
fn a_tree_goes_back_in_place_and_that_is_stored_too() {
    let pair = pair_with_a_past();
    shell(&pair.tree, "echo mine > unstored-by-nobody");
    pair.source.settle();
    let refused = pair.ask("restore TREE/file --at first --to TREE").exits(4);
    assert!(refused.stderr.contains("in the way"), "{}", refused.stderr);
    pair.ask("restore TREE --at first --in-place").success();
    assert!(pair.tree.join("new").exists(), "kept without --delete");
    pair.ask("restore TREE --at first --in-place --delete")
        .success();
    pair.ask("sync --applied").success();
    pair.ask("diff TREE --at first").success();
    pair.ask("verify").success();
    let again = pair
        .ask("restore TREE --at first --in-place")
        .success()
        .text();
    assert!(again.contains(" 0 B written"), "{again}");
}

#[test]
fn a_root_that_was_unprotected_keeps_its_past() {
    let pair = pair_with_a_past();
    pair.ask("unprotect tree").success();
    assert_eq!(pair.ask("cat tree:d/x --at first").success().text(), "x\n");
    pair.ask("restore tree: --at first --to PLACE/back")
        .success();
    assert!(pair.place.path().join("back/tree/d/x").exists());
    pair.ask("restore tree: --at first --in-place").exits(2);
    pair.ask("protect TREE --name tree --wait").success();
    pair.ask("verify").success();
}

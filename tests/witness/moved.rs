//! Into a root and out of it: what was known of a file's place does not hold any more.

use std::process::Command;

use harness::run;

use crate::scene::{Steps, TREE, all_was_heard, soon_mirrored, witnessed, writer};

/// Moves come from a program without the shim, too.
fn elsewhere(pair: &harness::Pair, script: &str) {
    harness::shell(&pair.tree, script);
}

#[test]
fn a_file_is_written_after_it_came_in() {
    let Some(pair) = witnessed("a_file_is_written_after_it_came_in", TREE) else {
        return;
    };
    for (name, come) in [
        ("renamed", "mv ../outside-renamed/held renamed"),
        ("linked", "ln ../outside-linked/held linked"),
        ("in-a-tree", "mv ../outside-in-a-tree in-a-tree"),
    ] {
        let outside = format!("../outside-{name}");
        elsewhere(
            &pair,
            &format!("mkdir -p {outside}; cp source {outside}/held"),
        );
        let mut writer = Command::new(writer());
        let writer = writer.args(["hold", "held"]);
        let mut writer = Steps::start(writer.current_dir(pair.tree.join(&outside)));
        // It was looked at while it was outside.
        elsewhere(&pair, &format!("echo more >> {outside}/held"));
        elsewhere(&pair, come);
        soon_mirrored(&pair);
        writer.next();
        soon_mirrored(&pair);
        writer.finish();
        assert!(pair.tree.join(name).exists());
    }
    all_was_heard(&pair);
}

#[test]
fn a_file_that_went_out_is_none_of_our_business() {
    let test = "a_file_that_went_out_is_none_of_our_business";
    let Some(pair) = witnessed(test, TREE) else {
        return;
    };
    elsewhere(&pair, "mv tree ../tree-outside; mv held ../held-outside");
    soon_mirrored(&pair);
    elsewhere(
        &pair,
        "echo more >> ../tree-outside/below/file; echo more >> ../held-outside",
    );
    elsewhere(&pair, "mv ../tree-outside tree-again");
    all_was_heard(&pair);
}

/// Thousands of renames of directories: what is known of places is void again and again.
#[test]
fn directories_move_while_files_are_written() {
    let test = "directories_move_while_files_are_written";
    let Some(pair) = witnessed(test, TREE) else {
        return;
    };
    let script = "i=0; while [ $i -lt 300 ]; do
        mkdir -p a$i/b; echo $i > a$i/b/f; mv a$i c$i; echo more >> c$i/b/f; mv c$i/b d$i; echo most >> d$i/f
        i=$((i+1)); done";
    run(Command::new("busybox")
        .args(["sh", "-ec", script])
        .current_dir(&pair.tree))
    .success();
    all_was_heard(&pair);
}

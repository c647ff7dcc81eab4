//! What a user does first: protect, edit, delete, and have it back.

use harness::{Pair, shell};

#[test]
fn protect_edit_delete_restore() {
    let pair = Pair::start_with(|tree| {
        shell(
            tree,
            "mkdir -p notes/old; echo plan > notes/plan.txt; echo draft > notes/old/draft",
        );
    });
    pair.assert_mirrored();

    pair.run("echo more >> notes/plan.txt; echo todo > notes/todo.txt");
    pair.assert_mirrored();
    pair.source
        .everwrite(["checkpoint", "before-the-mistake"])
        .success();

    pair.run("rm -r notes");
    pair.assert_mirrored();
    assert!(!pair.mirror().join("notes").exists());

    let to = pair.place.directory("back");
    let notes = pair.tree.join("notes");
    let arguments = ["restore".as_ref(), notes.as_os_str(), "--at".as_ref()];
    let to_arguments = [
        "before-the-mistake".as_ref(),
        "--to".as_ref(),
        to.as_os_str(),
    ];
    pair.source
        .everwrite(arguments.into_iter().chain(to_arguments))
        .success();
    let restored = std::fs::read_to_string(to.join("notes/plan.txt")).expect("the restored file");
    assert_eq!(restored, "plan\nmore\n");
}

#[test]
fn what_a_program_did_is_in_the_log() {
    let pair = Pair::start();
    pair.run("python3 -c 'open(\"report\", \"w\").write(\"figures\")'; rm report");
    pair.source.settle();

    let report = pair.tree.join("report");
    let log = pair
        .source
        .everwrite(["log".as_ref(), report.as_os_str()])
        .success()
        .text();
    assert!(log.contains("python"), "no program in the log: {log}");
    assert!(log.contains("rm"), "no deletion in the log: {log}");
    let deleted = pair
        .source
        .everwrite(["deleted".as_ref(), pair.tree.as_os_str()])
        .success();
    assert!(
        deleted.text().contains("report"),
        "not among the deleted: {}",
        deleted.text()
    );
}

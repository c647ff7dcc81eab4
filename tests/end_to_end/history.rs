//! The past: every checkpoint can be had back whole, with the source dead.

use harness::{Pair, shell, tree};

const CHAPTERS: [&str; 6] = [
    "mkdir -p a/b; seq 5000 > a/b/numbers; echo one > one; ln one uno; truncate -s 1M sparse",
    "printf CHANGED | dd of=a/b/numbers bs=1 seek=7000 conv=notrunc status=none; rm uno; chmod 600 one",
    "mv a c; echo two > two; seq 100 >> c/b/numbers; ln -s two link",
    "sed -i 10,20d c/b/numbers; rm two; mkdir two; echo x > two/x; setfattr -n user.k -v v one",
    "rm -r c; mkdir c; echo other > c/b; truncate -s 100 sparse; mv one c/one; touch -d @5 two",
    "rm -rf * ; echo last > last",
];

#[test]
fn every_chapter_can_be_had_back() {
    let mut pair = Pair::start();
    let mut copies = Vec::new();
    for (number, chapter) in CHAPTERS.iter().enumerate() {
        pair.run(chapter);
        let name = format!("chapter-{number}");
        pair.source.everwrite(["checkpoint", &name]).success();
        let copy = tree::copy_of(&pair.tree, &pair.place.path().join(&name));
        copies.push((name, copy));
    }
    pair.assert_mirrored();
    pair.source.kill();
    for (name, copy) in &copies {
        pair.assert_restores(name, copy);
    }
    pair.receiver.daemon().terminate();
    for (name, copy) in &copies {
        pair.assert_restores(name, copy);
    }
}

#[test]
fn looked_into_without_restoring() {
    let pair = Pair::start_with(|tree| {
        shell(tree, "echo first > file; mkdir d; echo x > d/x");
    });
    pair.source.everwrite(["checkpoint", "first"]).success();
    pair.run("echo second > file; rm -r d");
    pair.source.settle();
    let (file, tree) = (pair.tree.join("file"), pair.tree.as_os_str());
    let at = |command: &str, path: &std::ffi::OsStr| {
        pair.source
            .everwrite([command.as_ref(), path, "--at".as_ref(), "first".as_ref()])
            .success()
    };
    assert_eq!(at("cat", file.as_os_str()).text(), "first\n");
    assert!(at("ls", tree).text().contains('d'));
    let points = pair.source.everwrite(["points"]).success().text();
    assert!(
        points.contains("first"),
        "no checkpoint among the points: {points}"
    );
    let (id, store) = (pair.source_id(), pair.receiver.store());
    let receiver = store
        .ask("cat", &["--source", &id, "tree/file", "--at", "first"])
        .success();
    assert_eq!(receiver.text(), "first\n");
    store
        .ask("ls", &["--source", &id, "tree", "--at", "first"])
        .success();
    store.ask("log", &["--source", &id, "tree/file"]).success();
    store.ask("stats", &[]).success();
}

/// Nothing is overwritten without being told.
#[test]
fn restore_overwrites_only_when_told() {
    let pair = Pair::start_with(|tree| {
        shell(tree, "echo first > file");
    });
    pair.source.everwrite(["checkpoint", "first"]).success();
    pair.run("echo second > file");
    pair.source.settle();
    let file = pair.tree.join("file");
    let restore = |options: &[&str]| {
        let start = [
            "restore".as_ref(),
            file.as_os_str(),
            "--at".as_ref(),
            "first".as_ref(),
        ];
        pair.source.everwrite(
            start
                .into_iter()
                .chain(options.iter().map(|option| option.as_ref())),
        )
    };
    let read = || std::fs::read_to_string(&file).expect("the file");
    restore(&["--in-place", "--dry-run"]).success();
    assert_eq!(read(), "second\n");
    restore(&["--in-place"]).success();
    assert_eq!(read(), "first\n");
    let to = pair.place.directory("to");
    shell(&to, "echo mine > file");
    let outcome = restore(&["--to", &to.display().to_string()]);
    assert_ne!(
        outcome.code,
        Some(0),
        "overwrote a file of the user: {}",
        outcome.text()
    );
    assert_eq!(
        std::fs::read_to_string(to.join("file")).expect("the file"),
        "mine\n"
    );
}

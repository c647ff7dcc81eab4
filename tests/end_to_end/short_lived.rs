//! What lives for a moment only, and is put off meanwhile, is in the history all the same.

use harness::Pair;
use serde_json::Value;

const BYTES: usize = 8_000_000;

/// The content of `name` in the newest version that has so many bytes, restored.
fn restored(pair: &Pair, name: &str) -> Vec<u8> {
    let path = pair.tree.join(name);
    let log = pair
        .source
        .everwrite(["log".as_ref(), path.as_os_str(), "--json".as_ref()]);
    let log: Vec<Value> = serde_json::from_str(&log.success().text()).expect("JSON");
    let whole = |version: &&Value| version["size"] == BYTES && version["change"] != "deleted";
    let version = log.iter().find(whole);
    let version = version.unwrap_or_else(|| panic!("{name} was never whole: {log:?}"));
    let at = format!("@{}", version["point"]);
    let to = pair.place.directory(&format!("restored-{name}"));
    let arguments = [
        "--at".as_ref(),
        at.as_ref(),
        "--to".as_ref(),
        to.as_os_str(),
    ];
    pair.source
        .everwrite(
            ["restore".as_ref(), path.as_os_str()]
                .into_iter()
                .chain(arguments),
        )
        .success();
    std::fs::read(to.join(name)).expect("the restored file")
}

#[test]
fn a_large_file_that_lives_for_a_moment() {
    let pair = Pair::start_with(|tree| {
        std::fs::write(tree.join("rewritten"), vec![b'o'; BYTES]).expect("write");
    });
    let files = [("made", 'x'), ("rewritten", 'y')];
    for (name, byte) in files {
        pair.run(&format!(
            "head -c {BYTES} /dev/zero | tr '\\0' {byte} |
                dd of={name} bs=1M conv=notrunc iflag=fullblock status=none
             sleep 0.1; rm {name}"
        ));
    }
    pair.assert_mirrored();
    for (name, byte) in files {
        let content = restored(&pair, name);
        let whole = content.len() == BYTES && content.iter().all(|found| *found == byte as u8);
        assert!(whole, "{name}");
    }
}

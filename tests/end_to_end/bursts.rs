//! One process that deletes or overwrites much is told of, with the recovery point to go back to.

use std::time::Duration;

use everwrite_protocol::control::Burst;
use harness::{DEADLINE, Pair, shell, tree, try_wait_for, wait_for, wait_until};

/// Files of the tree, a tenth of them beside the directory that things happen to.
const FILES: u64 = 400;
/// What is younger than this is no loss.
const WINDOW: Duration = Duration::from_secs(10);

/// A tree of files that are old enough to be missed, and a coordinator that notices 100 of them.
fn with_old_files(settings: &str) -> Pair {
    let mut pair = Pair::start_with(|tree| {
        shell(
            tree,
            "mkdir d e; for i in $(seq 360); do echo content of $i > d/$i; done; for i in $(seq 40); do echo $i > e/$i; done",
        );
    });
    pair.assert_mirrored();
    let window = WINDOW.as_secs();
    pair.source.configure(&format!(
        "{settings}\n[brakes]\nburst_files = 100\nburst_s = {window}"
    ));
    pair.assert_mirrored();
    let last = std::fs::metadata(pair.tree.join("e/40")).unwrap();
    wait_until("the files are old", || {
        last.modified().unwrap().elapsed().unwrap() > WINDOW
    });
    pair
}

fn burst(pair: &Pair) -> Burst {
    wait_for("a burst is told of", DEADLINE, || {
        pair.source.status().bursts.first().cloned()
    })
}

#[test]
fn deleted_by_mistake() {
    let mut pair = with_old_files("");
    let copy = tree::copy_of(&pair.tree, &pair.place.path().join("copy"));
    assert_eq!(pair.source.status().bursts, []);
    pair.run("rm -rf d");
    pair.assert_mirrored();
    let burst = burst(&pair);
    assert_eq!(
        (burst.root.as_str(), burst.program.as_str()),
        (Pair::ROOT, "rm")
    );
    assert!(
        burst.pid > 0 && burst.executable.ends_with("/rm"),
        "{burst:?}"
    );
    assert_eq!(
        (burst.removed, burst.overwritten, burst.files_before),
        (360, 0, FILES)
    );
    let point = format!("@{}", burst.point.expect("a point before it").0);
    pair.assert_restores(&point, &copy);

    // Told until it is acknowledged, whatever happens to the coordinator.
    pair.source.kill();
    pair.source.start_again();
    pair.source.wait_continuous();
    let known = pair.source.status().bursts;
    // How large it became last need not have been written down.
    let whose = |burst: &Burst| (burst.id, burst.pid, burst.program.clone(), burst.point);
    assert_eq!(known.iter().map(whose).collect::<Vec<_>>(), [whose(&burst)]);
    assert!((100..=360).contains(&known[0].removed), "{known:?}");
    let shown = pair.source.everwrite(["status"]).success().text();
    assert!(
        shown.contains("BURST in tree") && shown.contains(&point),
        "{shown}"
    );
    let said = pair.source.everwrite(["acknowledge"]).success().text();
    assert!(said.contains("1 acknowledged"), "{said}");
    assert_eq!(pair.source.status().bursts, []);
    pair.source.kill();
    pair.source.start_again();
    assert_eq!(pair.source.status().bursts, []);
}

/// As ransomware does: contents overwritten in place, or written anew under another name.
#[test]
fn overwritten_by_one_program() {
    let pair = with_old_files("");
    let copy = tree::copy_of(&pair.tree, &pair.place.path().join("copy"));
    pair.run(
        r#"python3 -c '
import os
for number in range(1, 361):
    name = f"d/{number}"
    data = bytes(byte ^ 85 for byte in open(name, "rb").read())
    if number % 2:
        with open(name, "r+b") as file: file.write(data)
        os.rename(name, name + ".locked")
    else:
        with open(name + ".locked", "wb") as file: file.write(data)
        os.unlink(name)'"#,
    );
    pair.assert_mirrored();
    let told = || {
        let burst = burst(&pair);
        ((burst.removed, burst.overwritten) == (180, 180)).then_some(burst)
    };
    let burst = try_wait_for(DEADLINE, told).unwrap_or_else(|| {
        let [coverage, log] = ["coverage", "log"].map(|word| pair.source.everwrite([word]).text());
        panic!("{:?}\n{coverage}\n{log}", pair.source.status())
    });
    assert!(burst.program.starts_with("python"), "{burst:?}");
    let point = format!("@{}", burst.point.expect("a point before it").0);
    pair.assert_restores(&point, &copy);
    assert_eq!(
        pair.source.status().bursts.len(),
        1,
        "one process, one burst"
    );
}

/// Who has no shim is found by the scan, and nobody knows who it was.
#[test]
fn deleted_by_nobody_known() {
    let pair = with_old_files("[witness]\nenabled = false");
    pair.source.everwrite(["reconcile"]).success();
    shell(&pair.tree, "rm -rf d");
    pair.source.everwrite(["reconcile"]).exits(1);
    let burst = burst(&pair);
    assert_eq!(
        (burst.removed, burst.pid, burst.program.as_str()),
        (360, 0, "")
    );
}

/// Programs delete their own temporary files all day, and write anew what is a small part of the root.
#[test]
fn usual_work_is_no_burst() {
    let pair = with_old_files("");
    pair.run(
        "mkdir t; for i in $(seq 300); do echo $i > t/$i; done; rm -r t
         for i in $(seq 90); do echo again > d/$i; done; rm -r e",
    );
    pair.assert_mirrored();
    assert_eq!(pair.source.status().bursts, []);
}

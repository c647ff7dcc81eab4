//! What is gone before anybody could read it is told, with its path and how it came.

use everwrite_protocol::control::{Coverage, GapCause};
use harness::wait_for;

use crate::scene::{SOON, soon_mirrored, witnessed};

#[test]
fn a_known_file_that_dies_before_its_last_write_is_read() {
    let test = "a_known_file_that_dies_before_its_last_write_is_read";
    let fill = "for name in removed replaced written; do echo first > $name; done";
    let Some(mut pair) = witnessed(test, fill) else {
        return;
    };
    assert_eq!(pair.source.status().capture.gaps, 0);
    let tree = pair.tree.clone();
    // The next file with a number is told apart by its birth, of a clock that goes in steps.
    let script = "for name in removed replaced written; do echo second > $name; done
        sleep 0.05; rm removed; echo third > new; mv new replaced";
    pair.source
        .daemon()
        .while_stopped(|| drop(harness::shell(&tree, script)));
    let gaps = wait_for("it is told", SOON, || {
        let gaps = pair.source.status().capture.gaps;
        (gaps >= 2).then_some(gaps)
    });
    soon_mirrored(&pair);
    let coverage: Coverage = pair
        .source
        .everwrite(["coverage", "--json"])
        .success()
        .json();
    let mut paths: Vec<_> = coverage
        .gaps
        .iter()
        .map(|gap| (gap.cause, gap.path.to_bytes().expect("a path")))
        .collect();
    paths.sort_by(|one, other| one.1.cmp(&other.1));
    let named = |name: &str| {
        let path = pair.tree.join(name).into_os_string();
        (GapCause::Died, path.into_encoded_bytes())
    };
    assert_eq!(paths, [named("removed"), named("replaced")]);
    assert_eq!(gaps, 2, "what lives on was read");
    let text = pair.source.everwrite(["coverage"]);
    assert!(
        text.success()
            .text()
            .contains("before its last writes were read")
    );
}

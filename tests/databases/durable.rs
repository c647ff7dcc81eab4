//! `--durable-fsync`: everything on the source's side is killed at once, and the source is never asked again. What
//! the receiver has by then is opened as it is: whatever a commit had returned for is in it.
//!
//! Here the newest point is judged, consistent or not: databases order what they write by fsync, and what follows
//! an fsync is not written before the receiver has stored what it covers.

use std::path::PathBuf;
use std::process::Child;
use std::time::Duration;

use harness::{Pair, Place, Receiver, Source, run, wait_until};

use crate::notes::Notes;
use crate::scene::{Load, wall_clock};
use crate::sqlite::{Work, judge, make};

const JOURNALS: [&str; 4] = ["DELETE", "WAL", "TRUNCATE", "PERSIST"];
const WRITERS: u64 = 3;
/// Longest time from the first commit to the blow.
const BLOW_MAX: Duration = Duration::from_millis(1500);
/// They are killed long before.
const LOAD: Load = Load {
    seconds: 600,
    rest_ms: 5,
};

/// Databases in a root whose fsync waits for the receiver, however long.
fn durable() -> Pair {
    let place = Place::new();
    let receiver = Receiver::start(&place, "store");
    let settings = "[durable_fsync]\ntimeout_ms = 60000\non_timeout = \"fail\"\n";
    let source = Source::start_configured(&place, "home", settings);
    source.pair(&receiver.pairing_code());
    let tree = place.directory("tree");
    for journal in JOURNALS {
        make(&tree.join(database(journal)), journal);
    }
    let mut protect = source.command();
    protect
        .arg("protect")
        .arg(&tree)
        .args(["--name", Pair::ROOT, "--durable-fsync"]);
    run(&mut protect).success();
    source.wait_continuous();
    Pair {
        source,
        receiver,
        tree,
        place,
    }
}

fn database(journal: &str) -> String {
    format!("{journal}.db")
}

fn notes_of(pair: &Pair, journal: &str, writer: u64) -> PathBuf {
    pair.place.path().join(format!("{journal}-{writer}"))
}

/// Writers at work, each of which has committed something.
fn writers(pair: &Pair, journal: &str) -> Vec<Child> {
    let start = |writer| {
        let work = Work {
            database: &database(journal),
            writer,
            journal,
            // With FULL the unlink of a journal, which commits, is not followed by an fsync of the directory.
            synchronous: "EXTRA",
            load: LOAD,
        };
        let mut command = work.command(pair, &notes_of(pair, journal, writer));
        command.spawn().expect("start a writer")
    };
    let children = (0..WRITERS).map(start).collect();
    wait_until("every writer has committed something", || {
        let noted = |writer| {
            std::fs::read(notes_of(pair, journal, writer)).is_ok_and(|notes| !notes.is_empty())
        };
        (0..WRITERS).all(noted)
    });
    children
}

/// The last thing that the source's side does. In the order that chance gives.
fn kill_all(pair: &mut Pair, mut writers: Vec<Child>) {
    let first = pair.place.seed.below(WRITERS + 1) as usize;
    writers.rotate_left(first % WRITERS as usize);
    if first == 0 {
        pair.source.kill();
    }
    for writer in &mut writers {
        writer.kill().expect("kill a writer");
    }
    pair.source.kill();
    for mut writer in writers {
        writer.wait().expect("its end");
    }
}

#[test]
fn nothing_that_was_committed_is_lost_with_the_source() {
    let mut pair = durable();
    let mut committed = 0;
    for journal in JOURNALS {
        let writers = writers(&pair, journal);
        pair.place.seed.moment(BLOW_MAX);
        kill_all(&mut pair, writers);
        let mut notes = Notes::default();
        (0..WRITERS).for_each(|writer| notes.add(writer, &notes_of(&pair, journal, writer)));
        let to = pair.place.directory(&format!("after-{journal}"));
        let store = pair.receiver.store();
        store
            .restore(&pair.source_id(), Pair::ROOT, "newest", &to)
            .success();
        let restored = to.join(Pair::ROOT).join(database(journal));
        if let Err(wrong) = judge(&restored, &notes, wall_clock()) {
            panic!("{journal}: {wrong}");
        }
        committed += notes.len();
        pair.source.start_again();
        pair.source.wait_continuous();
    }
    println!("{committed} transactions");
}

//! A process that is killed may have written what it had not synced, and the next one tells all that it finds to
//! be stored. By then it has to be on the disk.

mod support;

use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use everwrite_receiver::store::{Hands, Settings, SourceStore};

use support::child::{Batches, Random};
use support::disk::after_power_loss;
use support::place::{Place, apart};
use support::{catch_up, open_with, send};

/// Batches that were stored before, and with those that were only written.
const BEFORE: u64 = 6;
const WRITTEN: u64 = 12;
const ROUNDS: u64 = 6;

#[test]
fn what_a_restart_has_found_is_on_the_disk() {
    let name = "what_a_restart_has_found_is_on_the_disk";
    apart(name, || lose_power_after_a_restart(&Place::new().unwrap()));
}

fn lose_power_after_a_restart(place: &Place) {
    let mut batches = Batches::new(1);
    let formatted = place.formatted().unwrap();
    let stored = place.on(formatted, |mount| store(mount, &mut batches, BEFORE));
    stored.unwrap();
    let before = place.disk.image();
    let written = place.on(before.clone(), |mount| {
        store(mount, &mut batches, WRITTEN);
        std::fs::read(segment(mount)).unwrap()
    });
    let written = written.unwrap();
    for round in 0..ROUNDS {
        let events = place.on(before.clone(), |mount| {
            let file = OpenOptions::new().write(true).open(segment(mount));
            file.unwrap().write_all_at(&written, 0).unwrap();
            // Nothing is applied meanwhile: that would sync the whole file system.
            let store = driven(mount);
            assert_eq!(store.stored().0, WRITTEN);
            place.disk.stored(WRITTEN, true);
            place.disk.take_events()
        });
        let events = events.unwrap();
        let (image, told) = after_power_loss(&before, &events, events.len(), &mut Random(round));
        let found = place.on(image, |mount| driven(mount).stored().0).unwrap();
        assert!(found >= told, "{told} told, {found} found");
    }
}

/// Stores batches up to this one.
fn store(mount: &Path, batches: &mut Batches, last: u64) {
    let store = kept(mount, Hands::Threads);
    while batches.sequence() < last {
        let (sequence, batch) = batches.next();
        send(&store, sequence, &batch);
    }
    catch_up(&store, last);
    store.close();
}

/// A store in which nothing happens by itself.
fn driven(mount: &Path) -> Arc<SourceStore> {
    kept(mount, Hands::Callers)
}

/// One whose log takes little space ahead, and has one segment here.
fn kept(mount: &Path, hands: Hands) -> Arc<SourceStore> {
    let segment_bytes = 192 << 10;
    open_with(
        Settings {
            hands,
            segment_bytes,
        },
        mount,
    )
}

/// The only segment of the log.
fn segment(mount: &Path) -> PathBuf {
    let entries = |directory: PathBuf| std::fs::read_dir(directory).unwrap().map(Result::unwrap);
    let source = entries(mount.join("src")).next().unwrap().path();
    let mut segments = entries(source.join("log")).map(|entry| entry.path());
    segments
        .find(|path| path.extension().is_some_and(|kind| kind == "seg"))
        .unwrap()
}

//! Writes that nobody announces and that times hardly show.

use std::fs::FileTimes;
use std::time::SystemTime;

use super::*;

/// A file that a scan found, and read within the tick in which it was written.
fn read_within_the_tick(rig: &mut Rig) -> crate::index::FileRow {
    for _ in 0..1000 {
        fs::write(rig.root.join("file"), "first").unwrap();
        rig.scan();
        let metadata = fs::metadata(rig.root.join("file")).unwrap();
        let row = rig.state.index.by_inode(metadata.dev(), metadata.ino(), 0);
        let row = row.unwrap().unwrap();
        if row.is_suspect() {
            return row;
        }
    }
    panic!("no look within the tick of the write");
}

/// Written again within the tick: size and times are as they were.
#[test]
fn what_is_written_twice_within_a_tick_is_found() {
    let mut rig = Rig::new();
    rig.settle();
    let row = read_within_the_tick(&mut rig);
    fs::write(rig.root.join("file"), "other").unwrap();
    // As the times would be by a clock that has not moved on.
    let now = fs::metadata(rig.root.join("file")).unwrap();
    let same = crate::index::FileRow {
        modified: everwrite_protocol::ids::Timestamp::from_parts(
            now.mtime(),
            now.mtime_nsec() as u32,
        ),
        ..row
    };
    let sequence = rig.state.index.begin().unwrap();
    rig.state.index.put_file(&same, sequence).unwrap();
    rig.state.index.commit_without_batch().unwrap();
    rig.scan();
    rig.check();
}

/// As `cp -p` does: other content of the same size, and the time of content set back.
#[test]
fn what_is_written_and_set_back_is_found() {
    let mut rig = Rig::new();
    let file = rig.root.join("file");
    fs::write(&file, "first").unwrap();
    rig.settle();
    fs::write(&file, "other").unwrap();
    let past = FileTimes::new().set_modified(SystemTime::UNIX_EPOCH);
    let open = fs::OpenOptions::new().write(true).open(&file).unwrap();
    open.set_times(past).unwrap();
    rig.scan();
    rig.check();
}

/// More names than the queue keeps apart in one directory: a listing of it would miss them again, for ever.
#[test]
fn many_names_that_went_unheard_are_found() {
    let mut rig = Rig::new();
    let file = |number: u32| rig.root.join(format!("file{number}"));
    (0..12).for_each(|number| fs::write(file(number), "content").unwrap());
    rig.settle();
    (0..10).for_each(|number| fs::remove_file(rig.root.join(format!("file{number}"))).unwrap());
    rig.state.queue = crate::queue::Queue::within(QueueLimits {
        names_per_directory: 4,
        entries: 100,
    });
    rig.state.scan = Some(Scan::new(ScanReason::Gap, Instant::now()));
    let mark = rig.state.queue.scan_mark(Instant::now());
    rig.state.list_roots(mark, true).unwrap();
    rig.settle();
    rig.check();
}

/// Its names are told of, then a scan finds the directory, and then that is told of.
#[test]
fn what_was_told_before_its_directory_was_found_is_no_miss() {
    let mut rig = Rig::new();
    rig.settle();
    fs::create_dir(rig.root.join("new")).unwrap();
    fs::write(rig.root.join("new/told"), "content").unwrap();
    fs::write(rig.root.join("new/untold"), "content").unwrap();
    rig.name_hint(Path::new("new/told"));
    rig.settle();
    rig.changes.clear();
    rig.scan();
    rig.check();
    let missed = |change: &&account::Change| change.suspect.is_some();
    let missed: Vec<_> = rig.changes.iter().filter(missed).collect();
    let names: Vec<_> = missed
        .iter()
        .filter_map(|change| Some(change.name.as_ref()?.1.to_string()))
        .collect();
    assert_eq!(names, ["new", "untold"]);
}

/// What was told of its names waits as one listing, and there is nothing left to be listed.
#[test]
fn the_time_of_a_directory_in_which_names_came_and_went() {
    let mut rig = Rig::new();
    let path = rig.root.join("d");
    fs::create_dir(&path).unwrap();
    let directory = fs::File::open(&path).unwrap();
    directory.set_modified(std::time::UNIX_EPOCH).unwrap();
    rig.settle();
    fs::write(path.join("came"), "and went").unwrap();
    fs::remove_file(path.join("came")).unwrap();
    let directory = inode(&fs::metadata(&path).unwrap());
    rig.hint(What::Names { directory });
    rig.settle();
    rig.check();
}

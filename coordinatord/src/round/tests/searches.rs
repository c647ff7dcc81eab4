//! What is not where the index has it, and when a scan has listed all it will.

use super::*;

/// A tree in which `d` has thirty files, and the number of `d`; all is stored.
fn known() -> (Rig, Inode) {
    let mut rig = Rig::new();
    fs::create_dir(rig.root.join("d")).unwrap();
    for name in 0..30 {
        fs::write(rig.root.join("d").join(name.to_string()), "content").unwrap();
    }
    rig.settle();
    let directory = inode(&fs::metadata(rig.root.join("d")).unwrap());
    (rig, directory)
}

/// Each of them would look for the directory; a look at everything costs every recovery point meanwhile.
#[test]
fn many_names_of_a_directory_that_is_elsewhere_are_one_search() {
    let (mut rig, directory) = known();
    fs::rename(rig.root.join("d"), rig.root.join("e")).unwrap();
    for name in 0..30 {
        let name = Name::new(name.to_string().into_bytes()).unwrap();
        let arrived = false;
        rig.hint(What::Name {
            directory,
            name,
            arrived,
        });
    }
    rig.round();
    assert!(rig.state.queue.take_everything().is_none());
    rig.name_hint(Path::new("d"));
    rig.name_hint(Path::new("e"));
    rig.settle();
    rig.check();
}

/// Its names were told of, and then it was removed; the file system gave its number to a file.
#[test]
fn names_of_a_directory_whose_number_is_a_file_s_by_now() {
    let (mut rig, directory) = known();
    fs::remove_dir_all(rig.root.join("d")).unwrap();
    let mut files = (0..100).map(|file| rig.root.join(format!("file-{file}")));
    let took = files.find(|path| {
        fs::write(path, "another").unwrap();
        inode(&fs::metadata(path).unwrap()) == directory
    });
    rig.scan();
    for name in 0..30 {
        let name = Name::new(name.to_string().into_bytes()).unwrap();
        rig.hint(What::Name {
            directory,
            name,
            arrived: false,
        });
    }
    rig.hint(What::Names { directory });
    rig.round();
    assert!(!rig.state.has_work(Instant::now()), "{took:?}");
    rig.check();
}

#[test]
fn a_scan_is_not_about_what_programs_make_meanwhile() {
    let mut rig = Rig::new();
    rig.settle();
    let mark = rig.state.queue.scan_mark(Instant::now());
    let mut scan = Scan::new(ScanReason::Gap, Instant::now());
    scan.until = mark.ticket;
    rig.state.scan = Some(scan);
    rig.state.list_roots(mark, true).unwrap();
    assert!(rig.state.is_scan_listing());
    rig.settle();
    fs::create_dir(rig.root.join("new")).unwrap();
    let directory = inode(&fs::metadata(&rig.root).unwrap());
    rig.hint(What::Names { directory });
    assert!(rig.state.is_listing() && !rig.state.is_scan_listing());
    rig.settle();
    rig.check();
}

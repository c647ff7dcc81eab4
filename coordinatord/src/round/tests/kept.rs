//! Files that die before all of them is read.

use super::*;

/// Larger than what goes without a rest, and what a batch holds.
const RESTING: usize = 2 << 20;
const IN_PARTS: usize = 10 << 20;

fn content(length: usize, seed: u64) -> Vec<u8> {
    let mut content = vec![0; length];
    let mut hasher = blake3::Hasher::new();
    hasher.update(&seed.to_le_bytes());
    hasher.finalize_xof().fill(&mut content);
    content
}

/// Rounds until nothing is left to do; did the receiver have `path` with this content after one of them?
fn is_seen(rig: &mut Rig, path: &str, content: &[u8]) -> bool {
    let expected = blake3::hash(content);
    let mut seen = false;
    rig.state.hurry = true;
    for round in 0.. {
        if !rig.state.has_work(Instant::now()) {
            break;
        }
        assert!(round < 50, "rounds without end");
        rig.round();
        let tree = rig.model.tree();
        seen |= tree
            .get(Path::new(path))
            .is_some_and(|file| file.digest == expected);
    }
    seen
}

/// Written, told, and looked at without haste.
fn write_and_look(rig: &mut Rig, path: &str, content: &[u8]) {
    fs::write(rig.root.join(path), content).unwrap();
    rig.state.hurry = false;
    rig.name_hint(Path::new(path));
    rig.round();
}

fn remove(rig: &mut Rig, path: &str) {
    fs::remove_file(rig.root.join(path)).unwrap();
    rig.name_hint(Path::new(path));
}

fn nothing_is_kept(rig: &mut Rig) {
    assert_eq!(rig.gaps, [], "what was kept is in the history");
    rig.check();
    rig.state
        .kept
        .sweep(Instant::now() + Duration::from_secs(2));
    assert!(rig.state.kept.is_empty());
}

#[test]
fn a_new_file_that_dies_while_it_rests() {
    for length in [RESTING, IN_PARTS] {
        let mut rig = Rig::new();
        rig.settle();
        let content = content(length, 1);
        write_and_look(&mut rig, "file", &content);
        assert!(
            !rig.model.tree().contains_key(Path::new("file")),
            "it rests"
        );
        remove(&mut rig, "file");
        assert!(is_seen(&mut rig, "file", &content), "{length}");
        nothing_is_kept(&mut rig);
    }
}

#[test]
fn a_new_file_that_dies_while_it_is_sent() {
    let mut rig = Rig::new();
    rig.settle();
    let content = content(IN_PARTS, 2);
    fs::write(rig.root.join("file"), &content).unwrap();
    rig.state.hurry = true;
    rig.name_hint(Path::new("file"));
    rig.round();
    rig.round();
    assert!(!rig.state.staged.is_empty(), "a part is sent");
    remove(&mut rig, "file");
    assert!(is_seen(&mut rig, "file", &content));
    nothing_is_kept(&mut rig);
}

/// `rm -r`, and nobody tells of more than the top.
#[test]
fn a_new_file_that_dies_with_its_directory() {
    let mut rig = Rig::new();
    fs::create_dir(rig.root.join("d")).unwrap();
    rig.settle();
    let content = content(RESTING, 3);
    write_and_look(&mut rig, "d/file", &content);
    fs::remove_file(rig.root.join("d/file")).unwrap();
    fs::remove_dir(rig.root.join("d")).unwrap();
    rig.name_hint(Path::new("d"));
    rig.settle();
    rig.check();
}

/// A known file, all of it written anew in place, told by `what`, and looked at without haste.
fn rewritten(length: usize, what: impl Fn(Inode) -> What) -> (Rig, Vec<u8>) {
    rewritten_and_grown(length, length, what)
}

fn rewritten_and_grown(
    length: usize,
    grown: usize,
    what: impl Fn(Inode) -> What,
) -> (Rig, Vec<u8>) {
    let mut rig = Rig::new();
    fs::write(rig.root.join("file"), content(length, 4)).unwrap();
    // Else what the scan read may be out of date unseen, and the next look compares it with the receiver's.
    wait_for_other_file_times();
    rig.settle();
    let last = content(grown, 5);
    let written = write_at_the_start(&rig, &last);
    rig.state.hurry = false;
    rig.hint(what(written));
    rig.round();
    assert!(!rig.state.resting.is_empty(), "it rests");
    (rig, last)
}

fn write_at_the_start(rig: &Rig, content: &[u8]) -> Inode {
    let file = fs::OpenOptions::new()
        .write(true)
        .open(rig.root.join("file"));
    let file = file.unwrap();
    file.write_all_at(content, 0).unwrap();
    inode(&file.metadata().unwrap())
}

fn written(file: Inode, length: usize) -> What {
    What::Write {
        file,
        birth: 0,
        offset: 0,
        length: length as u64,
    }
}

/// Rewritten in place, then removed, or replaced.
#[test]
fn a_known_file_that_dies_while_it_rests() {
    for replaced in [false, true] {
        for length in [RESTING, IN_PARTS] {
            let (mut rig, last) = rewritten(length, |file| written(file, length));
            if replaced {
                fs::write(rig.root.join("new"), "other").unwrap();
                fs::rename(rig.root.join("new"), rig.root.join("file")).unwrap();
                rig.name_hint(Path::new("new"));
                rig.name_hint(Path::new("file"));
            } else {
                remove(&mut rig, "file");
            }
            assert!(
                is_seen(&mut rig, "file", &last),
                "{length}, replaced {replaced}"
            );
            nothing_is_kept(&mut rig);
        }
    }
}

/// It tells whether a late point can be had for little. Growth has no end as it is told.
#[test]
fn as_much_is_put_off_as_the_file_is_long() {
    let grown = RESTING + 4096;
    let put_off = |what: &dyn Fn(Inode) -> What| {
        let (rig, _) = rewritten_and_grown(RESTING, grown, what);
        rig.state.put_off_bytes()
    };
    let somewhere = |file| What::Whole { file, birth: 0 };
    assert_eq!(put_off(&|file| written(file, grown)), grown as u64);
    assert_eq!(put_off(&somewhere), grown as u64);
}

/// Nobody knows which part of it was written.
#[test]
fn a_known_file_that_dies_and_was_written_somewhere() {
    let (mut rig, last) = rewritten(IN_PARTS, |file| What::Whole { file, birth: 0 });
    remove(&mut rig, "file");
    assert!(is_seen(&mut rig, "file", &last));
    nothing_is_kept(&mut rig);
}

/// What was told while its parts were on their way is read, too.
#[test]
fn a_file_that_is_written_to_while_it_is_sent_and_dies() {
    let mut rig = Rig::new();
    rig.settle();
    let mut last = content(IN_PARTS, 10);
    fs::write(rig.root.join("file"), &last).unwrap();
    rig.state.hurry = true;
    rig.name_hint(Path::new("file"));
    rig.round();
    rig.round();
    assert!(!rig.state.staged.is_empty(), "a part is sent");
    last[..1000].copy_from_slice(&content(1000, 11));
    let file = write_at_the_start(&rig, &last[..1000]);
    rig.hint(written(file, 1000));
    remove(&mut rig, "file");
    assert!(is_seen(&mut rig, "file", &last));
    nothing_is_kept(&mut rig);
}

/// It has gone elsewhere, and is not dead.
#[test]
fn what_has_another_name_is_not_dead() {
    let mut rig = Rig::new();
    rig.settle();
    let content = content(RESTING, 6);
    write_and_look(&mut rig, "file", &content);
    fs::rename(rig.root.join("file"), rig.root.join("other")).unwrap();
    rig.name_hint(Path::new("file"));
    rig.name_hint(Path::new("other"));
    assert!(!is_seen(&mut rig, "file", &content));
    nothing_is_kept(&mut rig);
}

/// By then somebody else has the name.
#[test]
fn a_name_is_not_taken_from_who_has_it_now() {
    let mut rig = Rig::new();
    rig.settle();
    let first = content(IN_PARTS, 7);
    fs::write(rig.root.join("file"), &first).unwrap();
    rig.state.hurry = true;
    rig.name_hint(Path::new("file"));
    rig.round();
    remove(&mut rig, "file");
    fs::write(rig.root.join("file"), "second").unwrap();
    rig.name_hint(Path::new("file"));
    rig.settle();
    rig.check();
}

//! What died before it was read is told, and nothing else is.

use everwrite_protocol::control::GapCause;
use rustix::fs::CWD;

use super::*;

/// A tree with a known `d/file`, of which everything is stored.
fn known() -> Rig {
    let mut rig = Rig::new();
    fs::create_dir(rig.root.join("d")).unwrap();
    fs::write(rig.root.join("d/file"), "first").unwrap();
    rig.settle();
    rig
}

/// Writes to `d/file`, which is told.
fn write(rig: &mut Rig, content: &str) {
    fs::write(rig.root.join("d/file"), content).unwrap();
    written(rig, "d/file", 0);
}

/// It is told that the file at `path`, born at `birth`, was written to.
fn written(rig: &mut Rig, path: &str, birth: u64) {
    let metadata = fs::metadata(rig.root.join(path)).unwrap();
    rig.hint(What::Write {
        file: inode(&metadata),
        birth,
        offset: 0,
        length: metadata.len(),
    });
}

fn hinted(rig: &mut Rig, paths: &[&str]) {
    paths.iter().for_each(|path| rig.name_hint(Path::new(path)));
    rig.settle();
    rig.check();
}

fn died(rig: &Rig) -> Gap {
    Gap {
        path: rig.root.join("d/file"),
        cause: GapCause::Died,
    }
}

#[test]
fn a_known_file_that_is_removed_before_its_last_write_is_read() {
    for is_read in [false, true] {
        let mut rig = known();
        write(&mut rig, "second");
        if is_read {
            rig.settle();
        }
        fs::remove_file(rig.root.join("d/file")).unwrap();
        hinted(&mut rig, &["d/file"]);
        let expected = if is_read { vec![] } else { vec![died(&rig)] };
        assert_eq!(rig.gaps, expected, "read: {is_read}");
    }
}

#[test]
fn a_known_file_that_is_replaced_before_its_last_write_is_read() {
    let mut rig = known();
    write(&mut rig, "second");
    fs::write(rig.root.join("new"), "third").unwrap();
    fs::rename(rig.root.join("new"), rig.root.join("d/file")).unwrap();
    hinted(&mut rig, &["new", "d/file"]);
    assert_eq!(rig.gaps, [died(&rig)]);
}

/// As ext4 gives it: the number of a file that has just been removed goes to the next. Gives the names of files that
/// were made until one had it, that one last.
fn give_the_number_to_another(rig: &Rig) -> Vec<String> {
    let old = rig.root.join("d/file");
    let number = fs::metadata(&old).unwrap().ino();
    wait_for_other_file_times();
    fs::remove_file(&old).unwrap();
    let mut names = Vec::new();
    while names.len() < 100 {
        names.push(format!("other-{}", names.len()));
        let path = rig.root.join(names.last().unwrap());
        fs::write(&path, "other").unwrap();
        if fs::metadata(path).unwrap().ino() == number {
            break;
        }
    }
    names
}

fn birth(path: &Path) -> u64 {
    crate::look::stat_at(CWD, path).unwrap().unwrap().birth
}

/// Who wrote to `d/file` may say which file was meant, or not.
#[test]
fn a_known_file_whose_number_is_another_s_by_then() {
    for is_told in [true, false] {
        let mut rig = known();
        let born = birth(&rig.root.join("d/file"));
        write(&mut rig, "second");
        written(&mut rig, "d/file", if is_told { born } else { 0 });
        let others = give_the_number_to_another(&rig);
        let mut told: Vec<_> = others.iter().map(String::as_str).collect();
        told.push("d/file");
        hinted(&mut rig, &told);
        assert_eq!(rig.gaps, [died(&rig)], "{is_told}");
    }
}

/// What is told of the other is not told of the one that was removed.
#[test]
fn a_known_file_whose_number_is_another_s_that_is_written_to() {
    for is_told in [true, false] {
        let mut rig = known();
        let others = give_the_number_to_another(&rig);
        let last = others.last().unwrap();
        let born = birth(&rig.root.join(last));
        written(&mut rig, last, if is_told { born } else { 0 });
        let mut told: Vec<_> = others.iter().map(String::as_str).collect();
        told.insert(0, "d/file");
        hinted(&mut rig, &told);
        assert_eq!(rig.gaps, [], "{is_told}");
    }
}

/// `rm -r`, and nobody tells of more than the top.
#[test]
fn a_known_file_that_dies_with_its_directory() {
    let mut rig = known();
    write(&mut rig, "second");
    fs::remove_dir_all(rig.root.join("d")).unwrap();
    hinted(&mut rig, &["d"]);
    assert_eq!(rig.gaps, [died(&rig)]);
}

#[test]
fn what_has_another_name_is_read_by_that() {
    for length in [10, 3 << 20] {
        let mut rig = known();
        write(&mut rig, &"s".repeat(length));
        fs::rename(rig.root.join("d/file"), rig.root.join("other")).unwrap();
        hinted(&mut rig, &["d/file", "other"]);
        assert_eq!(rig.gaps, [], "{length}");
    }
}

/// The kernel tells of bytes before the size is raised; that is made sure of later, and is no news.
#[test]
fn what_was_only_to_be_made_sure_of_had_been_read() {
    for content in ["other", "it has grown since"] {
        let mut rig = known();
        write(&mut rig, content);
        let file = inode(&fs::metadata(rig.root.join("d/file")).unwrap());
        rig.hint(What::Write {
            file,
            birth: 0,
            offset: 0,
            length: 1000,
        });
        rig.state.hurry = false;
        rig.round();
        assert!(!rig.state.resting.is_empty(), "it may grow: {content}");
        rig.hint(What::Attributes { file, birth: 0 });
        fs::remove_file(rig.root.join("d/file")).unwrap();
        hinted(&mut rig, &["d/file"]);
        assert_eq!(rig.gaps, [], "{content}");
    }
}

/// Kept are few, and not for long.
#[test]
fn a_new_file_that_is_removed_while_it_arrives_and_was_not_kept() {
    let mut rig = known();
    fs::write(rig.root.join("d/large"), vec![b'x'; 10 << 20]).unwrap();
    rig.state.hurry = true;
    rig.name_hint(Path::new("d/large"));
    rig.round();
    rig.round();
    assert!(!rig.state.staged.is_empty(), "a part is sent");
    rig.state.kept.clear();
    fs::remove_file(rig.root.join("d/large")).unwrap();
    hinted(&mut rig, &["d/large"]);
    let gap = Gap {
        path: rig.root.join("d/large"),
        cause: GapCause::Arriving,
    };
    assert_eq!(rig.gaps, [gap]);
}

/// Its number is another's as it loses the second, and what had waited was looked at in that one.
#[test]
fn a_known_file_that_loses_two_names() {
    let mut rig = known();
    fs::hard_link(rig.root.join("d/file"), rig.root.join("d/link")).unwrap();
    hinted(&mut rig, &["d/link"]);
    let path = rig.root.join("d/file");
    let born = birth(&path);
    let file = inode(&fs::metadata(&path).unwrap());
    rig.state.hurry = false;
    written(&mut rig, "d/file", born);
    let row = rig.state.index.by_inode(file.device, file.inode, 0);
    let row = row.unwrap().unwrap();
    fs::remove_file(path).unwrap();
    fs::remove_file(rig.root.join("d/link")).unwrap();
    let sequence = rig.state.index.begin().unwrap();
    let mut round = Round::new(&mut rig.state, &rig.tools, Effort::Usual, sequence);
    round.mark_unread(&row);
    assert!(round.state.take_dirt(file).is_some());
    round.mark_unread(&row);
    assert_eq!(round.unread.get(&row.id).map(Vec::len), Some(1));
}

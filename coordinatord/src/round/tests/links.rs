//! Files with many names.

use super::*;

/// A file with that many names, all known.
fn linked(names: u32) -> Rig {
    let mut rig = Rig::new();
    fs::write(rig.root.join("0"), "content").unwrap();
    for name in 1..names {
        link(&rig, name);
    }
    rig.settle();
    rig
}

fn link(rig: &Rig, name: u32) {
    fs::hard_link(rig.root.join("0"), rig.root.join(name.to_string())).unwrap();
}

#[test]
fn a_name_that_went_as_another_came_is_noticed() {
    let mut rig = linked(10);
    fs::remove_file(rig.root.join("5")).unwrap();
    link(&rig, 10);
    rig.name_hint(Path::new("10"));
    rig.settle();
    rig.check();
}

/// One of two that came was told: by the count all old names may be there. They are not looked at, or each of
/// thousands of names would cost as much as all.
#[test]
fn a_name_that_went_as_others_came_is_left_to_a_scan() {
    let mut rig = linked(10);
    fs::remove_file(rig.root.join("5")).unwrap();
    link(&rig, 10);
    link(&rig, 11);
    rig.name_hint(Path::new("10"));
    rig.settle();
    assert!(rig.model.tree().contains_key(Path::new("5")));
    rig.scan();
    rig.check();
}

/// The first fills the batch; at the end of a round a file without a name is dead.
#[test]
fn both_names_of_a_rename_belong_to_one_round() {
    let mut rig = Rig::new();
    fs::create_dir(rig.root.join("d")).unwrap();
    fs::write(rig.root.join("d/file"), "first").unwrap();
    rig.settle();
    let [old, new] = ["d/file", "d/other"].map(|path| rig.root.join(path));
    let directory = inode(&fs::metadata(rig.root.join("d")).unwrap());
    let file = inode(&fs::metadata(&old).unwrap());
    let known = rig.state.index.by_inode(file.device, file.inode, 0);
    fs::rename(&old, &new).unwrap();
    let name = |path: &Path| Name::new(path.file_name().unwrap().as_encoded_bytes()).unwrap();
    rig.hint(What::Rename {
        old_directory: directory,
        old_name: name(&old),
        new_directory: directory,
        new_name: name(&new),
    });
    rig.state.limits.batch_commands = 1;
    rig.settle();
    rig.check();
    let now = rig.state.index.by_inode(file.device, file.inode, 0);
    assert_eq!(
        now.unwrap().unwrap().id,
        known.unwrap().unwrap().id,
        "not another one"
    );
}

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

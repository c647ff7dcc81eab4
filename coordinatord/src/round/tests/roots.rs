//! Roots that are not what they were.

use super::*;

#[test]
fn an_empty_root_halts_and_deletes_nothing() {
    let mut rig = Rig::new();
    fs::write(rig.root.join("precious"), "x").unwrap();
    rig.settle();
    fs::remove_file(rig.root.join("precious")).unwrap();
    rig.state.check_roots(Instant::now()).unwrap();
    rig.settle();
    assert_eq!(rig.state.roots[0].verdict, RootVerdict::SuddenlyEmpty);
    assert!(rig.model.tree().contains_key(Path::new("precious")));

    fs::write(rig.root.join("precious"), "again").unwrap();
    rig.state.check_roots(Instant::now()).unwrap();
    rig.settle();
    assert_eq!(rig.state.roots[0].verdict, RootVerdict::Go);
    rig.check();
}

#[test]
fn a_missing_root_halts_and_goes_on_when_it_is_back() {
    let mut rig = Rig::new();
    fs::write(rig.root.join("precious"), "x").unwrap();
    rig.settle();
    let aside = rig.root.with_extension("aside");
    fs::rename(&rig.root, &aside).unwrap();
    rig.state.check_roots(Instant::now()).unwrap();
    rig.settle();
    assert_eq!(rig.state.roots[0].verdict, RootVerdict::Missing);
    assert!(rig.model.tree().contains_key(Path::new("precious")));

    fs::rename(&aside, &rig.root).unwrap();
    rig.state.check_roots(Instant::now()).unwrap();
    rig.settle();
    assert_eq!(rig.state.roots[0].verdict, RootVerdict::Go);
    rig.check();
}

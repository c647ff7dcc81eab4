//! What lies outside the tree on the same file system is not told, and is as soon as it comes inside.

use std::path::Path;

use everwrite_coordinatord::intake::What;
use harness::skip;

use crate::ear::Ear;
use crate::shell::Shell;

fn is_root(test: &str) -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        skip(test, "needs root");
    }
    root
}

/// Who hears of an arrival looks at all of what arrived.
#[track_caller]
fn brings_in(ear: &mut Ear, script: &str) {
    ear.shell(script);
    let said = ear.said();
    let arrives = |what: &What| matches!(what, What::Name { arrived: true, .. });
    assert!(said.iter().any(arrives), "{said:?}");
}

#[test]
fn nothing_is_told_of_what_is_outside() {
    let mut ear = Ear::new();
    ear.place.directory("beside/deep");
    ear.shell(
        "cd ../beside; echo 1 > a; echo 2 >> a; mv a b; ln b c; mkdir d; mv b d; chmod 600 d/b
         touch d/b; rm c; truncate -s 9 d/b; cp -a d e; rm -r d; exec 3> gone; rm gone; echo >&3",
    );
    ear.shell("cat < /dev/null > ../beside/deep/file; : > ../beside/deep/file");
    // A file with two names is told of wherever they are.
    let said: Vec<_> = ear.said();
    let of_names = |what: &&What| !matches!(what, What::Attributes { .. });
    assert_eq!(
        said.iter().filter(of_names).collect::<Vec<_>>(),
        Vec::<&What>::new()
    );
    // But the tree is.
    ear.hears_all_of(|ear| drop(ear.shell("echo 1 > a; cp a b; mv b ../tree/c")));
}

#[test]
fn a_file_that_is_moved_in_is_heard_from_then_on() {
    let mut ear = Ear::new();
    ear.place.directory("beside");
    let mut writer = Shell::new(&ear);
    writer.does(&ear, "exec 3> ../beside/log; printf 1 >&3; printf 2 >&3");
    assert_eq!(ear.said(), []);
    brings_in(&mut ear, "mv ../beside/log log");
    ear.hears_all_of(|ear| writer.does(ear, "printf 3 >&3"));
    writer.ends();
}

#[test]
fn a_file_that_is_linked_in_is_heard_from_then_on() {
    let mut ear = Ear::new();
    ear.place.directory("beside");
    let mut writer = Shell::new(&ear);
    writer.does(&ear, "exec 3> ../beside/log; printf 1 >&3");
    brings_in(&mut ear, "ln ../beside/log log");
    ear.hears_all_of(|ear| writer.does(ear, "printf 3 >&3"));
    writer.ends();
}

#[test]
fn what_is_in_a_directory_that_is_moved_in_is_heard() {
    let mut ear = Ear::new();
    ear.place.directory("beside/a/b");
    let mut writer = Shell::new(&ear);
    writer.does(
        &ear,
        "cd ../beside/a/b; exec 3> log; printf 1 >&3; echo > x; echo > y",
    );
    assert_eq!(ear.said(), []);
    brings_in(&mut ear, "mv ../beside/a here");
    ear.hears_all_of(|ear| writer.does(ear, "printf 3 >&3; echo > z; mv x w"));
    writer.ends();
}

#[test]
fn a_tree_that_becomes_protected_is_heard_of_at_once() {
    let mut ear = Ear::new();
    let beside = ear.place.directory("beside");
    let mut writer = Shell::new(&ear);
    writer.does(&ear, "cd ../beside; exec 3> log; printf 1 >&3; echo > x");
    assert_eq!(ear.said(), []);
    let places = everwrite_coordinatord::front::places_of([beside.as_path()]);
    ear.intake.as_ref().unwrap().set_places(places.as_ref());
    ear.tree = beside;
    ear.hears_all_of(|ear| writer.does(ear, "printf 2 >&3; echo > y; rm x"));
    writer.ends();
}

/// The same files by other paths.
#[test]
fn other_ways_to_the_tree_are_ways_to_the_tree() {
    if !is_root("other_ways_to_the_tree_are_ways_to_the_tree") {
        return;
    }
    let mut ear = Ear::new();
    ear.place.directory("other");
    ear.hears_all_of(|ear| {
        drop(ear.shell(
            "unshare --mount --propagation private sh -ec '
                mount --bind . ../other; cd ../other; echo 1 > bound; mkdir d; mv bound d'",
        ));
    });
    // The working directory is one way in, a new root directory another.
    let chroot = "import os; os.chroot('.'); open('/inside', 'w').write('x'); os.mkdir('/made')";
    ear.hears_all_of(|ear| drop(ear.shell(&format!("/usr/bin/python3 -c \"{chroot}\""))));
    ear.hears_all_of(|ear| {
        drop(ear.shell("ln -s tree ../way; echo 2 > ../way/by-link; cd ../way; echo 3 > x"))
    });
}

#[test]
fn a_mount_within_a_root_says_that_paths_do_not_tell() {
    if !is_root("a_mount_within_a_root_says_that_paths_do_not_tell") {
        return;
    }
    let proc = Path::new("/proc");
    assert!(everwrite_coordinatord::front::places_of([proc]).is_some());
    let root = everwrite_coordinatord::front::places_of([Path::new("/")]);
    assert_eq!(root, None, "/proc is within");
}

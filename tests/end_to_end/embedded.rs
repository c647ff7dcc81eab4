//! The embedded receiver: the same store in the coordinator's own process, no second daemon.

use harness::{Destination, Place, Source, Store, shell, tree};

#[test]
fn protect_kill_restore() {
    let place = Place::new();
    let mut source = Source::start(&place, "home");
    let (directory, store) = (
        place.directory("tree"),
        Store::at(place.path().join("store")),
    );
    shell(&directory, "mkdir a; seq 1000 > a/b; ln a/b c");
    source.protect(&directory, "tree", &Destination::Directory(store.path()));
    source.run(&directory, "seq 2000 > a/b; echo new > new");
    source.everwrite(["checkpoint", "first"]).success();
    let first = tree::copy_of(&directory, &place.path().join("first"));

    let mut writer = source.spawn(
        &directory,
        "for i in $(seq 300); do echo $i > f$i; rm -f f$((i - 9)); done",
    );
    place.seed.moment(std::time::Duration::from_millis(300));
    source.kill();
    source.start_again();
    assert!(writer.wait().expect("status of the writer").success());

    source.wait_continuous();
    source.settle();
    let id = source.id_in(&store);
    tree::assert_equal(&directory, &store.mirror(&id, "tree"));
    source.everwrite(["verify"]).success();
    source.daemon().terminate();
    store.verify(&id);
    store
        .restore(&id, "tree", "first", &place.directory("back"))
        .success();
    tree::assert_equal(&first, &place.path().join("back/tree"));
}

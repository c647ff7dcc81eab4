//! Many at once: sources on one receiver, roots of one source.

use harness::{Destination, Place, Receiver, Source, shell, tree};

/// Scripts for two that must not mix: the same names, other contents.
fn write_much(source: &Source, directory: &std::path::Path, word: &str) {
    let script = format!(
        "for i in $(seq 40); do echo {word} $i >> same; echo {word} > same-$i; rm -f same-$((i - 5)); done"
    );
    source.run(directory, &script);
}

#[test]
fn two_sources_on_one_receiver() {
    let place = Place::new();
    let receiver = Receiver::start(&place, "store");
    let store = receiver.store();
    let mut known: Vec<String> = Vec::new();
    let sources: Vec<_> = ["one", "two"]
        .map(|name| {
            let source = Source::start(&place, &format!("home-{name}"));
            let directory = place.directory(name);
            source.protect(&directory, "tree", &Destination::Receiver(&receiver));
            let new = store.sources().into_iter().find(|id| !known.contains(id));
            let id = new.expect("the receiver knows the new source");
            known.push(id.clone());
            (source, directory, id, name)
        })
        .into();
    std::thread::scope(|scope| {
        for (source, directory, _, name) in &sources {
            scope.spawn(|| write_much(source, directory, name));
        }
    });
    for (source, directory, id, _) in &sources {
        source.settle();
        tree::assert_equal(directory, &store.mirror(id, "tree"));
        source.everwrite(["verify"]).success();
        store.verify(id);
    }
}

#[test]
fn several_roots() {
    let place = Place::new();
    let receiver = Receiver::start(&place, "store");
    let source = Source::start(&place, "home");
    let roots = ["red", "green", "blue"].map(|name| (name, place.directory(name)));
    for (name, directory) in &roots {
        shell(directory, format!("echo {name} > before"));
        source.protect(directory, name, &Destination::Receiver(&receiver));
    }
    std::thread::scope(|scope| {
        for (name, directory) in &roots {
            scope.spawn(|| write_much(&source, directory, name));
        }
    });
    // From one root to another: gone here, there with all its contents.
    source.run(
        place.path(),
        "mkdir red/d; seq 500 > red/d/f; mv red/d green/d; ln green/before green/link",
    );
    source.settle();
    let id = source.id_in(&receiver.store());
    for (name, directory) in &roots {
        tree::assert_equal(directory, &receiver.store().mirror(&id, name));
    }

    source.everwrite(["unprotect", "red"]).success();
    source.run(
        place.path(),
        "echo after > red/after; echo after > blue/after",
    );
    source.settle();
    let mirror = |name| receiver.store().mirror(&id, name);
    tree::assert_equal(&roots[2].1, &mirror("blue"));
    assert!(!mirror("red").join("after").exists(), "no longer protected");
    assert!(mirror("red").join("same").exists(), "what was stored stays");
}

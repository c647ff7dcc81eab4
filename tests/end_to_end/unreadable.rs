//! A file that the coordinator may not read: shown with its path, and all others are protected.

use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use harness::artifacts::artifacts;
use harness::{Place, Receiver, Source, run, shell, wait_until};

/// Nobody in particular, when the test runs as root, whom nothing is forbidden.
const USER: u32 = 65534;

#[test]
fn unreadable_file_is_named() {
    let place = Place::new();
    let user = rustix::process::geteuid().is_root().then_some(USER);
    if let Some(user) = user {
        std::fs::set_permissions(place.path(), PermissionsExt::from_mode(0o755))
            .expect("open place");
        let mut command = Command::new(&artifacts().everwrite);
        std::os::unix::process::CommandExt::uid(&mut command, user);
        if command.arg("--version").output().is_err() {
            let reason = "the programs lie where another user can't run them";
            return harness::skip("unreadable::unreadable_file_is_named", reason);
        }
    }
    let receiver = Receiver::start(&place, "store");
    let source = Source::start_as(&place, "home", user);
    let tree = place.directory("tree");
    shell(
        &tree,
        "echo secret > secret; echo open > open; chmod 000 secret",
    );
    if user.is_some() {
        run(Command::new("chown")
            .arg("-R")
            .arg(format!("{USER}:{USER}"))
            .arg(&tree))
        .success();
    }
    source.pair(&receiver.pairing_code());
    run(source
        .command()
        .arg("protect")
        .arg(&tree)
        .args(["--name", "tree"]))
    .success();
    wait_until("the unreadable file is shown", || {
        let unreadable = &source.status().roots[0].unreadable;
        unreadable
            .iter()
            .any(|file| file.path.ends_with("secret") && !file.error.is_empty())
    });

    let mirror = receiver
        .store()
        .mirror(&source.id_in(&receiver.store()), "tree");
    wait_until("the other file is mirrored", || {
        std::fs::read(mirror.join("open")).is_ok_and(|bytes| bytes == b"open\n")
    });
    shell(&tree, "chmod 644 secret");
    source.everwrite(["reconcile"]);
    source.settle();
    assert_eq!(
        std::fs::read(mirror.join("secret")).expect("readable now"),
        b"secret\n"
    );
    assert_eq!(source.status().roots[0].unreadable_count, 0);
}

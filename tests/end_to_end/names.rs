//! Names: any bytes, very many in one directory, gone before they could be read.

use harness::{Pair, Place, Receiver, shell};
use rustix::process::{Pid, Resource, Rlimit, prlimit};

/// Every byte that a name may have, and names as long as they may be.
#[test]
fn names_are_bytes() {
    let make = "python3 - <<'END'
import os
for byte in range(1, 256):
    if byte != ord('/'):
        open(b'x' + bytes([byte]), 'wb').write(bytes([byte]))
for name in (b'\\xff\\xfe', b'new\\nline', b'a' * 255, b'\\xc3\\x28' * 127, b'-rf', b'*', b' '):
    os.mkdir(b'dir ' + name[:251]); open(b'dir ' + name[:251] + b'/' + name, 'wb').write(name)
os.symlink(b'\\xff' * 4000, b'link')
END";
    let pair = Pair::start_with(|tree| {
        shell(tree, "mkdir before");
        shell(&tree.join("before"), make);
    });
    pair.run(&format!("mkdir after; cd after\n{make}"));
    pair.assert_mirrored();
    pair.run(
        "mv after renamed; rm -r before; for f in renamed/x*; do mv \"$f\" \"$f.moved\"; done",
    );
    pair.assert_mirrored();
    pair.source
        .everwrite(["log".as_ref(), pair.tree.as_os_str()])
        .success();
}

#[test]
fn directory_of_100_000_entries() {
    let place = Place::in_memory();
    let receiver = Receiver::start(&place, "store");
    let pair = Pair::start_between(place, receiver, "", |tree| {
        shell(
            tree,
            "mkdir many; cd many; seq 100000 | split -a 4 -l 1 - f; [ $(ls | wc -l) = 100000 ]",
        );
    });
    pair.run("cd many; rm f?aaa; echo one > one; mv f?aab ..; mv ../many ../renamed");
    pair.assert_mirrored();
}

/// Files that live shorter than it takes to read them, while others stay.
#[test]
fn paths_that_vanish() {
    let pair = Pair::start();
    let script = "for i in $(seq 300); do
        head -c 100k /dev/zero > t$i; mkdir -p d$i/e; echo $i > d$i/e/f; mv t$i d$i/t
        rm -r d$i; echo $i > stays-$((i % 10))
    done";
    pair.run(script);
    pair.assert_mirrored();
    // The same without the shim, under a scan.
    let (source, tree) = (&pair.source, &pair.tree);
    std::thread::scope(|scope| {
        let churn = scope.spawn(|| shell(tree, script));
        while !churn.is_finished() {
            source.everwrite(["reconcile"]);
        }
    });
    pair.source.everwrite(["reconcile"]);
    pair.assert_mirrored();
}

#[test]
fn deep_directories() {
    let pair = Pair::start();
    pair.run("for i in $(seq 100); do mkdir directory-$i; cd directory-$i; echo $i > file; done");
    pair.assert_mirrored();
    pair.run("mv directory-1/directory-2 up; rm -r directory-1; mv up/directory-3 .; rm -r up");
    pair.assert_mirrored();
}

/// More than the receiver may have files open.
#[test]
fn a_file_with_thousands_of_names() {
    let mut pair = Pair::start();
    let receiver = Pid::from_raw(pair.receiver.daemon().pid().cast_signed());
    let few = Rlimit {
        current: Some(512),
        maximum: Some(512),
    };
    prlimit(receiver, Resource::Nofile, few).expect("limit the receiver");
    let script =
        "import os; open('0', 'w').close(); [os.link('0', str(name)) for name in range(1, 3000)]";
    pair.run(&format!("python3 -c \"{script}\""));
    pair.assert_mirrored();
}

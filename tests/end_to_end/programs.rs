//! Real programs under the shim, undisturbed: nothing they do needs a scan to be found.

use harness::{Pair, Place, Receiver, shell};

use crate::workload::{ALL, Material};

#[test]
fn every_program_is_mirrored() {
    let place = Place::new();
    let material = Material::make(&place);
    let receiver = Receiver::start(&place, "store");
    let pair = Pair::start_between(place, receiver, Pair::NO_WITNESS, |_| {});
    for (number, workload) in ALL.into_iter().enumerate() {
        println!("{}", workload.name);
        pair.run(&material.script(workload, number as u64));
    }
    pair.assert_mirrored();
    let misses = pair.source.everwrite(["reconcile", "--json"]).text();
    assert_eq!(
        pair.source.status().capture.scan.misses,
        0,
        "a scan found what no hint had told: {misses}"
    );
}

#[test]
fn saved_by_editors() {
    let pair = Pair::start_without_witness(|tree| {
        shell(
            tree,
            "seq 1000 > vim; seq 1000 > ed; seq 1000 > perl; seq 1000 > sed; seq 1000 > mv",
        );
    });
    pair.run("vim -es -u NONE -c 'set backup writebackup' -c '500d' -c 'wq' vim");
    pair.run("sed -i 500d sed; perl -pi -e 's/^500$/five hundred/' perl");
    pair.run("seq 999 > .mv.tmp; sync .mv.tmp; mv .mv.tmp mv");
    pair.run(
        "python3 -c 'f = open(\"ed\", \"r+\"); f.seek(100); f.write(\"xx\"); f.truncate(200)'",
    );
    pair.assert_mirrored();
}

#[test]
fn renames_of_trees() {
    let pair = Pair::start_without_witness(|tree| {
        shell(
            tree,
            "mkdir -p a/b/c d; for i in $(seq 300); do echo $i > a/b/c/$i; done",
        );
    });
    pair.run("mv a/b d/b; mv d/b/c/1 a/1; mv d e; ln e/b/c/2 a/two; mkdir d; mv e/b/c d/c");
    pair.assert_mirrored();
    pair.run("mv a x; mv d a; mv x d; rm -r d; mkdir d; mv a/c/9 d; rmdir e/b e; mv a d/");
    pair.assert_mirrored();
}

/// Names that two files exchange in one system call have no moment without either.
#[test]
fn names_exchanged() {
    let pair = Pair::start_without_witness(|tree| {
        shell(
            tree,
            "mkdir one two; echo 1 > one/f; echo 2 > two/f; echo a > a; echo b > b",
        );
    });
    let exchange = "import ctypes, sys
libc = ctypes.CDLL(None, use_errno=True)
for a, b in ((b'one', b'two'), (b'a', b'b'), (b'a', b'one')):
    if libc.renameat2(-100, a, -100, b, 2): sys.exit(ctypes.get_errno())";
    pair.run(&format!("python3 -c \"{exchange}\""));
    pair.assert_mirrored();
}

/// Programs that write in ways of their own: all at once, by many processes, through mappings.
#[test]
fn odd_writers() {
    let pair = Pair::start_without_witness(|_| {});
    let script = r#"
        truncate -s 8M mapped
        python3 - <<'END'
import mmap, os
with open("mapped", "r+b") as file:
    with mmap.mmap(file.fileno(), 0) as map:
        for at in range(0, 8 << 20, 70001): map[at:at+3] = b"abc"
source, target = os.open("mapped", os.O_RDONLY), os.open("copied", os.O_RDWR | os.O_CREAT)
os.copy_file_range(source, target, 1 << 20)
os.sendfile(target, source, 0, 1 << 16)
os.writev(target, [b"x" * 100, b"y" * 100]); os.pwritev(target, [b"z" * 10], 5)
os.posix_fallocate(target, 0, 3 << 20); os.ftruncate(target, (2 << 20) + 7)
END
        fallocate --punch-hole --offset 4096 --length 8192 copied
        for i in 1 2 3 4 5 6 7 8; do (for j in $(seq 50); do echo "$i $j" >> appended; done) & done
        wait
        (echo inherited; (echo by children; sh -c 'echo too')) > shared
    "#;
    pair.run(script);
    pair.assert_mirrored();
}

/// What is asked to be stored is stored, though the file never comes to rest.
#[test]
fn written_all_the_time() {
    let pair = Pair::start_without_witness(|tree| {
        shell(tree, "head -c 48M /dev/zero > hot");
    });
    let script = r#"python3 -c '
import os, random
file = os.open("hot", os.O_WRONLY)
while True: os.pwrite(file, os.urandom(4096), random.randrange(12288) * 4096)'"#;
    let mut writer = pair.source.spawn(&pair.tree, script);
    for _ in 0..3 {
        shell(&pair.tree, "date +%N > beside");
        pair.source.settle();
        let stored = std::fs::read(pair.mirror().join("beside")).unwrap();
        assert_eq!(stored, std::fs::read(pair.tree.join("beside")).unwrap());
        assert!(writer.try_wait().unwrap().is_none(), "it goes on writing");
    }
    let group = rustix::process::Pid::from_child(&writer);
    rustix::process::kill_process_group(group, rustix::process::Signal::KILL).unwrap();
    writer.wait().unwrap();
    pair.assert_mirrored();
}

/// A large file is saved beside the old one, slowly, and sent all the while: what both have in common
/// is not sent.
#[test]
fn saved_in_many_steps() {
    let pair = Pair::start_without_witness(|tree| {
        shell(tree, "head -c 16M /dev/urandom > big");
    });
    let sent = || pair.source.status().uplinks[0].bytes_sent;
    let before = sent();
    pair.run("{ head -c 1000 big; printf x; tail -c +1001 big; } | head -c 4M > big.tmp");
    for step in 1..=4 {
        pair.source.settle();
        let from = step << 22;
        pair.run(&format!("tail -c +{from} big | head -c 4M >> big.tmp"));
    }
    pair.run("mv big.tmp big");
    pair.assert_mirrored();
    let sent = sent() - before;
    assert!(sent < 2 << 20, "{sent} bytes sent");
}

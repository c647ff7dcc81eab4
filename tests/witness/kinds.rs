//! Kinds of programs that a shim can't be in.

use std::process::Command;

use harness::{Pair, run, shell, skip};

use crate::scene::{
    Steps, TREE, all_was_heard, is_witnessed, protecting, rings, soon_mirrored, witnessed, writing,
};

#[test]
fn a_static_program_does_everything() {
    let Some(pair) = witnessed("a_static_program_does_everything", TREE) else {
        return;
    };
    run(&mut writing(&pair, &["changes"])).success();
    all_was_heard(&pair);
    // The program has long ended, and is known by name.
    for path in ["pwrite", "renamed", "mkdir/below/new", "chmod"] {
        let log = pair
            .source
            .everwrite(["log", &pair.tree.join(path).display().to_string()]);
        let log = log.success().text();
        assert!(log.contains("static-writer["), "{path}: {log}");
    }
}

/// The same programs under the shim: both hear of them, and nothing is stored twice.
#[test]
fn the_shim_beside_it() {
    let Some(pair) = witnessed("the_shim_beside_it", TREE) else {
        return;
    };
    pair.run("echo more >> append; printf X | dd of=pwrite bs=1 seek=10 conv=notrunc status=none; mv rename renamed");
    all_was_heard(&pair);
}

#[test]
fn many_threads_and_processes_share_one_descriptor() {
    let test = "many_threads_and_processes_share_one_descriptor";
    let Some(pair) = witnessed(test, TREE) else {
        return;
    };
    run(&mut writing(&pair, &["append", "append", "5000"])).success();
    all_was_heard(&pair);
}

#[test]
fn one_who_was_there_before() {
    let place = harness::Place::new();
    let tree = place.directory("tree");
    shell(&tree, TREE);
    let mut holder = Command::new(crate::scene::writer());
    let mut holder = Steps::start(holder.args(["hold", "held"]).current_dir(&tree));
    let pair = protecting(place, tree);
    if !is_witnessed("one_who_was_there_before", &pair) {
        return;
    }
    holder.next();
    all_was_heard(&pair);
    holder.finish();
}

#[test]
fn io_uring() {
    if run(Command::new("sh").args(["-c", "command -v fio"])).code != Some(0) {
        return skip("io_uring", "no fio");
    }
    let Some(pair) = witnessed("io_uring", TREE) else {
        return;
    };
    for options in [
        "",
        "--sqthread_poll=1",
        "--fixedbufs=1 --registerfiles=1",
        "--direct=1 --bs=4k",
    ] {
        let job = format!(
            "fio --name=job --filename=ring --ioengine=io_uring --rw=randwrite --size=2m --io_size=1m \
             --iodepth=8 --bsrange=512-16k --randseed=7 --refill_buffers {options} --output=/dev/null"
        );
        if run(Command::new("sh")
            .args(["-ec", &job])
            .current_dir(&pair.tree))
        .code
            != Some(0)
        {
            return skip("io_uring", "this kernel does not let fio have a ring");
        }
        soon_mirrored(&pair);
    }
    all_was_heard(&pair);
}

/// No word of completion, or only when the program asks for it.
#[test]
fn rings_that_say_little() {
    let test = "rings_that_say_little";
    let Some(pair) = witnessed(test, TREE) else {
        return;
    };
    if rings(test, &pair) {
        all_was_heard(&pair);
    }
}

#[test]
fn a_chroot_and_a_mount_namespace() {
    let test = "a_chroot_and_a_mount_namespace";
    let Some(pair) = witnessed(test, TREE) else {
        return;
    };
    run(Command::new("cp")
        .arg(crate::scene::writer())
        .arg(pair.tree.join("writer")))
    .success();
    soon_mirrored(&pair);
    run(Command::new("chroot")
        .arg(&pair.tree)
        .args(["/writer", "append", "append", "100"]))
    .success();
    let script = "mkdir -p /tmp/elsewhere && mount --bind . /tmp/elsewhere && cd /tmp/elsewhere &&
                  ./writer append write 100 && echo new > from-elsewhere && mv link link-moved";
    let mut elsewhere = Command::new("unshare");
    run(elsewhere
        .args(["-m", "sh", "-ec", script])
        .current_dir(&pair.tree))
    .success();
    all_was_heard(&pair);
}

/// Without eBPF fanotify alone hears all but stores into mappings, without ranges.
#[test]
fn the_net_without_ebpf() {
    let pair = Pair::start_configured("witness.ebpf = false\n", |tree| drop(shell(tree, TREE)));
    let names = harness::wait_for("the witness says how it stands", harness::DEADLINE, || {
        let names = pair.source.status().capture.names;
        (names.state != "off").then_some(names)
    });
    if names.state != "on" {
        return skip("the_net_without_ebpf", &names.reason);
    }
    crate::scene::quiet(&pair);
    assert_eq!(pair.source.status().capture.ebpf.state, "off");
    run(&mut writing(&pair, &["changes"])).success();
    soon_mirrored(&pair);
    assert_eq!(
        pair.source.status().capture.scan.misses,
        0,
        "found by a scan"
    );
    pair.assert_mirrored();
}

/// Without any witness, exactly what such a program changed is what the scan finds.
#[test]
fn without_a_witness_all_are_misses() {
    let pair = Pair::start_without_witness(|tree| drop(shell(tree, TREE)));
    pair.assert_mirrored();
    crate::scene::quiet(&pair);
    run(&mut writing(&pair, &["append", "append", "10"])).success();
    run(&mut writing(&pair, &["append", "write", "10"])).success();
    let found = pair.source.everwrite(["reconcile"]).exits(1).text();
    assert!(
        found.contains("append") && found.contains("write"),
        "{found}"
    );
    assert!(!found.contains("pwrite"), "{found}");
    pair.assert_mirrored();
}

/// Everything that it has in the kernel goes with the daemon, however that ends, and with the switch.
#[test]
fn nothing_stays_in_the_kernel() {
    let Some(mut pair) = witnessed("nothing_stays_in_the_kernel", TREE) else {
        return;
    };
    pair.source.everwrite(["off"]).success();
    harness::wait_until("the programs are gone", || {
        pair.source.status().capture.ebpf.state == "off"
    });
    run(&mut writing(&pair, &["append", "append", "10"])).success();
    assert_eq!(pair.source.status().capture.ebpf.hints, 0);
    pair.source.everwrite(["on"]).success();
    pair.source.wait_continuous();
    pair.source.kill();
    run(&mut writing(&pair, &["append", "append", "10"])).success();
    pair.source.start_again();
    pair.assert_mirrored();
}

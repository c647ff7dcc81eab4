//! The library of another processor: what it tells is as right there. Programs run by emulation
//! (qemu-user), with the library that scripts/aarch64 builds.

use std::path::{Path, PathBuf};
use std::process::Command;

use harness::artifacts::shim;
use harness::run;

use crate::calls::{self, CALLS};
use crate::libcs::Libc;
use crate::scene::{Scene, has};

const NAME: &str = "aarch64";
const LIBRARY: &str = "aarch64-unknown-linux-gnu/shim/libeverwrite_shim.so";

/// What emulation can't do: calls that it does not know, paths in /etc that it looks up elsewhere, and
/// children, which are programs of this machine.
const OF_THE_REAL_THING: [&str; 10] = [
    "filter_asked_about",
    "io_submit",
    "lckpwdf",
    "openat2",
    "popen",
    "pwritev2",
    "sethostid",
    "spawn",
    "syscall",
    "syscall_io_submit",
];

/// The library, if there is all that it takes.
fn library() -> Option<PathBuf> {
    let there = ["clang", "ld.lld", "qemu-aarch64"];
    if !there.iter().all(|program| has(NAME, program)) {
        return None;
    }
    let library = shim().ancestors().nth(2)?.join(LIBRARY);
    if !library.exists() {
        harness::skip(NAME, "scripts/aarch64 has not built the library");
        return None;
    }
    Some(library)
}

fn compile(scene: &Scene, libc: &Libc) -> PathBuf {
    let (code, program) = (scene.path().join("calls.c"), scene.path().join("calls"));
    std::fs::write(&code, CALLS).expect("write the program");
    let libraries = libc.to_link();
    let part = |name: &str| libraries.join(name);
    let option = |option: &str, path: &Path| format!("{option}{}", path.display());
    let mut clang = Command::new("clang");
    clang
        .args(["--target=aarch64-linux-gnu", "-fuse-ld=lld", "-nostdlib"])
        .args(["-O1", "-w", "-D_GNU_SOURCE", "-pthread", "-o"])
        .args([&program, &part("crt1.o"), &part("crti.o"), &code])
        .arg(option("--sysroot=", libc.root()))
        .arg(option("-L", &libraries))
        .args(["-lc", "-lpthread"])
        .arg(part("crtn.o"));
    run(&mut clang).success();
    program
}

#[test]
fn every_call_is_told() {
    let Some(library) = library() else { return };
    let Some(libc) = Libc::of_architecture("bookworm", "arm64") else {
        return;
    };
    let scene = Scene::new();
    let program = compile(&scene, &libc);
    let start = || {
        let mut command = scene.command("qemu-aarch64");
        command
            .env_remove("LD_PRELOAD")
            .arg("-L")
            .arg(libc.root())
            .arg("-E")
            .arg(format!("LD_PRELOAD={}", library.display()))
            .arg(&program);
        command
    };
    calls::check_all_but(&scene, &start, &OF_THE_REAL_THING);
}

//! Programs that look into other programs, and libraries that stand where the shim stands: sanitizers,
//! valgrind, gdb, strace, other preload libraries. Each goes on doing what it is for.

use std::path::{Path, PathBuf};
use std::process::Command;

use harness::artifacts::shim;

use crate::scene::{Scene, has};

/// Changes files in several ways, from two threads.
const GOOD: &str = "
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
static void *work(void *name) {
    int f = open(name, O_RDWR | O_CREAT, 0600);
    for (int i = 0; i < 200; i++) pwrite(f, \"abc\", 3, i * 100);
    fsync(f); close(f); rename(name, strcmp(name, \"one\") ? \"two2\" : \"one2\");
    return 0;
}
int main(void) {
    pthread_t t; pthread_create(&t, 0, work, \"one\"); work(\"two\"); pthread_join(t, 0);
    FILE *f = fopen(\"new\", \"w\"); fprintf(f, \"%d\", 5); fclose(f);
    int g = open(\"last\", O_RDWR | O_CREAT, 0600); write(g, \"x\", 1); close(g);
    return 0;
}";
const USE_AFTER_FREE: &str = "
#include <stdlib.h>
#include <unistd.h>
int main(void) { char *p = malloc(9); free(p); return write(1, p, 9) != 9; }";
const RACE: &str = "
#include <pthread.h>
#include <unistd.h>
static int n;
static void *work(void *x) { for (int i = 0; i < 1000; i++) { n++; write(1, \"\", 0); } return 0; }
int main(void) { pthread_t t; pthread_create(&t, 0, work, 0); work(0); pthread_join(t, 0); return 0; }";
const OVERFLOW: &str = "
#include <unistd.h>
int main(int count, char **a) { int n = 0x7fffffff; n += count; return write(1, \"\", 0) + (n == 5); }";

fn sanitizer_works(kind: &str, bad: &str, finds: &str) {
    let scene = Scene::new();
    let option = format!("-fsanitize={kind}");
    let build = |name, source| scene.compile_with(name, source, &["-g", &option]);
    let (good, bad) = (build("good", GOOD), build("bad", bad));
    // Some sanitizers don't bear some kernels' layout of memory.
    if harness::run(Command::new(&good).current_dir(scene.path())).code != Some(0) {
        return harness::skip(kind, "this sanitizer does not run here");
    }
    scene.check(|scene| drop(harness::run(&mut scene.command(&good)).success()));
    let found = harness::run(&mut scene.command(&bad));
    assert!(found.stderr.contains(finds), "{found:?}");
}

#[test]
fn address_sanitizer() {
    sanitizer_works("address", USE_AFTER_FREE, "heap-use-after-free");
}

#[test]
fn thread_sanitizer() {
    sanitizer_works("thread", RACE, "data race");
}

#[test]
fn undefined_behaviour_sanitizer() {
    sanitizer_works("undefined", OVERFLOW, "signed integer overflow");
}

#[test]
fn leak_sanitizer() {
    let leak = "#include <stdlib.h>\n#include <unistd.h>\nvoid *volatile p; int main(void) { for (int i = 0; i < 9; i++) p = malloc(99); p = 0; return write(1, \"\", 0); }";
    sanitizer_works("leak", leak, "detected memory leaks");
}

#[test]
fn valgrind() {
    if !has("valgrind", "valgrind") {
        return;
    }
    let scene = Scene::new();
    let (good, bad) = (
        scene.compile("good", GOOD),
        scene.compile("bad", USE_AFTER_FREE),
    );
    let under = |program: &Path| {
        let mut command = scene.command("valgrind");
        command.args(["-q", "--error-exitcode=9"]).arg(program);
        harness::run(&mut command)
    };
    scene.check(|_| drop(under(&good).success()));
    let found = under(&bad).exits(9);
    assert!(found.stderr.contains("unaddressable"), "{found:?}");
}

/// Stopped in the kernel below a hook, it finds the way back to `main` through it.
#[test]
fn gdb() {
    if !has("gdb", "gdb") {
        return;
    }
    let scene = Scene::new();
    let program = scene.compile_with("good", GOOD, &["-g"]);
    for call in ["pwrite64", "write", "fsync", "rename"] {
        scene.prepare("rm -f ./*");
        let mut command = Command::new("gdb");
        command
            .current_dir(&scene.tree)
            .args(["-q", "-nx", "-batch"]);
        let mut preloaded = Command::new("true");
        scene.recorder.attach_to(&mut preloaded);
        for (name, value) in preloaded.get_envs() {
            let value = value.expect("a value").to_string_lossy();
            let setting = format!("set environment {}={value}", name.to_string_lossy());
            command.args(["-ex", &setting]);
        }
        let catch = format!("catch syscall {call}");
        command.args(["-ex", "set startup-with-shell off", "-ex", &catch]);
        command.args(["-ex", "run", "-ex", "backtrace", "-ex", "kill"]);
        let said = harness::run(command.arg(&program)).text();
        if said.is_empty() || said.contains("ptrace: Operation not permitted") {
            return harness::skip("gdb", "programs can't be traced here");
        }
        let known = ["in main", "in work"]
            .iter()
            .any(|frame| said.contains(frame));
        assert!(known, "{call}: {said}");
        assert!(said.contains("libeverwrite_shim"), "{call}: {said}");
    }
}

#[test]
fn strace() {
    if !has("strace", "strace") {
        return;
    }
    let scene = Scene::new();
    let program = scene.compile("good", GOOD);
    let log = scene.path().join("log");
    scene.check(|scene| {
        let mut command = scene.command("strace");
        command.arg("-f").arg("-o").arg(&log).arg(&program);
        harness::run(&mut command).success();
    });
    let log = std::fs::read_to_string(log).expect("read what strace wrote");
    assert!(log.contains("rename(\"one\", \"one2\""), "{log}");
}

/// A library of a package that is not installed.
fn library(package: &str, name: &str) -> Option<PathBuf> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts/package");
    let target = shim().ancestors().nth(2)?;
    let mut fetch = Command::new(script);
    let fetched = harness::run(fetch.arg(package).env("CARGO_TARGET_DIR", target));
    if fetched.code != Some(0) {
        harness::skip(package, fetched.stderr.trim());
        return None;
    }
    let found = harness::run(Command::new("find").args([fetched.text().trim(), "-name", name]));
    found.text().lines().next().map(PathBuf::from)
}

/// With another preload library before and behind, all is told, and the other does its work.
fn stands_beside(other: &Path, does_its_work: &dyn Fn(&Scene)) {
    let scene = Scene::new();
    let program = scene.compile("good", GOOD);
    let (ours, other) = (shim().display(), other.display());
    for order in [format!("{ours}:{other}"), format!("{other}:{ours}")] {
        scene.prepare("rm -rf ./*");
        scene.check(|scene| {
            let mut command = scene.command("bash");
            let script = "\"$0\"; echo text >more; cp more more2; mkdir d; mv more2 d; rm more";
            command
                .args(["-ec", script])
                .arg(&program)
                .env("LD_PRELOAD", &order);
            let ended = harness::run(&mut command).success();
            assert_eq!(ended.stderr, "");
        });
        does_its_work(&scene);
    }
}

#[test]
fn jemalloc() {
    if let Some(library) = library("libjemalloc2", "libjemalloc.so.2") {
        stands_beside(&library, &|_| {});
    }
}

#[test]
fn eatmydata() {
    if let Some(library) = library("libeatmydata1", "libeatmydata.so.1*") {
        stands_beside(&library, &|_| {});
    }
}

/// It says that files belong to somebody else, and keeps that to itself.
#[test]
fn fakeroot() {
    if !has("fakeroot", "fakeroot") {
        return;
    }
    let scene = Scene::new();
    scene.check(|scene| {
        let mut command = scene.command("fakeroot");
        command.args(["sh", "-ec", "echo x >new; chown 12:34 new; mkdir d; mknod d/null c 1 3; stat -c '%u:%g' new; stat -c %F d/null"]);
        let said = harness::run(&mut command).success();
        assert_eq!(said.text(), "12:34\ncharacter special file\n");
    });
}

//! Programs that people run, without a shim.

use std::path::{Path, PathBuf};
use std::process::Command;

use harness::{Pair, run, skip};

use crate::scene::{all_was_heard, witnessed};

fn has(program: &str) -> bool {
    let script = format!("command -v {program}");
    run(Command::new("sh").args(["-c", &script])).code == Some(0)
}

/// Runs a script in the tree, and has all that it did heard.
fn is_heard(test: &str, programs: &[&str], script: &str) {
    if let Some(missing) = programs.iter().find(|program| !has(program)) {
        return skip(test, &format!("no {missing}"));
    }
    let Some(pair) = witnessed(test, "echo 'int main(void) { return 0; }' > main.c") else {
        return;
    };
    harness::shell(&pair.tree, script);
    all_was_heard(&pair);
}

/// Written in Go: linked statically, system calls of its own.
#[test]
fn restic() {
    let script = "export RESTIC_PASSWORD=x HOME=$PWD
        restic init -q -r repository; mkdir -p data; seq 100000 > data/numbers
        restic backup -q -r repository data; seq 7 >> data/numbers; restic backup -q -r repository data
        restic forget -q -r repository --keep-last 1 --prune; restic restore -q -r repository latest --target back";
    is_heard("restic", &["restic"], script);
}

/// Writes what it links through a mapping.
#[test]
fn the_gold_linker() {
    let script = "for i in 1 2 3; do gcc -fuse-ld=gold -o main main.c && ./main; done";
    is_heard("the_gold_linker", &["gcc", "ld.gold"], script);
}

#[test]
fn busybox() {
    let script = "busybox sh -ec '
        busybox seq 20000 > a; busybox cp a b; busybox dd if=a of=b bs=777 seek=3 count=9 conv=notrunc 2>/dev/null
        busybox tar -cf c.tar a b; busybox mkdir d; busybox tar -xf c.tar -C d; busybox gzip c.tar
        busybox sed -i s/7/seven/ a; busybox mv d e; busybox ln -s a l; busybox truncate -s 100 b; busybox rm -r e'";
    is_heard("busybox", &["busybox"], script);
}

#[test]
fn git_and_sqlite() {
    let script = "git init -q .; git -c user.name=t -c user.email=t@t commit -q --allow-empty -m a
        git add main.c; git -c user.name=t -c user.email=t@t commit -q -m b; git gc -q
        sqlite3 db 'pragma journal_mode = wal; create table t (a); insert into t values (1), (2);'
        for i in 1 2 3 4 5; do sqlite3 db 'insert into t select a + 1 from t;'; done";
    is_heard("git_and_sqlite", &["git", "sqlite3"], script);
}

#[test]
fn postgresql() {
    let test = "postgresql";
    let Some(bin) = newest(Path::new("/usr/lib/postgresql")) else {
        return skip(test, "not installed");
    };
    let Some(pair) = witnessed(test, "mkdir db") else {
        return;
    };
    let script = "export PATH=\"$BIN:$PATH\" PGHOST=\"$PWD\" PGDATABASE=postgres
        initdb -D data -A trust >/dev/null
        echo \"unix_socket_directories = '$PWD'\" >> data/postgresql.conf; echo \"listen_addresses = ''\" >> data/postgresql.conf
        pg_ctl -D data -w -l log start >/dev/null
        pgbench -i -s 1 -q 2>/dev/null; pgbench -c 2 -t 200 >/dev/null 2>&1
        pg_ctl -D data -w -m fast stop >/dev/null";
    let db = pair.tree.join("db");
    std::fs::write(db.join("script"), script).expect("write a script");
    let as_postgres = format!(
        "chmod 755 .. .; chown postgres .; runuser -u postgres -- env BIN={} sh -e script",
        bin.join("bin").display()
    );
    all_the_way_open(&pair);
    harness::shell(&db, &as_postgres);
    all_was_heard(&pair);
}

/// Other users may pass through the directories above the tree.
fn all_the_way_open(pair: &Pair) {
    run(Command::new("chmod").arg("755").arg(pair.place.path())).success();
}

/// The directory of the highest version.
fn newest(directory: &Path) -> Option<PathBuf> {
    let number = |path: &PathBuf| path.file_name()?.to_str()?.parse::<u32>().ok();
    let versions = std::fs::read_dir(directory).ok()?.flatten();
    versions.map(|entry| entry.path()).max_by_key(number)
}

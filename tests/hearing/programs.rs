//! Ordinary programs: what they change is heard, to the byte and by name.

use std::path::Path;

use everwrite_coordinatord::intake::What;
use harness::skip;

use crate::ear::Ear;

/// Runs `script` after `preparation` (not heard), and expects all that it changes to be heard.
#[track_caller]
fn heard_of(preparation: &str, script: &str) -> Vec<What> {
    let mut ear = Ear::new();
    ear.shell(preparation);
    ear.hears_all_of(|ear| drop(ear.shell(script)))
}

/// The same if `program` is there.
#[track_caller]
fn heard_of_program(program: &str, preparation: &str, script: &str) {
    if is_there(program) {
        heard_of(preparation, script);
    } else {
        skip(program, "not installed");
    }
}

fn is_there(program: &str) -> bool {
    let paths = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&paths).any(|path| Path::new(&path).join(program).exists())
}

#[test]
fn one_block_is_one_range() {
    let said = heard_of(
        "head -c 1000000 /dev/zero > file",
        "head -c 4096 /dev/urandom | dd of=file bs=4096 seek=100 conv=notrunc status=none",
    );
    let ranges: Vec<_> = said
        .iter()
        .filter_map(|what| match what {
            What::Write { offset, length, .. } => Some((*offset, *length)),
            _ => None,
        })
        .collect();
    assert_eq!(ranges, [(409_600, 4096)], "{said:?}");
    assert!(
        !said
            .iter()
            .any(|what| matches!(what, What::Whole { .. } | What::Append { .. }))
    );
}

#[test]
fn names_of_all_kinds() {
    heard_of(
        "mkdir old; touch old/a old/b gone; mkdir empty; ln -s a old/l",
        "mkdir new; ln -s x link; mkfifo pipe; ln old/a hard; mv old/b new/c; rm gone; rmdir empty
         mv old new/old; rm new/old/l; echo x > new/d; mv -T new/d hard",
    );
}

#[test]
fn attributes() {
    heard_of(
        "touch a b; mkdir d",
        "chmod 600 a; chmod 700 d; chmod -R g+w d; touch -d 2001-01-01 b",
    );
}

#[test]
fn sizes() {
    heard_of(
        "head -c 100000 /dev/urandom > a; cp a b; cp a c; cp a d",
        "truncate -s 5000 a; truncate -s 200000 b; : > c; fallocate -p -o 8192 -l 8192 d",
    );
}

#[test]
fn redirections_of_the_shell() {
    heard_of(
        "echo old > a; echo old > b",
        "echo one > a; echo two >> b; { echo three; echo four; } > c; exec 5>>b; echo five >&5
         cat a b > d; for i in 1 2 3; do echo $i; done > e; exec 6<>a; echo X >&6",
    );
}

#[test]
fn copies() {
    heard_of(
        "head -c 300000 /dev/urandom > a",
        "cp a b; cp --reflink=auto a c; cp --sparse=always a d; install a e; cat a > f; tee g < a > h
         dd if=a of=i status=none; split -n 3 a part.; shuf -i 1-20000 | sort -o sorted",
    );
}

#[test]
fn stdio_in_a_hundred_files() {
    heard_of_program(
        "perl",
        "true",
        r#"perl -e 'for $i (0..99) { open $f, ">", "f$i"; print $f "x$_\n" x ($_ % 7) for 0..$i*9; close $f }
           open $f, "+<", "f50"; seek $f, 30, 0; print $f "changed"; close $f;
           open $f, ">>", "f51"; print $f "appended"; truncate "f52", 100; rename "f53", "g53"; unlink "f54"'"#,
    );
}

#[test]
fn sed_in_place_and_sort() {
    heard_of(
        "seq 5000 > a; seq 5000 > b",
        "sed -i s/7/seven/ a; sort -r -o b b",
    );
}

#[test]
fn archives() {
    heard_of(
        "mkdir d; for i in $(seq 50); do seq $i > d/$i; done; ln d/1 d/hard; ln -s 2 d/soft",
        "tar cf t.tar d; gzip -k t.tar; mkdir x; tar xf t.tar -C x; cd x; tar xzf ../t.tar.gz",
    );
}

#[test]
fn git() {
    heard_of_program(
        "git",
        "git init -q r; cd r; git config user.email e@x; git config user.name n
         for i in $(seq 30); do seq $i > $i; done; git add .; git commit -qm one",
        "cd r; seq 99 > 7; rm 8; git add -A; git commit -qm two; git checkout -q HEAD~1; git gc -q
         git checkout -q -b other; git mv 9 nine; git commit -qam three; git stash list",
    );
}

#[test]
fn databases() {
    heard_of_program(
        "sqlite3",
        "sqlite3 a.db 'create table t(i integer primary key, b blob)'",
        "sqlite3 a.db 'with recursive c(i) as (select 1 union all select i+1 from c where i < 3000)
           insert into t select i, randomblob(200) from c; update t set b = randomblob(50) where i % 7 = 0;
           delete from t where i % 3 = 0; vacuum'",
    );
}

#[test]
fn databases_with_a_shared_log() {
    heard_of_program(
        "sqlite3",
        "sqlite3 a.db 'pragma journal_mode=wal; create table t(i integer primary key, b blob)'",
        "for n in 1 2 3; do sqlite3 a.db 'insert into t(b) select randomblob(3000) from
           (select 1 union select 2 union select 3)'; done",
    );
}

#[test]
fn rsync_copies_and_updates() {
    heard_of_program(
        "rsync",
        "mkdir a; for i in $(seq 40); do seq $i $((i * 50)) > a/$i; done; rsync -a a/ b; seq 9 > a/40",
        "rm b/1; seq 77 > a/5; rsync -a --delete a/ b; rsync -a --inplace a/5 b/6; rsync -a a/ c",
    );
}

#[test]
fn python_writes_in_many_ways() {
    heard_of_program(
        "python3",
        "head -c 100000 /dev/urandom > a",
        r#"python3 - <<'END'
import os, shutil, mmap, tempfile, threading, json
fd = os.open('b', os.O_RDWR | os.O_CREAT)
os.pwrite(fd, b'x' * 5000, 10000); os.write(fd, b'head'); os.lseek(fd, 20000, 0); os.write(fd, b'tail')
os.writev(fd, [b'one', b'two']); os.dup2(fd, 77); os.write(77, b'by the other'); os.write(fd, b'and this')
os.ftruncate(fd, 40000); os.close(fd)
shutil.copyfile('a', 'c'); os.sendfile(os.open('d', os.O_WRONLY | os.O_CREAT), os.open('a', 0), 0, 50000)
with open('a', 'r+b') as f:
    m = mmap.mmap(f.fileno(), 0); m[5000:5010] = b'0123456789'; m.flush(); m[9000:9004] = b'late'
with tempfile.NamedTemporaryFile('w', dir='.', delete=False) as f: json.dump(list(range(5000)), f)
os.replace(f.name, 'e')
def work(n):
    with open('shared', 'r+b', buffering=0) as f:
        for i in range(50): f.seek((n * 50 + i) * 100); f.write(bytes([65 + n]) * 100)
open('shared', 'w').close()
threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
[t.start() for t in threads]; [t.join() for t in threads]
END"#,
    );
}

#[test]
fn compilers() {
    heard_of_program(
        "gcc",
        "printf '#include <stdio.h>\nint main(){puts(\"x\");}' > a.c",
        "gcc -O1 -g a.c -o a; gcc -c a.c; ar rcs a.a a.o; strip a",
    );
}

#[test]
fn node_writes_from_its_pool() {
    heard_of_program(
        "node",
        "true",
        r#"node -e '
const fs = require("fs"), p = fs.promises;
(async () => {
  await Promise.all([...Array(40).keys()].map(i => p.writeFile("f" + i, "x".repeat(i * 997))));
  await p.appendFile("f3", "more"); await p.rename("f4", "g4"); await p.copyFile("f39", "c");
  const s = fs.createWriteStream("stream"); for (let i = 0; i < 500; i++) s.write("line " + i + "\n"); s.end();
})()'"#,
    );
}

#[test]
fn streams_of_cplusplus() {
    heard_of_program(
        "g++",
        "cat > s.cc <<'END'
#include <fstream>
#include <filesystem>
int main() {
    { std::ofstream out(\"a\"); for (int i = 0; i < 9000; i++) out << i << '\\n'; }
    { std::fstream both(\"a\", std::ios::in | std::ios::out); both.seekp(5000); both << \"here\" << std::flush; both.seekp(-9, std::ios::end); both << \"end\"; }
    { std::ofstream more(\"a\", std::ios::app); more << \"appended\" << std::endl; }
    namespace fs = std::filesystem;
    fs::create_directories(\"d/e\"); fs::copy_file(\"a\", \"d/e/b\"); fs::rename(\"d/e/b\", \"d/c\");
    fs::resize_file(\"d/c\", 77); fs::create_hard_link(\"d/c\", \"d/h\"); fs::remove_all(\"d/e\");
}
END
         g++ -std=c++17 -o s s.cc",
        "./s",
    );
}

#[test]
fn cargo_builds() {
    heard_of_program(
        "cargo",
        "mkdir -p p/src; printf '[package]\\nname = \"p\"\\nversion = \"0.1.0\"\\nedition = \"2021\"\\n' > p/Cargo.toml
         echo 'fn main() { println!(\"{}\", 6 * 7) }' > p/src/main.rs",
        // What links by stores into a mapping is the witness's: a linker that writes is asked for.
        "cd p; export CARGO_HOME=$HOME/cargo CARGO_TARGET_DIR=$PWD/target RUSTFLAGS='-C link-arg=-fuse-ld=bfd'
         cargo build --offline --quiet; touch src/main.rs; cargo build --offline --quiet",
    );
}

/// A server of many processes that share their files.
#[test]
fn postgresql() {
    let Some(bin) = newest("/usr/lib/postgresql").map(|version| version.join("bin")) else {
        return skip("postgresql", "not installed");
    };
    if !rustix::process::geteuid().is_root() {
        return skip("postgresql", "needs root to become the user postgres");
    }
    let mut ear = Ear::new();
    ear.open_to_all();
    let script = "export PATH=\"$BIN:$PATH\" PGHOST=\"$PWD\" PGDATABASE=postgres
        initdb -D data -A trust --no-sync > /dev/null
        pg_ctl -D data -o \"-k $PWD -c listen_addresses=\" -w -l data/log start > /dev/null
        pgbench -q -i -s 1 2> /dev/null; pgbench -n -c 2 -t 300 > /dev/null 2>&1
        psql -q -c \"create table t as select generate_series(1, 9999) n\" -c \"vacuum full\" -c \"drop table t\" -c checkpoint
        pg_ctl -D data -m fast -w stop > /dev/null";
    std::fs::write(ear.tree.join("script"), script).unwrap();
    ear.hears_all_of(|ear| {
        let line = format!(
            "chown postgres .; runuser -u postgres -- env BIN={} sh -e script",
            bin.display()
        );
        drop(ear.shell(&line));
    });
}

/// The directory of the highest version.
fn newest(directory: &str) -> Option<std::path::PathBuf> {
    let versions = std::fs::read_dir(directory).ok()?;
    let number = |path: &Path| path.file_name()?.to_str()?.parse::<u32>().ok();
    versions
        .filter_map(|entry| Some(entry.ok()?.path()))
        .max_by_key(|path| number(path))
}

//! Real programs at work: what goes on while faults come.

use std::path::{Path, PathBuf};
use std::process::Child;

use harness::{Pair, Place, Seed, shell};

/// A program and what it is made to do.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Workload {
    pub(crate) name: &'static str,
    script: &'static str,
}

/// Each works in the directory that is current, on names with `$N` in them, from material in `$M`.
pub(crate) const ALL: [Workload; 8] = [
    Workload {
        name: "git clone",
        script: "git clone -q $M/repository clone-$N; cd clone-$N; echo clone $N > file-1; git commit -qam $N",
    },
    Workload {
        name: "sqlite",
        script: "sqlite3 $N.db 'create table if not exists t (a, b)'
            for i in 1 2 3 4 5 6 7 8; do
                sqlite3 $N.db \"begin; insert into t select $i, hex(randomblob(2000))
                    from generate_series(1, 50); delete from t where rowid % 7 = $i; commit\"
            done",
    },
    Workload {
        name: "tar",
        script: "mkdir tar-$N; tar xf $M/files.tar -C tar-$N; rm -r tar-$N/files/3",
    },
    Workload {
        name: "cp",
        script: "cp -a $M/files copy-$N; mv copy-$N moved-$N; cp -a moved-$N copy-$N",
    },
    Workload {
        name: "sed",
        script: "mkdir sed-$N; cp $M/files/1/* sed-$N
            for i in 1 2 3 4 5; do sed -i \"s/line/line $i/\" sed-$N/*; done",
    },
    Workload {
        name: "python",
        script: "python3 - $N.bin <<'END'
import os, random, sys
with open(sys.argv[1], 'w+b', buffering=0) as file:
    for i in range(2000):
        file.seek(random.randrange(1 << 20))
        file.write(os.urandom(random.randrange(4096)))
        if i % 500 == 499: file.truncate(random.randrange(1 << 20))
END",
    },
    Workload {
        name: "gcc",
        script: "cp $M/program.c $N.c; gcc -O1 -c -o $N.o $N.c; gcc -o $N.exe $N.o; ./$N.exe > $N.out",
    },
    Workload {
        name: "dd",
        script: "dd if=/dev/urandom of=$N.big bs=64k count=200 status=none
            dd if=/dev/zero of=$N.big bs=4k count=3 seek=77 conv=notrunc status=none",
    },
];

/// What the programs work from; lies outside the protected tree.
#[derive(Debug)]
pub(crate) struct Material(PathBuf);

impl Material {
    /// Some hundred files, a tar archive and a git repository of them, a C program.
    pub(crate) fn make(place: &Place) -> Self {
        let path = place.directory("material");
        shell(
            &path,
            r#"for d in 1 2 3 4; do
                mkdir -p files/$d
                for f in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
                    seq -f "line %g of file $f in $d" $((f * 20)) > files/$d/$f
                done
            done
            tar cf files.tar files
            cp -r files repository; cd repository; echo 0 > file-1
            git init -q; git config user.name e; git config user.email e@example.org
            git add .; git commit -qm first
            cd ..
            printf '#include <stdio.h>\nint main(void) { puts("built"); return 0; }\n' > program.c"#,
        );
        Self(path)
    }

    /// A workload's script with its names filled in.
    pub(crate) fn script(&self, workload: Workload, number: u64) -> String {
        let author = "GIT_AUTHOR_NAME=e GIT_AUTHOR_EMAIL=e@example.org";
        let committer = "GIT_COMMITTER_NAME=e GIT_COMMITTER_EMAIL=e@example.org";
        let Workload { script, .. } = workload;
        format!(
            "export {author} {committer} M={} N={number}\n{script}",
            self.0.display()
        )
    }

    /// Starts a workload in the tree, under the shim.
    pub(crate) fn start(&self, pair: &Pair, workload: Workload, number: u64) -> Child {
        pair.source
            .spawn(&pair.tree, &self.script(workload, number))
    }
}

/// All workloads in an order that the seed chose.
pub(crate) fn shuffled(seed: &Seed) -> Vec<Workload> {
    let mut workloads = ALL.to_vec();
    for last in (1..workloads.len()).rev() {
        workloads.swap(last, seed.below(last as u64 + 1) as usize);
    }
    workloads
}

/// Ends a workload and all its children by kill -9.
pub(crate) fn kill_group(mut child: Child) {
    let group = rustix::process::Pid::from_child(&child);
    // It may have ended by itself, and its group with it.
    let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
    child.wait().expect("status of a workload");
}

/// Panics unless a workload came to its end as if nothing had happened.
pub(crate) fn assert_undisturbed(workload: Workload, mut child: Child, directory: &Path) {
    let status = child.wait().expect("status of a workload");
    let (name, directory) = (workload.name, directory.display());
    assert!(
        status.success(),
        "{name} in {directory} noticed what happened to a daemon: {status}"
    );
}

/// The scripts themselves are right: a failure elsewhere is Everwrite's.
#[test]
fn every_workload_works_by_itself() {
    let place = Place::new();
    let material = Material::make(&place);
    let tree = place.directory("tree");
    for (number, workload) in ALL.into_iter().enumerate() {
        shell(&tree, material.script(workload, number as u64));
    }
}

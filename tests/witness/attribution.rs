//! Who made a version: what `everwrite log --json` says of programs with the shim and without.

use std::path::PathBuf;
use std::process::Command;

use harness::{Pair, run, skip};
use serde::Deserialize;

use crate::scene::{Steps, TREE, soon_mirrored, witnessed, writer, writing};

/// A control group of the test's own, removed when dropped.
struct Group {
    directory: PathBuf,
    name: String,
}

impl Group {
    fn new() -> Result<Self, String> {
        let mounted = run(Command::new("findmnt").args(["-n", "-o", "TARGET", "-t", "cgroup2"]));
        let top = PathBuf::from(mounted.text().lines().next().unwrap_or_default());
        let name = format!("everwrite-test-{}", std::process::id());
        let directory = top.join(&name);
        let made = std::fs::create_dir(&directory);
        made.map_err(|error| format!("no control group of its own: {error}"))?;
        Ok(Self { directory, name })
    }

    /// `program` with the words, in the group from its first instruction on.
    fn program(&self, pair: &Pair, arguments: &[&str]) -> Command {
        let mut command = Command::new("sh");
        let script = r#"echo $$ > "$0/cgroup.procs"; exec "$@""#;
        command.args(["-ec", script]).arg(&self.directory);
        command
            .arg(writer())
            .args(arguments)
            .current_dir(&pair.tree);
        command
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // Processes that have just ended may still be counted in it.
        harness::wait_until("the control group is removed", || {
            std::fs::remove_dir(&self.directory).is_ok()
        });
    }
}

#[derive(Deserialize)]
struct Version {
    change: String,
    origin: Origin,
}

#[derive(Deserialize, Debug)]
struct Origin {
    pid: u32,
    uid: u32,
    started_ticks: u64,
    program: String,
    executable: String,
    cgroup: String,
}

/// Who made the last version of a file's content.
fn modified(pair: &Pair, name: &str) -> Origin {
    let path = pair.tree.join(name).display().to_string();
    let log = pair.source.everwrite(["log", "--json", &path]);
    let versions: Vec<Version> = log.success().json();
    let mut modified = versions.into_iter().filter(|v| v.change == "modified");
    modified.next().expect("it was modified").origin
}

#[test]
fn a_version_says_which_service_made_it() {
    let test = "a_version_says_which_service_made_it";
    let group = match Group::new() {
        Ok(group) => group,
        Err(reason) => return skip(test, &reason),
    };
    let Some(pair) = witnessed(test, TREE) else {
        return;
    };
    // One that has ended before anybody can ask, and one that lives.
    run(&mut group.program(&pair, &["append", "append", "1"])).success();
    let mut holder = Steps::start(&mut group.program(&pair, &["hold", "held"]));
    holder.next();
    run(&mut writing(&pair, &["append", "write", "1"])).success();
    soon_mirrored(&pair);
    let in_group = |origin: &Origin| origin.cgroup.ends_with(&group.name);
    for name in ["append", "held"] {
        let origin = modified(&pair, name);
        assert!(in_group(&origin), "{name}: {origin:?}");
        assert!(origin.pid > 0 && origin.started_ticks > 0, "{origin:?}");
        assert_eq!((origin.uid, &*origin.program), (0, "static-writer"));
        assert!(origin.executable.ends_with("/static-writer"), "{origin:?}");
    }
    let outside = modified(&pair, "write");
    assert!(
        !in_group(&outside) && outside.cgroup.starts_with('/'),
        "{outside:?}"
    );
    holder.finish();
    // The shim tells who it is by its socket.
    let procs = group.directory.join("cgroup.procs");
    pair.run(&format!(
        "echo $$ > {}; echo more >> pwrite",
        procs.display()
    ));
    soon_mirrored(&pair);
    let shimmed = modified(&pair, "pwrite");
    assert!(in_group(&shimmed), "{shimmed:?}");
}

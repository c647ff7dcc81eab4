//! Programs that are run with and without the library: it must make no difference to them.

use std::io;
use std::path::Path;

use serde::Serialize;

use super::place;
use super::root::Root;
use super::trial::{self, How, Ran};
use crate::cli::shown;

/// A program, and what the shell is told to do with it in an empty directory. What it prints must not
/// change from one time to the next.
struct Canary {
    program: &'static str,
    script: &'static str,
}

const fn canary(program: &'static str, script: &'static str) -> Canary {
    Canary { program, script }
}

/// What is not installed is left out. The first of all service managers has to start, else the
/// machine does not.
const CANARIES: [Canary; 30] = [
    canary("true", "exec true"),
    canary(
        "sh",
        "echo out; echo err >&2; (exit 3); echo $? >f; read x <f; echo $x; exit 7",
    ),
    canary("ls", "ls -d / /no-such-file"),
    canary(
        "cp",
        "echo a >a; cp a b; mv b c; ln c d; cat d; rm a c d; ls",
    ),
    canary(
        "sort",
        "printf 'b\\na\\n' | sort | tee t | wc -l; cat t; rm t",
    ),
    canary(
        "bash",
        "exec bash --norc -c 'for i in 1 2; do (echo $i) & wait; done >f; cat f; rm f'",
    ),
    canary("dash", "exec dash -c 'echo a >f; cat f; rm f'"),
    canary("sed", "echo a >f; sed -i s/a/b/ f; cat f; rm f"),
    canary("awk", "echo 1 2 | awk '{ print $2 > \"f\" }'; cat f; rm f"),
    canary("grep", "echo needle | grep -c needle"),
    canary("find", "mkdir d; find . -type d; rmdir d"),
    canary(
        "tar",
        "echo a >f; tar -cf t f; rm f; tar -xf t; cat f; rm t f",
    ),
    canary("gzip", "echo a | gzip -n | gzip -d"),
    canary("xz", "echo a | xz | xz -d"),
    canary(
        "python3",
        "exec python3 -c 'import os, subprocess, threading
t = threading.Thread(target=lambda: open(\"f\", \"w\").write(\"a\"))
t.start(); t.join(); print(open(\"f\").read()); os.remove(\"f\")
print(subprocess.run([\"sh\", \"-c\", \"exit 3\"]).returncode)'",
    ),
    canary(
        "perl",
        "exec perl -e 'open F, \">f\"; print F \"a\"; close F; print `cat f`; unlink \"f\"'",
    ),
    canary(
        "ruby",
        "exec ruby -e 'File.write(\"f\", \"a\"); puts `cat f`; File.delete \"f\"'",
    ),
    canary(
        "node",
        "exec node -e 'const f = require(\"fs\"); f.writeFileSync(\"f\", \"a\");
console.log(f.readFileSync(\"f\", \"utf8\")); f.unlinkSync(\"f\")'",
    ),
    canary(
        "git",
        "git init -q g; echo a | git -C g hash-object -w --stdin; rm -r g",
    ),
    canary(
        "sqlite3",
        "sqlite3 f 'create table t(x); insert into t values (1); select * from t'; rm f",
    ),
    canary("rsync", "echo a >a; rsync a b; cat b; rm a b"),
    canary("gcc", "exec gcc --version"),
    canary("ssh", "exec ssh -V"),
    canary("sudo", "exec sudo -V </dev/null | head -n 1"),
    canary("su", "exec su --version"),
    canary("getent", "exec getent passwd root"),
    canary("dpkg", "exec dpkg --version"),
    canary("apt-get", "exec apt-get --version"),
    canary("rpm", "exec rpm --version"),
    canary(
        "/lib/systemd/systemd",
        "exec /lib/systemd/systemd --version",
    ),
];

/// The shell's exit code for a program that is not there.
const ABSENT: i32 = 125;

/// How a program took it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub(in crate::cli) struct Tried {
    /// Which one.
    pub(in crate::cli) program: &'static str,
    /// What was different with the library; `None`: nothing.
    pub(in crate::cli) difference: Option<String>,
}

/// Runs all that are installed in `root`, in the empty directory `at` of it. `directory` is that of the
/// libraries that are tried: of others the loader may complain as it likes.
pub(in crate::cli) fn try_all(
    root: &Root,
    how: How<'_>,
    at: &Path,
    directory: &Path,
) -> io::Result<Vec<Tried>> {
    let mut all = Vec::new();
    for canary in &CANARIES {
        let Some(without) = canary.run(root, How::AsItIs, at)? else {
            continue;
        };
        // With the library, even not being found is a difference.
        let difference = match canary.run(root, how, at)? {
            Some(with) => difference(&without, &with, directory),
            None => Some("it was not found any more".to_owned()),
        };
        all.push(Tried {
            program: canary.program,
            difference,
        });
    }
    Ok(all)
}

impl Canary {
    /// `None` when it is not installed.
    fn run(&self, root: &Root, how: How<'_>, at: &Path) -> io::Result<Option<Ran>> {
        let Self { program, script } = self;
        let script = format!("command -v {program} >/dev/null || exit {ABSENT}\n{script}");
        let ran = trial::run(root, how, at, "/bin/sh", &["-c", &script])?;
        let absent = ran
            .status
            .is_some_and(|status| status.code() == Some(ABSENT));
        Ok((!absent).then_some(ran))
    }
}

/// What is different, for people.
fn difference(without: &Ran, with: &Ran, directory: &Path) -> Option<String> {
    let errors = |ran: &Ran| relevant(&ran.errors, directory);
    match (without.status, with.status) {
        (_, None) => Some("it did not end in time".to_owned()),
        (Some(without), Some(ended)) if without != ended => Some(format!(
            "{ended} instead of {without}; {}",
            said(&errors(with))
        )),
        _ if without.output != with.output => Some(format!(
            "it printed {:?} instead of {:?}",
            said(&with.output),
            said(&without.output)
        )),
        _ if errors(without) != errors(with) => Some(format!(
            "it said on standard error {:?} instead of {:?}",
            said(&errors(with)),
            said(&errors(without))
        )),
        _ => None,
    }
}

/// The beginning of what a program said.
fn said(bytes: &[u8]) -> String {
    const LONGEST: usize = 200;
    let bytes = bytes.trim_ascii();
    match bytes.get(..LONGEST) {
        Some(beginning) => format!("{}...", shown::path(beginning)),
        None => shown::path(bytes),
    }
}

/// Standard error without the loader's complaints about other libraries: the copy that is to be
/// replaced, and what else stands in the list.
fn relevant(errors: &[u8], directory: &Path) -> Vec<u8> {
    let lines = errors.split_inclusive(|byte| *byte == b'\n');
    let kept = lines.filter(|line| {
        let line = String::from_utf8_lossy(line);
        !line.contains("ld.so: object '") || is_about(&line, directory)
    });
    kept.flatten().copied().collect()
}

/// Whether the loader complains about a library of ours below `directory`.
pub(in crate::cli) fn is_about(line: &str, directory: &Path) -> bool {
    line.contains(&format!("ld.so: object '{}'", place::line(directory)))
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;
    use std::process::ExitStatus;

    use super::*;

    fn ran(status: i32, output: &str, errors: &str) -> Ran {
        Ran {
            status: Some(ExitStatus::from_raw(status)),
            output: output.into(),
            errors: errors.into(),
        }
    }

    #[test]
    fn every_difference_is_told() {
        let complaint =
            "ERROR: ld.so: object '/new/$LIB/libeverwrite_shim.so' cannot be preloaded\n";
        let plain = ran(0, "a\n", "b\n");
        let told = |with: &Ran| difference(&plain, with, Path::new("/new"));
        assert_eq!(told(&ran(0, "a\n", "b\n")), None);
        assert!(told(&ran(7, "a\n", "b\n")).unwrap().contains("instead of"));
        assert!(told(&ran(0, "", "b\n")).unwrap().contains("printed"));
        assert!(told(&ran(0, "a\n", complaint)).unwrap().contains("ld.so"));
        let late = Ran {
            status: None,
            ..ran(0, "a\n", "b\n")
        };
        assert!(told(&late).unwrap().contains("in time"));
    }

    #[test]
    fn complaints_about_the_old_copy_are_no_difference() {
        let complaint = "ERROR: ld.so: object '/old/libeverwrite_shim.so' cannot be preloaded\nb\n";
        let (bad, good) = (ran(0, "", complaint), ran(0, "", "b\n"));
        assert_eq!(difference(&bad, &good, Path::new("/new")), None);
    }

    #[test]
    fn programs_are_the_same_each_time() {
        let root = Root::at(Path::new("/")).unwrap();
        let place = tempfile::tempdir().unwrap();
        let tried = try_all(&root, How::AsItIs, place.path(), Path::new("/new")).unwrap();
        assert!(tried.len() > 3);
        for tried in tried {
            assert_eq!(tried.difference, None, "{}", tried.program);
        }
        assert_eq!(
            std::fs::read_dir(place.path()).unwrap().count(),
            0,
            "they clean up"
        );
    }
}

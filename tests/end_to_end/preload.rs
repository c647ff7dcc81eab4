//! The shim in every program, by `/etc/ld.so.preload`: in the machine's own file system under another
//! root, never in the real one.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use harness::artifacts::artifacts;
use harness::daemon::Daemon;
use harness::{Outcome, Pair, Place, PrivateRoot, run, shell, skip, wait_until};
use serde_json::Value;

const LIST: &str = "/etc/ld.so.preload";
const LINE: &str = "/usr/lib/everwrite/$LIB/libeverwrite_shim.so";

/// `everwrite preload ARGUMENTS` on `root`, from outside.
fn preload(root: &PrivateRoot, arguments: &[&str]) -> Outcome {
    let mut command = Command::new(&artifacts().everwrite);
    command.env("EVERWRITE_SHIM", &artifacts().shim);
    command.arg("preload").args(arguments).arg("--root");
    run(command.arg(root.path()))
}

fn list(root: &PrivateRoot) -> Option<String> {
    std::fs::read_to_string(root.at(Path::new(LIST))).ok()
}

/// The shim that was put in place.
#[track_caller]
fn library(root: &PrivateRoot) -> PathBuf {
    let status: Value = preload(root, &["status", "--json"]).json();
    let libraries = status["libraries"].as_array().expect("libraries").iter();
    let mut shim = libraries.filter(|library| library["is_shim"] == true);
    let path = shim.next().expect("a shim")["path"].as_str();
    root.at(Path::new(path.expect("its path")))
}

/// Puts other content where the library is, as a new file.
fn replace(library: &Path, content: &[u8]) {
    let beside = library.with_extension("new");
    std::fs::write(&beside, content).expect("write a library");
    std::fs::rename(&beside, library).expect("put it in place");
}

/// A library that the loader takes, and that no program survives: it lacks a symbol.
fn deadly(place: &Place) -> PathBuf {
    let script =
        "echo 'extern int no_such_symbol(void); int (*p)(void) = no_such_symbol;' >deadly.c
cc -shared -fPIC -nostdlib -Wl,-z,now -o deadly.so deadly.c";
    shell(place.path(), script);
    place.path().join("deadly.so")
}

/// A shell that answers line by line.
struct Shell {
    child: Child,
    answers: BufReader<std::process::ChildStdout>,
}

impl Shell {
    fn start(mut command: Command) -> Self {
        Self::start_in(&mut command)
    }

    fn start_in(command: &mut Command) -> Self {
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("start a shell");
        let answers = BufReader::new(child.stdout.take().expect("piped"));
        Self { child, answers }
    }

    /// Has `command` run, which prints one line.
    fn ask(&mut self, command: &str) -> String {
        let input = self.child.stdin.as_mut().expect("piped");
        writeln!(input, "{command}").expect("say a line");
        let mut answer = String::new();
        self.answers.read_line(&mut answer).expect("hear a line");
        answer.trim_end().to_owned()
    }

    fn pid(&self) -> u64 {
        u64::from(self.child.id())
    }

    fn end(mut self) {
        drop(self.child.stdin.take());
        self.child.wait().expect("its end");
    }
}

/// What is said of a process in an answer.
fn said_of(answer: &Value, pid: u64, key: &str) -> String {
    let processes = answer["processes"].as_array().expect("processes").iter();
    let mut found = processes.filter(|process| process["pid"] == pid);
    let found = found.next().map(|process| process[key].clone());
    found
        .and_then(|value| value.as_str().map(str::to_owned))
        .unwrap_or_default()
}

#[test]
fn every_program_is_seen() {
    let pair = Pair::start_without_witness(|tree| drop(shell(tree, "echo a >held")));
    let tested = PrivateRoot::with(&pair.place, |root| {
        root.show(&pair.tree, &pair.tree);
        root.show(&pair.source.home().join("run"), Path::new("/run/everwrite"));
        let mut before = Shell::start(root.command("sh"));
        before.ask("echo here");
        preload(root, &["install"]).success();
        let mut after = Shell::start(root.script(&pair.tree, "exec sh"));
        after.ask("echo by a shell >shell; echo done");

        let script = "python3 -c 'import os; print(os.getpid()); open(\"python\", \"w\").write(\"a\")'
git init -q g; cp python copied; mv copied moved; tar -cf t g; rm -r g; env -i sh -c 'echo b >bare'";
        let pid = run(&mut root.script(&pair.tree, script)).success().text();
        pair.source.settle();
        let log = pair
            .source
            .everwrite(["log".as_ref(), pair.tree.join("python").as_os_str()]);
        let who = format!("[{}]", pid.trim());
        assert!(log.text().contains(&who), "{who} is not in {}", log.text());

        let mut unseen = Command::new("sh");
        let mut unseen = Shell::start_in(unseen.current_dir(&pair.tree));
        unseen.ask("exec 3>>held; echo done");
        let coverage: Value = pair
            .source
            .everwrite(["coverage", "--json"])
            .success()
            .json();
        assert_eq!(said_of(&coverage, after.pid(), "seen"), "attached");
        assert_eq!(said_of(&coverage, before.pid(), "seen"), "not-covered");
        let held = pair.tree.join("held").display().to_string();
        assert_eq!(said_of(&coverage, unseen.pid(), "writes"), held);
        let told = pair.source.everwrite(["coverage"]).text();
        assert!(told.contains(&format!("{held} open for writing")), "{told}");
        let status: Value = preload(root, &["status", "--json"]).success().json();
        assert_eq!(said_of(&status, after.pid(), "sight"), "loaded");
        assert_eq!(said_of(&status, before.pid(), "sight"), "started-before");

        // An upgrade: the shell keeps what it has.
        preload(root, &["install"]).success();
        let status: Value = preload(root, &["status", "--json"]).success().json();
        assert_eq!(said_of(&status, after.pid(), "sight"), "older");
        [before, after, unseen].into_iter().for_each(Shell::end);
    });
    if let Err(reason) = tested {
        return skip("preload::every_program_is_seen", &reason);
    }
    pair.assert_mirrored();
    let misses = pair.source.everwrite(["reconcile", "--json"]).text();
    let found = pair.source.status().capture.scan.misses;
    assert_eq!(found, 0, "a scan found what no hint had told: {misses}");
}

/// A coordinator in the system's places, as a machine has it; and a tree that it protects, at `/srv/data`.
fn machine(place: &Place, root: &PrivateRoot) -> Daemon {
    let programs = artifacts().everwrite.parent().unwrap();
    root.show(programs, Path::new("/mnt"));
    std::fs::create_dir_all(root.at(Path::new("/srv/data"))).unwrap();
    let (log, output) = (place.path().join("log"), place.path().join("out"));
    let mut command = root.command("/mnt/everwrite-coordinatord");
    Daemon::start(command.env_remove("EVERWRITE_HOME"), &log, &output)
}

/// `everwrite ARGUMENTS` in `root`.
fn everwrite(root: &PrivateRoot, arguments: &str) -> Outcome {
    let mut command = root.command("/mnt/everwrite");
    run(command
        .args(arguments.split_whitespace())
        .env_remove("EVERWRITE_HOME"))
}

#[test]
fn a_machine_of_its_own() {
    in_private("preload::a_machine_of_its_own", |place, root| {
        preload(root, &["install"]).success();
        let mut daemon = machine(place, root);
        wait_until("the coordinator answers", || {
            everwrite(root, "status").code != Some(3)
        });
        everwrite(root, "protect /srv/data --to dir:/srv/store --wait").success();
        daemon.kill();
        // A policy page is there from the beginning now: it must not hear itself.
        let mut daemon = machine(place, root);
        wait_until("the coordinator answers", || {
            everwrite(root, "status").code == Some(0)
        });

        let script = "install -d -o nobody n; su nobody -s /bin/sh -c 'echo a >n/f'; echo b >g";
        run(&mut root.script(Path::new("/srv/data"), script)).success();
        everwrite(root, "sync").success();
        let log = everwrite(root, "log /srv/data/n/f").success().text();
        assert!(log.contains("uid 65534"), "{log}");
        let coverage: Value = everwrite(root, "coverage --json").success().json();
        let pid = u64::from(daemon.pid());
        assert_eq!(said_of(&coverage, pid, "seen"), "switched-off");
        everwrite(root, "reconcile").success();
        everwrite(root, "verify").success();
        daemon.terminate();
    });
}

/// Runs `test` in a place of its own, or says why not.
fn in_private(name: &str, test: impl FnOnce(&Place, &PrivateRoot) + Send) {
    let place = Place::new();
    if let Err(reason) = PrivateRoot::with(&place, |root| test(&place, root)) {
        skip(name, &reason);
    }
}

#[test]
fn the_rest_of_the_list_stays() {
    in_private("preload::the_rest_of_the_list_stays", |_, root| {
        let path = root.at(Path::new(LIST));
        let others = "# kept by hand\n\n  # /lib/none.so\n# no end of line";
        std::fs::write(&path, others).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o604)).unwrap();
        std::os::unix::fs::chown(&path, Some(12), Some(34)).unwrap();
        for _ in 0..2 {
            preload(root, &["install"]).success();
            assert_eq!(list(root).unwrap(), format!("{others}\n{LINE}\n"));
        }
        preload(root, &["remove"]).success();
        preload(root, &["remove"]).success();
        assert_eq!(list(root).unwrap(), format!("{others}\n"));
        let facts = std::fs::metadata(&path).unwrap();
        assert_eq!(
            (facts.mode() & 0o777, facts.uid(), facts.gid()),
            (0o604, 12, 34)
        );
        assert!(!root.at(Path::new("/usr/lib/everwrite")).exists());
    });
}

/// What may become of a library; `None`: it is gone.
fn damages(whole: &[u8]) -> Vec<Option<Vec<u8>>> {
    let half = whole.len() / 2;
    let cuts = [0, 1, 63, 64, 4095, 4096, 8192, half, whole.len() - 1];
    let cuts = cuts.map(|cut| Some(whole[..cut].to_vec()));
    // `e_machine`.
    let mut foreign = whole.to_vec();
    foreign[18] = 3;
    cuts.into_iter().chain([Some(foreign), None]).collect()
}

/// What programs, which have to work, say on standard error.
#[track_caller]
fn complaints(root: &PrivateRoot) -> String {
    let ran = run(&mut root.script(Path::new("/"), "echo fine | cat")).success();
    assert_eq!(ran.text(), "fine\n");
    ran.stderr
}

#[test]
fn damage_stops_nothing_and_is_cured() {
    in_private("preload::damage_stops_nothing_and_is_cured", |_, root| {
        root.show(artifacts().everwrite.parent().unwrap(), Path::new("/mnt"));
        preload(root, &["install"]).success();
        let library = library(root);
        let whole = std::fs::read(&library).unwrap();
        for damage in damages(&whole) {
            match damage {
                Some(content) => replace(&library, &content),
                None => std::fs::remove_file(&library).unwrap(),
            }
            assert!(complaints(root).contains("cannot be preloaded"));
            let status = preload(root, &["status"]).exits(1).text();
            assert!(status.contains("BROKEN"), "{status}");
            run(root.command("/mnt/everwrite").args(["preload", "remove"])).success();
            assert_eq!((complaints(root).as_str(), list(root)), ("", None));
            preload(root, &["install"]).success();
        }
        replace(&library, &whole[..100]);
        preload(root, &["install"]).success();
        assert_eq!(complaints(root), "", "put in place again");
        preload(root, &["status"]).success();
    });
}

#[test]
fn what_stops_programs_is_not_put_in_place() {
    in_private(
        "preload::what_stops_programs_is_not_put_in_place",
        |place, root| {
            let deadly = deadly(place);
            let with = |action| {
                let mut command = Command::new(&artifacts().everwrite);
                command
                    .env("EVERWRITE_SHIM", &deadly)
                    .args(["preload", action, "--root"]);
                run(command.arg(root.path()))
            };
            let refused = with("install").exits(4);
            assert!(
                refused.stderr.contains("self-test failed"),
                "{}",
                refused.stderr
            );
            assert!(with("check").exits(1).text().contains("DIFFERENT true"));
            assert_eq!(list(root), None);
            assert!(!root.at(Path::new("/usr/lib/everwrite")).exists());

            // Neither in place of a good one.
            preload(root, &["install"]).success();
            with("install").exits(4);
            run(&mut root.script(Path::new("/"), "true")).success();
            preload(root, &["status"]).success();
        },
    );
}

#[test]
fn the_way_back_when_no_program_starts() {
    in_private(
        "preload::the_way_back_when_no_program_starts",
        |place, root| {
            preload(root, &["install"]).success();
            let mut shell = Shell::start(root.command("sh"));
            shell.ask("echo here");
            let others = format!("{LINE}\n# kept by hand\n");
            std::fs::write(root.at(Path::new(LIST)), others).unwrap();
            let deadly = deadly(place);
            replace(&library(root), &std::fs::read(&deadly).unwrap());
            run(&mut root.command("true")).exits(127);

            let said = shell.ask(". /usr/lib/everwrite/rescue.sh");
            assert!(said.contains("is out of"), "{said}");
            shell.end();
            run(&mut root.command("true")).success();
            assert_eq!(list(root).unwrap(), "# kept by hand\n");

            // Even where the list can only be written to.
            std::fs::write(root.at(Path::new(LIST)), format!("{LINE}\n")).unwrap();
            root.show(&root.at(Path::new(LIST)), Path::new(LIST));
            preload(root, &["remove"]).success();
            assert_eq!(list(root).unwrap(), "");
            run(Command::new("umount").arg(root.at(Path::new(LIST)))).success();
            preload(root, &["install"]).success();
            replace(&library(root), &std::fs::read(&deadly).unwrap());

            // From another system, with the disk at hand.
            std::fs::write(root.at(Path::new(LIST)), format!("{LINE}\n")).unwrap();
            run(&mut root.command("true")).exits(127);
            preload(root, &["remove"]).success();
            run(&mut root.command("true")).success();
        },
    );
}

#[test]
fn programs_with_raised_rights_and_32_bit_ones() {
    let name = "preload::programs_with_raised_rights_and_32_bit_ones";
    in_private(name, |place, root| {
        preload(root, &["install"]).success();
        let cat = root.at(Path::new("/usr/bin/raised-cat"));
        std::fs::copy("/bin/cat", &cat).unwrap();
        std::fs::set_permissions(&cat, std::fs::Permissions::from_mode(0o4755)).unwrap();
        let mut raised = Command::new("chroot");
        raised.arg("--userspec=65534:65534").arg(root.path());
        let maps = run(raised.args(["/usr/bin/raised-cat", "/proc/self/maps"])).success();
        assert!(
            maps.text().contains("libeverwrite_shim.so"),
            "{}",
            maps.text()
        );

        let script = r#"echo 'void _start(void) { __asm__("movl $1,%eax; movl $5,%ebx; int $0x80"); }' >p.c
cc -m32 -nostdlib -fpie -pie -Wl,--dynamic-linker=/lib/ld-linux.so.2 -o p32 p.c && ./p32 || test $? = 5"#;
        let made = run(Command::new("sh")
            .args(["-ec", script])
            .current_dir(place.path()));
        if made.code != Some(0) {
            return skip(
                name,
                &format!("no 32-bit programs here: {}", made.stderr.trim()),
            );
        }
        std::fs::copy(place.path().join("p32"), root.at(Path::new("/usr/bin/p32"))).unwrap();
        assert_eq!(run(&mut root.command("/usr/bin/p32")).exits(5).stderr, "");
    });
}

/// A package goes in and out again, by the machine's own package manager.
#[test]
fn a_package_is_installed_and_removed() {
    let name = "preload::a_package_is_installed_and_removed";
    if Command::new("dpkg-deb").arg("--version").output().is_err() {
        return skip(name, "this is no Debian: no dpkg-deb");
    }
    in_private(name, |_, root| {
        preload(root, &["install"]).success();
        let script = "mkdir -p p/DEBIAN p/usr/share/everwrite-test
echo content >p/usr/share/everwrite-test/file
printf 'Package: everwrite-test\\nVersion: 1\\nArchitecture: all\\nMaintainer: x <x@example.com>\\n\
Description: test\\n' >p/DEBIAN/control
printf '#!/bin/sh\\nset -e\\necho configured >/usr/share/everwrite-test/conf\\n' >p/DEBIAN/postinst
chmod 755 p/DEBIAN/postinst
dpkg-deb -b p p.deb >/dev/null; dpkg -i p.deb >/dev/null; cat /usr/share/everwrite-test/conf
rm /usr/share/everwrite-test/conf; dpkg -P everwrite-test >/dev/null; test ! -e /usr/share/everwrite-test";
        let ran = run(&mut root.script(Path::new("/mnt"), script)).success();
        assert_eq!(
            (ran.text().as_str(), ran.stderr.as_str()),
            ("configured\n", "")
        );
    });
}

/// A Debian of its own, from its first package on. Needs the network and a minute or two.
#[test]
fn a_whole_debian() {
    let name = "preload::a_whole_debian";
    if std::env::var_os("EVERWRITE_DEBIAN").is_none() {
        return skip(
            name,
            "takes minutes and the network: set EVERWRITE_DEBIAN=1",
        );
    }
    in_private(name, |place, _| {
        let debian = place.path().join("private/debian");
        let arguments = ["--variant=minbase", "bookworm"];
        run(Command::new("debootstrap").args(arguments).arg(&debian)).success();
        for shown in ["/proc", "/dev"] {
            let at = debian.join(&shown[1..]);
            run(Command::new("mount").args(["--rbind", shown]).arg(at)).success();
        }
        let everwrite = |action| {
            let mut command = Command::new(&artifacts().everwrite);
            command.env("EVERWRITE_SHIM", &artifacts().shim);
            command.args(["preload", action, "--root"]);
            run(command.arg(&debian)).success()
        };
        let chroot = |script| {
            let mut command = Command::new("chroot");
            let mut command = command.arg(&debian).args(["sh", "-ec", script]);
            command = command.env("DEBIAN_FRONTEND", "noninteractive");
            run(command.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")).success()
        };
        everwrite("install");
        let packages =
            "apt-get update -qq && apt-get install -qq -y --no-install-recommends hello >/dev/null
hello; apt-get purge -qq -y hello >/dev/null; test ! -e /usr/bin/hello";
        let ran = chroot(packages);
        assert_eq!(ran.text(), "Hello, world!\n");
        assert!(!ran.stderr.contains("ld.so"), "{}", ran.stderr);
        everwrite("remove");
        chroot("test ! -e /etc/ld.so.preload && test ! -e /usr/lib/everwrite");
    });
}

#[test]
fn who_may_not_is_told() {
    in_private("preload::who_may_not_is_told", |_, root| {
        root.show(artifacts().everwrite.parent().unwrap(), Path::new("/mnt"));
        root.show(artifacts().shim.parent().unwrap(), Path::new("/media"));
        let mut command = Command::new("chroot");
        command.arg("--userspec=65534:65534").arg(root.path());
        command.env("EVERWRITE_SHIM", "/media/libeverwrite_shim.so");
        let refused = run(command.args(["/mnt/everwrite", "preload", "install"])).exits(1);
        assert!(refused.stderr.contains("as root"), "{}", refused.stderr);
        wait_until("nothing is left behind", || list(root).is_none());
    });
}

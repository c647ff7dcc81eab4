//! The library in `/etc/ld.so.preload`, in a mount namespace of the test's own: the machine's file is
//! never touched. All programs have it then, also those without an environment and with raised rights.

use std::path::Path;
use std::process::Command;

use everwrite_protocol::local::{POLICY_FILE_NAME, SOCKET_FILE_NAME};
use harness::Outcome;
use harness::artifacts::shim;
use rustix::fs::Mode;

use crate::scene::Scene;

/// Makes `/etc` and `/run` of the namespace: `/etc` a copy, with the library in it, in `/run` nothing but
/// the directory that the recorder listens in.
const ENTER: &str = "
    mkdir -p \"$top/run/everwrite\"; cp -a /etc \"$top/etc\"; cp \"$library\" \"$top/etc/everwrite.so\"
    mount --bind \"$top/etc\" /etc; mount --bind \"$listen\" \"$top/run/everwrite\"; mount --rbind \"$top/run\" /run
    preload() { echo \"$1\" >/etc/ld.so.preload; }
";

/// Runs a script in the namespace; `None`, and said so, when there can be none.
fn in_namespace(test: &str, scene: &Scene, script: &str) -> Option<Outcome> {
    let enter = ["-m", "--propagation", "private"];
    let possible = Command::new("unshare").args(enter).arg("true").output();
    if !possible.is_ok_and(|output| output.status.success()) {
        harness::skip(test, "a mount namespace takes root and unshare");
        return None;
    }
    let listens = scene.path().join("run");
    // Whoever a program runs as, its shim has to come in.
    rustix::fs::chmod(&listens, Mode::from_raw_mode(0o755)).expect("open the directory");
    for name in [SOCKET_FILE_NAME, POLICY_FILE_NAME] {
        rustix::fs::chmod(listens.join(name), Mode::from_raw_mode(0o666)).expect("let them in");
    }
    let mut command = Command::new("unshare");
    command
        .args(enter)
        .args(["bash", "-ec"])
        .arg(format!("{ENTER}\n{script}"));
    command
        .env("top", scene.path().join("global"))
        .env("library", shim());
    command.env("listen", &listens).current_dir(&scene.tree);
    Some(harness::run(&mut command))
}

#[test]
fn every_program_has_it() {
    let scene = Scene::new();
    let source = "#include <fcntl.h>\n#include <unistd.h>\nint main(void){int f=open(\"raised\",O_CREAT|O_RDWR,0600);return f<0||pwrite(f,\"x\",1,5000)!=1;}";
    let program = scene.compile("raised", source);
    scene.prepare(&format!(
        "cp {0} setuid; cp {0} capable; chmod 6755 setuid; chmod 777 .",
        program.display()
    ));
    scene.check(|scene| {
        let script = "
            preload /etc/everwrite.so
            env -i /bin/sh -c 'echo text >bare; mkdir dir; mv bare dir'
            env -i PATH=$PATH bash -c 'for i in 1 2 3; do cp dir/bare dir/$i; done; tar cf all.tar dir; rm -r dir'
            setpriv --reuid=65534 --clear-groups ./setuid
            EVERWRITE_OFF=1 setpriv --reuid=65534 --clear-groups ./setuid
            rm raised; setcap cap_net_raw+ep capable && EVERWRITE_OFF=1 setpriv --reuid=65534 --clear-groups ./capable
            ldd /bin/sh | grep -c everwrite";
        if let Some(ended) = in_namespace("every_program_has_it", scene, script) {
            assert_eq!(ended.success().text(), "1\n");
        } else {
            // Something has to change for a test that changes nothing.
            scene.shell("echo text >bare");
        }
    });
}

/// A library that is missing, empty or of another class is left out by the loader, and taking the line
/// out cures the rest.
#[test]
fn a_broken_library_stops_nobody() {
    let scene = Scene::new();
    let script = "
        : >/etc/empty.so; head -c 300 \"$library\" >/etc/short.so
        { printf '\\177ELF\\1'; tail -c +6 \"$library\"; } >/etc/other-class.so
        for library in missing empty short other-class; do
            preload /etc/$library.so
            /bin/true && sh -c 'echo text >file && cat file && rm file'
        done
        : >/etc/ld.so.preload; ls /nonexistent";
    let Some(ended) = in_namespace("a_broken_library", &scene, script) else {
        return;
    };
    assert_eq!(ended.text(), "text\n".repeat(4), "{ended:?}");
    let last = ended.stderr.lines().last().unwrap_or_default();
    assert!(!last.contains("ld.so"), "{ended:?}");
}

/// It is replaced by renaming while programs run with it: those go on with the old one.
#[test]
fn replaced_for_everybody() {
    let scene = Scene::new();
    let script = "
        preload /etc/everwrite.so
        bash -c 'for i in 1 2 3 4 5 6 7 8 9; do echo $i >file-$i; cp /etc/everwrite.so /etc/new.so; mv /etc/new.so /etc/everwrite.so; sh -c \"echo again >>file-$i\"; done'";
    scene.check(|scene| {
        if let Some(ended) = in_namespace("replaced_for_everybody", scene, script) {
            assert_eq!(ended.success().stderr, "");
        } else {
            scene.shell("echo text >bare");
        }
    });
    assert!(
        !Path::new("/etc/everwrite.so").exists(),
        "the machine's own /etc was touched"
    );
}

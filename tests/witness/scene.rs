//! A pair with a witness, and programs without a shim.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use everwrite_protocol::control::State;
use harness::{
    Destination, Pair, Place, Receiver, Source, run, skip, tree, try_wait_for, wait_for,
};

/// Makes the tree that `writer changes` works on.
pub(crate) const TREE: &str = "
    for name in source write pwrite append writev pwritev copy_file_range sendfile splice ftruncate \\
        direct door32 punch zero collapse insert rename exchange-1 exchange-2 replacement replaced \\
        link unlink chmod utimensat setxattr mapped held
    do i=0; while [ $i -lt 2000 ]; do echo line $i of $name; i=$((i+1)); done > $name; done
    cp source truncate; head -c 8192 source > longer; : > allocate; mkdir -p tree/below rmdir; cp source tree/below/file
";
/// How long a change may take to be in the mirror. The promise is a second; the machine may be slow.
pub(crate) const SOON: Duration = Duration::from_secs(20);

/// A program that is linked statically and changes files in every way (`writer.c`).
pub(crate) fn writer() -> &'static Path {
    static WRITER: OnceLock<PathBuf> = OnceLock::new();
    WRITER.get_or_init(|| {
        let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join("witness");
        std::fs::create_dir_all(&directory).expect("make a directory for the writer");
        let program = directory.join("static-writer");
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/witness/writer.c");
        let mut compiler = Command::new("cc");
        compiler.args(["-static", "-O1", "-Wall", "-Werror", "-pthread", "-o"]);
        run(compiler.arg(&program).arg(source)).success();
        program
    })
}

/// A pair whose witness has eBPF and fanotify; `None` where that can't be had, which is said.
#[track_caller]
pub(crate) fn witnessed(test: &str, fill: &str) -> Option<Pair> {
    witnessed_with(test, "", fill)
}

/// The same with more settings.
#[track_caller]
pub(crate) fn witnessed_with(test: &str, settings: &str, fill: &str) -> Option<Pair> {
    let pair = Pair::start_configured(settings, |tree| drop(harness::shell(tree, fill)));
    is_witnessed(test, &pair).then_some(pair)
}

/// Waits until the pair's witness has eBPF and fanotify, and no scan is about to find what comes now.
/// False where that can't be had, which is said.
#[track_caller]
pub(crate) fn is_witnessed(test: &str, pair: &Pair) -> bool {
    let capture = wait_for("the witness says how it stands", SOON, || {
        let capture = pair.source.status().capture;
        (capture.names.state != "off").then_some(capture)
    });
    let reason = match (&*capture.ebpf.state, &*capture.names.state) {
        ("on", "on") => {
            quiet(pair);
            return true;
        }
        ("on", _) => format!("no fanotify: {}", capture.names.reason),
        _ => format!("no eBPF: {}", capture.ebpf.reason),
    };
    assert!(
        std::env::var_os("EVERWRITE_REQUIRE_EBPF").is_none(),
        "EVERWRITE_REQUIRE_EBPF is set, and there is {reason}"
    );
    skip(test, &reason);
    false
}

/// Does the pair's witness have eBPF, whatever else it hears? False where that can't be had, which is said.
#[track_caller]
pub(crate) fn has_ebpf(test: &str, pair: &Pair) -> bool {
    let ebpf = wait_for("the witness says how it stands", SOON, || {
        let capture = pair.source.status().capture;
        (capture.names.state != "off").then_some(capture.ebpf)
    });
    if ebpf.state == "on" {
        return true;
    }
    let required = std::env::var_os("EVERWRITE_REQUIRE_EBPF").is_some();
    assert!(!required, "EVERWRITE_REQUIRE_EBPF is set: {}", ebpf.reason);
    skip(test, &format!("no eBPF: {}", ebpf.reason));
    false
}

/// Protects a tree that is there.
#[track_caller]
pub(crate) fn protecting(place: Place, tree: PathBuf) -> Pair {
    protecting_with(place, tree, "")
}

/// The same with settings.
#[track_caller]
pub(crate) fn protecting_with(place: Place, tree: PathBuf, settings: &str) -> Pair {
    let receiver = Receiver::start(&place, "store");
    let source = Source::start_configured(&place, "home", settings);
    source.protect(&tree, Pair::ROOT, &Destination::Receiver(&receiver));
    Pair {
        source,
        receiver,
        tree,
        place,
    }
}

/// Waits until no scan is under way or due that could find what comes now.
#[track_caller]
pub(crate) fn quiet(pair: &Pair) {
    pair.source.everwrite(["reconcile"]);
    pair.source.wait_state(State::Continuous);
}

/// Waits until tree and mirror are equal, and asks nobody to hurry.
#[track_caller]
pub(crate) fn soon_mirrored(pair: &Pair) {
    let mirror = pair.mirror();
    let mut last = String::new();
    let equal = try_wait_for(SOON, || {
        last = tree::rsync_differences(&pair.tree, &mirror);
        last.is_empty().then_some(())
    });
    assert!(
        equal.is_some(),
        "not in the mirror after {SOON:?}:\n{last}{:#?}",
        pair.source.status().capture
    );
}

/// The same, and nothing was left for a scan to find, nor had a scan been needed.
#[track_caller]
pub(crate) fn all_was_heard(pair: &Pair) {
    soon_mirrored(pair);
    assert_eq!(
        pair.source.status().capture.scan.misses,
        0,
        "found by a scan"
    );
    pair.source.everwrite(["reconcile"]).success();
    pair.assert_mirrored();
}

/// A program that says a line when it has done something, and goes on when told to.
pub(crate) struct Steps {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Steps {
    /// Starts it; returns when it has said its first line.
    #[track_caller]
    pub(crate) fn start(command: &mut Command) -> Self {
        let piped = command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = piped.spawn().expect("start a program");
        let input = child.stdin.take().expect("its input");
        let output = BufReader::new(child.stdout.take().expect("its output"));
        let mut steps = Self {
            child,
            input,
            output,
        };
        steps.hear();
        steps
    }

    /// Has it do its next step; returns when that is done.
    #[track_caller]
    pub(crate) fn next(&mut self) {
        self.input.write_all(b"\n").expect("tell it to go on");
        self.hear();
    }

    #[track_caller]
    fn hear(&mut self) {
        let mut line = String::new();
        self.output.read_line(&mut line).expect("hear from it");
        assert!(!line.is_empty(), "it has ended");
    }

    /// Has it end by itself.
    #[track_caller]
    pub(crate) fn finish(mut self) {
        drop(self.input);
        assert!(self.child.wait().expect("wait for it").success());
    }
}

/// `writer`, in the tree.
pub(crate) fn writing(pair: &Pair, arguments: &[&str]) -> Command {
    let mut command = Command::new(writer());
    command.args(arguments).current_dir(&pair.tree);
    command
}

/// Has rings write that complete only when asked, or without a word; false where that can't be had, which is said.
#[track_caller]
pub(crate) fn rings(test: &str, pair: &Pair) -> bool {
    for (file, how) in [("held", "defer"), ("write", "skip")] {
        if run(&mut writing(pair, &["ring", file, how])).code != Some(0) {
            skip(test, &format!("this kernel has no such ring ({how})"));
            return false;
        }
    }
    true
}

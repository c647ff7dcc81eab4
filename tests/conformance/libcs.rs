//! Other releases of glibc, as Debian ships them: the library loads under each, finds its way in its
//! tables, and hears every case. The cases are compiled against each, and run by its own loader.

use std::path::{Path, PathBuf};
use std::process::Command;

use harness::artifacts::shim;

use crate::calls::{self, CALLS};
use crate::scene::Scene;

/// A libc that lies in a directory of its own.
pub(crate) struct Libc {
    root: PathBuf,
    /// Where its libraries are.
    libraries: PathBuf,
}

impl Libc {
    /// That of a Debian release; `None`, and said so, when it can't be fetched.
    pub(crate) fn of(suite: &str) -> Option<Self> {
        Self::fetch(&[suite])
    }

    /// The same for another processor.
    pub(crate) fn of_architecture(suite: &str, architecture: &str) -> Option<Self> {
        Self::fetch(&[suite, architecture])
    }

    fn fetch(which: &[&str]) -> Option<Self> {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts/libc");
        let target = shim().ancestors().nth(2)?;
        let mut fetch = Command::new(script);
        let fetched = harness::run(fetch.args(which).env("CARGO_TARGET_DIR", target));
        if fetched.code != Some(0) {
            harness::skip(&which.join(" "), fetched.stderr.trim());
            return None;
        }
        let root = PathBuf::from(fetched.text().trim());
        let loader = std::fs::read_link(root.join("lib/ld.so")).ok()?;
        let libraries = root.join("lib").join(loader.parent()?);
        Some(Self { root, libraries })
    }

    /// Where all of it lies.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// Where libraries to link with are.
    pub(crate) fn to_link(&self) -> PathBuf {
        let triplet = self.libraries.file_name().expect("a directory");
        self.root.join("usr/lib").join(triplet)
    }

    /// libc itself.
    pub(crate) fn file(&self) -> PathBuf {
        self.libraries.join("libc.so.6")
    }

    /// Compiles a program against it.
    fn compile(&self, scene: &Scene, name: &str, source: &str) -> PathBuf {
        let triplet = self.libraries.file_name().expect("a directory");
        let libraries = self.to_link();
        let headers = Path::new("/usr/include");
        let option = |option: &str, path: &Path| format!("{option}{}", path.display());
        let arguments = [
            option("--sysroot=", &self.root),
            option("-B", &libraries),
            option("-L", &libraries),
            // The kernel's headers are this machine's.
            option("-idirafter", headers),
            option("-idirafter", &headers.join(triplet)),
            // Before 2.34 these were libraries of their own.
            "-ldl -lrt -lutil".to_owned(),
        ];
        let arguments: Vec<&str> = arguments.iter().flat_map(|all| all.split(' ')).collect();
        scene.compile_with(name, source, &arguments)
    }

    /// Starts a program with it, under the shim.
    fn command(&self, scene: &Scene, program: &Path) -> Command {
        let mut command = scene.command(self.root.join("lib/ld.so"));
        command.arg("--library-path").arg(&self.libraries);
        command.arg(program);
        command
    }
}

fn every_call_is_told_under(suite: &str) {
    let Some(libc) = Libc::of(suite) else { return };
    let scene = Scene::new();
    let program = libc.compile(&scene, "calls", CALLS);
    calls::check_all(&scene, &|| libc.command(&scene, &program));
}

/// 2.31: `dlsym`, asynchronous writes and threads are libraries of their own.
#[test]
fn bullseye() {
    every_call_is_told_under("bullseye");
}

/// 2.36.
#[test]
fn bookworm() {
    every_call_is_told_under("bookworm");
}

/// 2.41: `dprintf` passes the tables of stream operations.
#[test]
fn trixie() {
    every_call_is_told_under("trixie");
}

/// The newest that there is.
#[test]
fn sid() {
    every_call_is_told_under("sid");
}

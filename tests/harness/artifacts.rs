//! The programs under test: those that `scripts/test` built, otherwise built here, once.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// Paths of the programs.
#[derive(Debug)]
pub struct Artifacts {
    /// The command line.
    pub everwrite: PathBuf,
    /// The source's daemon.
    pub coordinatord: PathBuf,
    /// The destination's daemon and command line.
    pub receiver: PathBuf,
    /// The preload library.
    pub shim: PathBuf,
}

/// The programs of this run: below `EVERWRITE_BIN_DIR` and at `EVERWRITE_SHIM` when these are set.
pub fn artifacts() -> &'static Artifacts {
    static ARTIFACTS: OnceLock<Artifacts> = OnceLock::new();
    ARTIFACTS.get_or_init(|| Artifacts::given().unwrap_or_else(Artifacts::built))
}

/// The preload library alone, for tests that need no daemon.
pub fn shim() -> &'static Path {
    static SHIM: OnceLock<PathBuf> = OnceLock::new();
    let given = || std::env::var_os("EVERWRITE_SHIM").map(PathBuf::from);
    SHIM.get_or_init(|| given().unwrap_or_else(|| artifacts().shim.clone()))
}

impl Artifacts {
    fn given() -> Option<Self> {
        let programs = PathBuf::from(std::env::var_os("EVERWRITE_BIN_DIR")?);
        Some(Self::at(
            &programs,
            std::env::var_os("EVERWRITE_SHIM")?.into(),
        ))
    }

    fn built() -> Self {
        let top = Path::new(env!("CARGO_MANIFEST_DIR"))
            .parent()
            .expect("tests/ is in the workspace");
        let status = Command::new(top.join("scripts/build"))
            .arg("--debug")
            .status();
        assert!(
            status.expect("run scripts/build").success(),
            "scripts/build failed"
        );
        let target =
            std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| top.join("target"), PathBuf::from);
        Self::at(
            &target.join("debug"),
            target.join("shim/libeverwrite_shim.so"),
        )
    }

    fn at(programs: &Path, shim: PathBuf) -> Self {
        let existing = |path: PathBuf| {
            assert!(
                path.exists(),
                "{} is missing: run scripts/build --debug",
                path.display()
            );
            path
        };
        Self {
            everwrite: existing(programs.join("everwrite")),
            coordinatord: existing(programs.join("everwrite-coordinatord")),
            receiver: existing(programs.join("everwrite-receiver")),
            shim: existing(shim),
        }
    }
}

//! How the line and its libraries stand.

use std::io;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::line_file::LineFile;
use super::root::Root;
use super::{lines, loaders, object};
use crate::cli::shim_library;

/// What programs that start now get.
#[derive(Debug, Serialize)]
pub(in crate::cli) struct Standing {
    /// The line; `None`: there is none.
    pub(in crate::cli) line: Option<String>,
    /// What the line leads to.
    pub(in crate::cli) libraries: Vec<Library>,
    /// Whether programs get a shim.
    pub(in crate::cli) in_place: bool,
}

/// One library.
#[derive(Debug, Serialize)]
pub(in crate::cli) struct Library {
    /// As programs see it.
    pub(in crate::cli) path: PathBuf,
    /// It is the shim, and whole; otherwise one with nothing in it, or a broken one.
    pub(in crate::cli) is_shim: bool,
    /// It is as this program would put it in place now.
    pub(in crate::cli) is_current_shim: bool,
}

impl Standing {
    /// Looks at those of `root`.
    pub(in crate::cli) fn look(root: &Root) -> io::Result<Self> {
        let content = LineFile::of(root)?.read()?;
        let line = lines::ours(&content).next();
        let line = line.map(|line| String::from_utf8_lossy(line).into_owned());
        let libraries: Vec<_> = line.iter().flat_map(|line| libraries(root, line)).collect();
        Ok(Self {
            in_place: libraries.iter().any(|library| library.is_shim),
            line,
            libraries,
        })
    }

    /// Whether the shim is that of this version.
    pub(in crate::cli) fn is_current(&self) -> bool {
        self.libraries.iter().any(|library| library.is_current_shim)
    }
}

/// What `line` leads to, whatever a loader puts for `$LIB`.
fn libraries(root: &Root, line: &str) -> Vec<Library> {
    let current = shim_library::sealed().ok();
    let replaced = |directory| line.replace("$LIB", directory);
    let mut paths: Vec<_> = loaders::directories().map(replaced).collect();
    paths.sort_unstable();
    paths.dedup();
    let found = paths.into_iter().filter_map(|path| {
        let content = std::fs::read(root.existing(Path::new(&path)).ok()?).ok()?;
        Some(Library {
            path: path.into(),
            is_shim: object::is_shim(&content),
            is_current_shim: current.as_ref() == Some(&content),
        })
    });
    found.collect()
}

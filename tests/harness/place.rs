//! A temporary directory for one test.

use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::Seed;

/// Where everything of one test lies, and its chance. Removed at the end, unless the test failed: then
/// the path is printed and all stays to be looked at.
#[derive(Debug)]
pub struct Place {
    directory: Option<TempDir>,
    path: PathBuf,
    /// What the test leaves to chance.
    pub seed: Seed,
}

impl Place {
    /// An empty directory. Its path is short: Unix sockets below it have 108 bytes for theirs.
    pub fn new() -> Self {
        let directory = tempfile::Builder::new().prefix("ew").tempdir();
        let directory = directory.expect("make a temporary directory");
        let path = directory.path().canonicalize().expect("its path");
        Self {
            directory: Some(directory),
            path,
            seed: Seed::from_environment(),
        }
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A new directory in it.
    pub fn directory(&self, name: &str) -> PathBuf {
        let path = self.path.join(name);
        std::fs::create_dir_all(&path)
            .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        path
    }
}

impl Default for Place {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if std::thread::panicking()
            && let Some(directory) = self.directory.take()
        {
            println!("kept: {}", directory.keep().display());
        }
    }
}

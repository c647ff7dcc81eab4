//! A file system that is soon full.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::{Place, run};

/// A small tmpfs, mounted until dropped.
#[derive(Debug)]
pub struct SmallDisk(PathBuf);

impl SmallDisk {
    /// Mounts one of so many MiB; the error says why that can't be done here.
    pub fn mount(place: &Place, mebibytes: u64) -> Result<Self, String> {
        let path = place.directory("small-disk");
        let size = format!("size={mebibytes}m");
        let mounted = run(Command::new("mount")
            .args(["-t", "tmpfs", "-o", &size, "tmpfs"])
            .arg(&path));
        match mounted.code {
            Some(0) => Ok(Self(path)),
            _ => Err(format!(
                "mounting a tmpfs needs root: {}",
                mounted.stderr.trim()
            )),
        }
    }

    /// Where it is mounted.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Makes it larger.
    #[track_caller]
    pub fn grow(&self, mebibytes: u64) {
        let size = format!("remount,size={mebibytes}m");
        run(Command::new("mount").args(["-o", &size]).arg(&self.0)).success();
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: a daemon that is about to be killed may still have files open.
        run(Command::new("umount").arg("--lazy").arg(&self.0));
    }
}

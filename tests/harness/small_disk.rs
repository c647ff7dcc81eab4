//! A file system that is soon full.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::fs::{FallocateFlags, fallocate};

use crate::{Place, run};

/// The file that takes all space.
const BALLAST: &str = "ballast";
const STEP_BYTES: u64 = 1 << 30;

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

    /// Leaves no byte of it free, until [`Self::free`].
    #[track_caller]
    pub fn fill(&self) {
        let ballast = File::create(self.0.join(BALLAST)).expect("make the ballast");
        let (mut bytes, mut from) = (STEP_BYTES, 0);
        // Ever smaller, since others write at the same time.
        while bytes >= 4096 {
            match fallocate(&ballast, FallocateFlags::empty(), from, bytes) {
                Ok(()) => from += bytes,
                Err(_full) => bytes /= 2,
            }
        }
    }

    /// Has the space again that [`Self::fill`] took.
    #[track_caller]
    pub fn free(&self) {
        std::fs::remove_file(self.0.join(BALLAST)).expect("remove the ballast");
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
        if std::thread::panicking() {
            // What a test that failed leaves behind is to be looked at.
            let kept = self.0.with_extension("kept");
            run(Command::new("cp").arg("-a").args([&self.0, &kept]));
        }
        // Lazily: a daemon that is about to be killed may still have files open.
        run(Command::new("umount").arg("--lazy").arg(&self.0));
    }
}

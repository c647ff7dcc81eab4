//! A directory for what is tried, removed at the end.

use std::fs::{DirBuilder, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{StatVfsMountFlags, statvfs};

use super::root::Root;

/// Where there may be room. A file system from which nothing can be executed will not do: libraries
/// are mapped from here.
const PLACES: [&str; 2] = ["/tmp", "/var/tmp"];

/// A directory of our own in a root.
#[derive(Debug)]
pub(in crate::cli) struct Scratch {
    within: PathBuf,
    real: PathBuf,
}

impl Scratch {
    /// A new one, which every user may look into.
    pub(in crate::cli) fn new(root: &Root) -> io::Result<Self> {
        let candidates = PLACES.iter().filter(|place| is_usable(root, place));
        let place = candidates.into_iter().next().unwrap_or(&PLACES[0]);
        let name = format!("everwrite-preload-{}", std::process::id());
        let real = root.existing(Path::new(place))?.join(&name);
        DirBuilder::new().mode(0o700).create(&real)?;
        let scratch = Self {
            within: Path::new(place).join(&name),
            real,
        };
        std::fs::set_permissions(&scratch.real, Permissions::from_mode(0o755))?;
        Ok(scratch)
    }

    /// As programs in the root see it.
    pub(in crate::cli) fn within(&self) -> &Path {
        &self.within
    }

    /// As seen from here.
    pub(in crate::cli) fn real(&self) -> &Path {
        &self.real
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // Left over in a directory for temporary files, it does no harm.
        let _ = std::fs::remove_dir_all(&self.real);
    }
}

fn is_usable(root: &Root, place: &str) -> bool {
    let facts = root
        .existing(Path::new(place))
        .and_then(|path| Ok(statvfs(&path)?));
    let unusable = StatVfsMountFlags::NOEXEC | StatVfsMountFlags::RDONLY;
    facts.is_ok_and(|facts| !facts.f_flag.intersects(unusable))
}

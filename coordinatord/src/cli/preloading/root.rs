//! The file system to work on: the machine's own, or one below a directory (a chroot, a mounted disk).

use std::io;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags, ResolveFlags, openat2};

use crate::cli::exit::Failure;
use crate::cli::output::local_failed;

/// A root directory. Paths in it are absolute, as its programs see them.
#[derive(Clone, Debug)]
pub(in crate::cli) struct Root {
    directory: PathBuf,
}

impl Root {
    /// The file system below `directory`.
    pub(in crate::cli) fn at(directory: &Path) -> Result<Self, Failure> {
        let real = directory.canonicalize();
        let directory = real.map_err(|error| local_failed("look at", directory, &error))?;
        match directory.is_dir() {
            true => Ok(Self { directory }),
            false => Err(Failure::usage(
                format!("{}: not a directory", directory.display()),
                "give the directory that is to be `/`",
            )),
        }
    }

    /// Its directory, as this program sees it.
    pub(in crate::cli) fn directory(&self) -> &Path {
        &self.directory
    }

    /// Whether this is the file system that we live in ourselves.
    pub(in crate::cli) fn is_own(&self) -> bool {
        self.directory == Path::new("/")
    }

    /// Where `path` lies, seen from here, with links followed as its programs would follow them. What
    /// does not exist lies in its directory; an error when there is none.
    pub(in crate::cli) fn real(&self, path: &Path) -> io::Result<PathBuf> {
        match self.existing(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
                    return Err(error);
                };
                Ok(self.existing(parent)?.join(name))
            }
            found => found,
        }
    }

    /// The same for what exists.
    pub(in crate::cli) fn existing(&self, path: &Path) -> io::Result<PathBuf> {
        if self.is_own() {
            // Needs neither /proc nor a recent kernel, which may be missing where this is needed most.
            return path.canonicalize();
        }
        let top = std::fs::File::open(&self.directory)?;
        let within = path.strip_prefix("/").unwrap_or(path);
        let within = match within.as_os_str().is_empty() {
            true => Path::new("."),
            false => within,
        };
        let flags = OFlags::PATH | OFlags::CLOEXEC;
        let found = openat2(&top, within, flags, Mode::empty(), ResolveFlags::IN_ROOT)?;
        std::fs::read_link(format!("/proc/self/fd/{}", found.as_raw_fd()))
    }

    /// Whether there is something.
    pub(in crate::cli) fn has(&self, path: &Path) -> bool {
        self.existing(path).is_ok()
    }

    /// The path below this root, for messages.
    pub(in crate::cli) fn shown(&self, path: &Path) -> String {
        let within = path.strip_prefix("/").unwrap_or(path);
        self.directory.join(within).display().to_string()
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn links_stay_inside() {
        let place = tempfile::tempdir().unwrap();
        let top = place.path().canonicalize().unwrap();
        let root = Root::at(&top).unwrap();
        std::fs::create_dir_all(top.join("usr/lib")).unwrap();
        symlink("/usr/lib", top.join("lib")).unwrap();
        symlink("../../../../usr", top.join("up")).unwrap();
        let real = |path: &str| root.real(Path::new(path)).unwrap();
        assert_eq!(real("/lib/x.so"), top.join("usr/lib/x.so"));
        assert_eq!(real("/up/lib"), top.join("usr/lib"));
        assert_eq!(real("/"), top);
        assert!(root.real(Path::new("/none/at/all")).is_err());
        assert!(!root.has(Path::new("/lib/x.so")) && root.has(Path::new("/lib")));
        assert!(!root.is_own() && Root::at(Path::new("/")).unwrap().is_own());
    }
}

//! From a control group's number, as the kernel tells it of a program that may have ended, to its path.

use std::collections::HashMap;
use std::fs::File;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::handle;
use super::record::Handle;
use crate::mounts::mounts;

/// Groups remembered; all are forgotten when there are more. A number is never given again.
const KNOWN_MAX: usize = 1 << 12;
/// `FILEID_KERNFS`, linux/exportfs.h: the handle is the number.
const HANDLE_OF_NUMBER: i32 = 0xfe;

/// Finds paths.
pub(super) struct Cgroups {
    mount: Option<(File, PathBuf)>,
    known: HashMap<u64, String>,
}

impl Cgroups {
    /// Of the machine's unified hierarchy; where there is none, it knows nothing.
    pub(super) fn new() -> Self {
        let mountinfo = std::fs::read("/proc/self/mountinfo").unwrap_or_default();
        let opened = |path: PathBuf| Some((File::open(&path).ok()?, path));
        let mut unified = mounts(&mountinfo)
            .filter(|mount| mount.kind == b"cgroup2" && mount.top == Path::new("/"));
        Self {
            mount: unified.find_map(|mount| opened(mount.point)),
            known: HashMap::new(),
        }
    }

    /// The path below the hierarchy's top, `/system.slice/cron.service`; empty when the group is gone or not to
    /// be found.
    pub(super) fn path(&mut self, number: u64) -> String {
        if let Some(known) = self.known.get(&number) {
            return known.clone();
        }
        let found = self.find(number).unwrap_or_default();
        if self.known.len() >= KNOWN_MAX {
            self.known.clear();
        }
        self.known.insert(number, found.clone());
        found
    }

    fn find(&self, number: u64) -> Option<String> {
        let (mount, top) = self.mount.as_ref()?;
        let handle = Handle {
            file_system: [0; 8],
            kind: HANDLE_OF_NUMBER,
            bytes: number.to_ne_bytes().to_vec(),
        };
        let group = handle::open(mount.as_fd(), &handle).ok()??;
        let link = format!("/proc/self/fd/{}", group.as_raw_fd());
        below(&std::fs::read_link(link).ok()?, top)
    }
}

/// `path` as it is told from `top`.
fn below(path: &Path, top: &Path) -> Option<String> {
    let rest = path.strip_prefix(top).ok()?.as_os_str().as_bytes();
    Some(format!("/{}", String::from_utf8_lossy(rest)))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;

    #[test]
    fn paths_begin_at_the_top() {
        let top = Path::new("/sys/fs/cgroup");
        let path = |path: &str| below(Path::new(path), top);
        assert_eq!(path("/sys/fs/cgroup/a/b").as_deref(), Some("/a/b"));
        assert_eq!(path("/sys/fs/cgroup").as_deref(), Some("/"));
        assert_eq!(path("/elsewhere"), None);
    }

    /// A group's number is that of its directory.
    #[test]
    fn a_group_is_found_by_its_number() {
        let mut groups = Cgroups::new();
        let Some((top, _)) = &groups.mount else {
            return println!("SKIPPED a_group_is_found_by_its_number: no unified control groups");
        };
        let number = top.metadata().unwrap().ino();
        if groups.find(number).is_none() {
            return println!("SKIPPED a_group_is_found_by_its_number: handles can't be opened");
        }
        assert_eq!(groups.path(number), "/");
        assert_eq!(groups.path(u64::MAX), "");
    }
}

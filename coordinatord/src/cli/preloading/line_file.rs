//! `/etc/ld.so.preload` on disk: whoever reads it finds either the old or the new content, whole.

use std::fs::{File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use super::LINE_FILE;
use super::root::Root;

/// Mode of a new one: every program reads it.
const MODE: u32 = 0o644;

/// The file, wherever links lead to.
#[derive(Debug)]
pub(in crate::cli) struct LineFile {
    path: PathBuf,
}

impl LineFile {
    /// That of `root`.
    pub(in crate::cli) fn of(root: &Root) -> io::Result<Self> {
        let path = root.real(Path::new(LINE_FILE))?;
        Ok(Self { path })
    }

    /// Where it lies.
    pub(in crate::cli) fn path(&self) -> &Path {
        &self.path
    }

    /// What is in it; nothing when there is none.
    pub(in crate::cli) fn read(&self) -> io::Result<Vec<u8>> {
        match std::fs::read(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            read => read,
        }
    }

    /// Makes an empty one, which is the same to programs as none; false when there is one already.
    pub(in crate::cli) fn make(&self) -> io::Result<bool> {
        match File::create_new(&self.path) {
            Ok(file) => {
                file.set_permissions(Permissions::from_mode(MODE))?;
                Ok(true)
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Puts `content` in its place, on disk when this returns; an empty one means no file.
    pub(in crate::cli) fn replace(&self, content: &[u8]) -> io::Result<()> {
        if content.is_empty() {
            return remove(&self.path);
        }
        let mut name = self.path.file_name().unwrap_or_default().to_owned();
        name.push(format!(".everwrite-{}", std::process::id()));
        let beside = self.path.with_file_name(name);
        let written = self.write(&beside, content);
        let replaced = written.and_then(|()| std::fs::rename(&beside, &self.path));
        if replaced.is_err() {
            // What failed is told; what is left of it is in nobody's way.
            let _ = std::fs::remove_file(&beside);
        }
        replaced.and_then(|()| sync_directory(&self.path))
    }

    /// The same where the file itself can't be replaced, being a mount point: for a moment readers find
    /// less than there was. So only to take something out.
    pub(in crate::cli) fn replace_anyhow(&self, content: &[u8]) -> io::Result<()> {
        match self.replace(content) {
            Err(error) if error.kind() == io::ErrorKind::ResourceBusy => {
                let mut file = OpenOptions::new()
                    .write(true)
                    .truncate(true)
                    .open(&self.path)?;
                file.write_all(content)?;
                file.sync_all()
            }
            replaced => replaced,
        }
    }

    /// A new file with the mode and the owner of the old one.
    fn write(&self, path: &Path, content: &[u8]) -> io::Result<()> {
        let mut options = OpenOptions::new();
        let mut file = options.write(true).create_new(true).mode(MODE).open(path)?;
        match std::fs::metadata(&self.path) {
            Ok(old) => {
                std::os::unix::fs::fchown(&file, Some(old.uid()), Some(old.gid()))?;
                file.set_permissions(old.permissions())?;
            }
            Err(_) => file.set_permissions(Permissions::from_mode(MODE))?,
        }
        file.write_all(content)?;
        file.sync_all()
    }
}

/// Removes a file, on disk when this returns. One that is not there is removed.
pub(in crate::cli) fn remove(path: &Path) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
        Ok(()) => sync_directory(path),
    }
}

/// Makes the names beside `path` last.
pub(in crate::cli) fn sync_directory(path: &Path) -> io::Result<()> {
    File::open(path.parent().unwrap_or(path))?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn root(place: &tempfile::TempDir) -> Root {
        std::fs::create_dir(place.path().join("etc")).unwrap();
        Root::at(place.path()).unwrap()
    }

    #[test]
    fn content_is_replaced_and_the_rest_stays() {
        let place = tempfile::tempdir().unwrap();
        let file = LineFile::of(&root(&place)).unwrap();
        assert_eq!(file.read().unwrap(), b"");
        file.replace(b"/a.so\n").unwrap();
        let mode = || std::fs::metadata(file.path()).unwrap().mode() & 0o7777;
        assert_eq!(mode(), MODE);
        std::fs::set_permissions(file.path(), Permissions::from_mode(0o640)).unwrap();
        file.replace(b"/b.so\n").unwrap();
        assert_eq!((file.read().unwrap(), mode()), (b"/b.so\n".to_vec(), 0o640));
        file.replace(b"").unwrap();
        file.replace(b"").unwrap();
        assert_eq!(
            std::fs::read_dir(place.path().join("etc")).unwrap().count(),
            0
        );
    }

    #[test]
    fn a_link_is_followed_and_stays() {
        let place = tempfile::tempdir().unwrap();
        let root = root(&place);
        let target = place.path().join("etc/real");
        std::fs::write(&target, "/a.so\n").unwrap();
        std::os::unix::fs::symlink("/etc/real", place.path().join("etc/ld.so.preload")).unwrap();
        LineFile::of(&root).unwrap().replace(b"/b.so\n").unwrap();
        assert_eq!(std::fs::read(target).unwrap(), b"/b.so\n");
        assert!(place.path().join("etc/ld.so.preload").is_symlink());
    }
}

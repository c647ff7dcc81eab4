//! Where the libraries lie: `/usr/lib/everwrite/$LIB/libeverwrite_shim.so`, where each loader puts a
//! directory of its own for `$LIB`. The shim lies in one of them, libraries with nothing in them in
//! the others, also in those of loaders that may be installed one day.

use std::fs::{DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use super::line_file::{remove, sync_directory};
use super::loaders::{self, Loader};
use super::object::{self, Kind};
use super::root::Root;
use crate::cli::shim_library::FILE_NAME;

/// Where they lie for good.
pub(in crate::cli) const DIRECTORY: &str = "/usr/lib/everwrite";
/// Where they wait until they were tried.
pub(in crate::cli) const STAGED: &str = "/usr/lib/everwrite/staged";

/// The entry for libraries below `directory`.
pub(in crate::cli) fn line(directory: &Path) -> String {
    format!("{}/$LIB/{FILE_NAME}", directory.display())
}

/// Which library goes where.
#[derive(Debug)]
pub(in crate::cli) struct Layout {
    /// What the shim's loader puts for `$LIB`.
    pub(in crate::cli) shim: &'static str,
    /// The same for others, with what they load.
    pub(in crate::cli) twins: Vec<(&'static str, Kind)>,
}

impl Layout {
    /// From what the loaders that are here put for `$LIB`; of the others whatever they may put.
    pub(in crate::cli) fn new(
        shim: &'static str,
        present: &[(&'static Loader, &'static str)],
    ) -> Self {
        let here = present
            .iter()
            .map(|(loader, directory)| (*directory, loader.kind));
        let mut twins: Vec<(&'static str, Kind)> = here.collect();
        let absent =
            loaders::others().filter(|other| present.iter().all(|(here, _)| here != other));
        for loader in absent {
            let free = |directory: &&&str| {
                **directory != shim && twins.iter().all(|(taken, _)| taken != *directory)
            };
            let free: Vec<_> = loader.directories.iter().filter(free).copied().collect();
            twins.extend(free.into_iter().map(|directory| (directory, loader.kind)));
        }
        Self { shim, twins }
    }

    /// Writes all below `directory` of `root`, on disk when this returns.
    pub(in crate::cli) fn write(
        &self,
        root: &Root,
        directory: &Path,
        shim: &[u8],
    ) -> io::Result<()> {
        self.write_one(root, directory, self.shim, shim)?;
        self.twins.iter().try_for_each(|(library, kind)| {
            self.write_one(root, directory, library, &object::empty(*kind))
        })
    }

    fn write_one(
        &self,
        root: &Root,
        directory: &Path,
        library: &str,
        bytes: &[u8],
    ) -> io::Result<()> {
        let place = make_directories(root, &directory.join(library))?;
        write(&place.join(FILE_NAME), bytes)
    }

    /// Moves all from one directory of `root` to another: programs that start meanwhile find the old
    /// library or the new one.
    pub(in crate::cli) fn move_all(&self, root: &Root, from: &Path, to: &Path) -> io::Result<()> {
        let twins = self.twins.iter().map(|(library, _)| *library);
        for library in twins.chain([self.shim]) {
            let source = root.existing(&from.join(library))?.join(FILE_NAME);
            let target = make_directories(root, &to.join(library))?.join(FILE_NAME);
            std::fs::rename(source, &target)?;
            sync_directory(&target)?;
        }
        Ok(())
    }
}

/// Makes what is missing of a path, for everybody to read whatever the umask; gives the real one.
pub(in crate::cli) fn make_directories(root: &Root, path: &Path) -> io::Result<PathBuf> {
    if let Ok(real) = root.existing(path) {
        return Ok(real);
    }
    let parent = path.parent().ok_or(io::ErrorKind::NotFound)?;
    let name = path.file_name().ok_or(io::ErrorKind::NotFound)?;
    let real = make_directories(root, parent)?.join(name);
    DirBuilder::new().mode(0o755).create(&real)?;
    std::fs::set_permissions(&real, Permissions::from_mode(0o755))?;
    sync_directory(&real)?;
    Ok(real)
}

fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut options = OpenOptions::new();
    let mut file: File = options
        .write(true)
        .create_new(true)
        .mode(0o755)
        .open(path)?;
    file.set_permissions(Permissions::from_mode(0o755))?;
    file.write_all(bytes)?;
    file.sync_all()?;
    sync_directory(path)
}

/// Removes every library of ours from `root`, and the directories that are empty then.
pub(in crate::cli) fn clear(root: &Root) -> io::Result<()> {
    clear_staged(root)?;
    for library in loaders::directories() {
        let directory = Path::new(DIRECTORY).join(library);
        if let Ok(real) = root.existing(&directory) {
            remove(&real.join(FILE_NAME))?;
        }
        remove_empty(root, &directory);
    }
    Ok(())
}

/// Removes what was tried.
pub(in crate::cli) fn clear_staged(root: &Root) -> io::Result<()> {
    let staged = Path::new(STAGED);
    if let Ok(real) = root.existing(staged) {
        std::fs::remove_dir_all(real)?;
        remove_empty(root, Path::new(DIRECTORY));
    }
    Ok(())
}

/// Removes `directory` and those above it, up to and with ours, while they are empty.
fn remove_empty(root: &Root, directory: &Path) {
    let ours = |path: &&Path| path.starts_with(DIRECTORY);
    for path in directory.ancestors().take_while(ours) {
        let Ok(real) = root.existing(path) else {
            continue;
        };
        if std::fs::remove_dir(real).is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn root() -> (tempfile::TempDir, Root) {
        let place = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(place.path().join("usr/lib")).unwrap();
        let root = Root::at(place.path()).unwrap();
        (place, root)
    }

    #[test]
    fn what_is_put_in_place_can_be_removed() {
        let (place, root) = root();
        let layout = Layout::new("lib64", &[]);
        layout.write(&root, Path::new(STAGED), b"shim").unwrap();
        layout
            .move_all(&root, Path::new(STAGED), Path::new(DIRECTORY))
            .unwrap();
        let shim = place.path().join("usr/lib/everwrite/lib64").join(FILE_NAME);
        assert_eq!(std::fs::read(&shim).unwrap(), b"shim");
        assert_eq!(
            std::fs::metadata(&shim).unwrap().permissions().mode() & 0o777,
            0o755
        );
        clear(&root).unwrap();
        clear(&root).unwrap();
        assert_eq!(
            std::fs::read_dir(place.path().join("usr/lib"))
                .unwrap()
                .count(),
            0
        );
    }

    #[test]
    fn packages_files_beside_them_stay() {
        let (place, root) = root();
        let packaged = place.path().join("usr/lib/everwrite").join(FILE_NAME);
        std::fs::create_dir(packaged.parent().unwrap()).unwrap();
        std::fs::write(&packaged, "packaged").unwrap();
        Layout::new("lib", &[])
            .write(&root, Path::new(DIRECTORY), b"shim")
            .unwrap();
        clear(&root).unwrap();
        assert_eq!(std::fs::read(packaged).unwrap(), b"packaged");
    }

    #[test]
    fn no_directory_is_given_twice() {
        let narrow = loaders::others().find(|loader| loader.path == "/lib/ld-linux.so.2");
        for (shim, present) in [("lib64", vec![]), ("lib", vec![(narrow.unwrap(), "lib32")])] {
            let layout = Layout::new(shim, &present);
            let mut taken: Vec<_> = layout.twins.iter().map(|(library, _)| *library).collect();
            taken.push(shim);
            let all = taken.len();
            taken.sort_unstable();
            taken.dedup();
            assert_eq!(taken.len(), all);
        }
    }
}

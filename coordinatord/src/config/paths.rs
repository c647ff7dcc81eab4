//! Where everything of a source lies.
//!
//! One directory holds all of it when a home is given (tests, demonstrations, users without
//! privilege); otherwise the places that the file hierarchy standard names.

use std::ffi::OsString;
use std::fs::{DirBuilder, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// Environment variable that names the home directory.
pub const HOME_VARIABLE: &str = "EVERWRITE_HOME";

/// The files of one source.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Paths {
    config_file: PathBuf,
    state: PathBuf,
    run: PathBuf,
    home: Option<PathBuf>,
}

impl Paths {
    /// All below `home`, which is made absolute.
    pub fn at_home(home: &Path) -> io::Result<Self> {
        let home = std::path::absolute(home)?;
        Ok(Self {
            config_file: home.join("config.toml"),
            state: home.join("state"),
            run: home.join("run"),
            home: Some(home),
        })
    }

    /// The system's places.
    pub fn of_system() -> Self {
        Self {
            config_file: "/etc/everwrite/config.toml".into(),
            state: "/var/lib/everwrite".into(),
            run: "/run/everwrite".into(),
            home: None,
        }
    }

    /// `home` (from `--home` or the environment) if there is one, otherwise the system's places.
    pub fn resolve(home: Option<&Path>) -> io::Result<Self> {
        home.map_or_else(|| Ok(Self::of_system()), Self::at_home)
    }

    /// The same places with another configuration file.
    #[must_use]
    pub fn with_config_file(self, config_file: PathBuf) -> Self {
        Self {
            config_file,
            ..self
        }
    }

    /// Makes the directories: state for the owner alone; run open to all, since every program of
    /// every user may have to find the shim's socket and the policy page in it.
    pub fn create(&self) -> io::Result<()> {
        if let Some(directory) = self.config_file.parent() {
            make_directory(directory, 0o755)?;
        }
        make_directory(&self.state, 0o700)?;
        make_directory(&self.identity_dir(), 0o700)?;
        make_directory(&self.state.join("index"), 0o700)?;
        make_directory(&self.state.join("account"), 0o700)?;
        make_directory(&self.run, 0o755)
    }

    /// The configuration, TOML.
    pub fn config_file(&self) -> &Path {
        &self.config_file
    }

    /// What must survive a restart.
    pub fn state(&self) -> &Path {
        &self.state
    }

    /// Sockets and pages that are worth nothing once the daemon is gone.
    pub fn run(&self) -> &Path {
        &self.run
    }

    /// The home directory, unless the system's places are used.
    pub fn home(&self) -> Option<&Path> {
        self.home.as_deref()
    }

    /// Key, certificate and id of this source.
    pub fn identity_dir(&self) -> PathBuf {
        self.state.join("identity")
    }

    /// The index kept for one receiver. Names of receivers are checked to be plain file names.
    pub fn index(&self, receiver: &str) -> PathBuf {
        let mut file = OsString::from(receiver);
        file.push(".db");
        self.state.join("index").join(file)
    }

    /// What was counted and missed on the way to one receiver.
    pub fn account(&self, receiver: &str) -> PathBuf {
        let mut file = OsString::from(receiver);
        file.push(".json");
        self.state.join("account").join(file)
    }

    /// The switch, which survives a restart.
    pub fn switch_file(&self) -> PathBuf {
        self.state.join("switch.toml")
    }

    /// Socket of the API.
    pub fn api_socket(&self) -> PathBuf {
        self.run.join("api.sock")
    }

    /// Held by the running coordinator.
    pub fn lock_file(&self) -> PathBuf {
        self.state.join("lock")
    }

    /// Directories of our own: never protected, even inside a root, since each batch stored would
    /// change them and so make the next.
    pub fn own_directories(&self) -> Vec<PathBuf> {
        vec![self.state.clone(), self.run.clone()]
    }
}

fn make_directory(path: &Path, mode: u32) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    let made = DirBuilder::new().recursive(true).mode(mode).create(path);
    let made = made.and_then(|()| std::fs::set_permissions(path, Permissions::from_mode(mode)));
    made.map_err(|error| io::Error::new(error.kind(), format!("make {}: {error}", path.display())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_home_holds_everything() {
        let paths = Paths::at_home(Path::new("/h")).unwrap();
        assert_eq!(paths.config_file(), Path::new("/h/config.toml"));
        assert_eq!(paths.api_socket(), Path::new("/h/run/api.sock"));
        assert_eq!(paths.index("attic"), Path::new("/h/state/index/attic.db"));
        assert_eq!(paths.identity_dir(), Path::new("/h/state/identity"));
    }

    #[test]
    fn without_a_home_the_system_s_places() {
        let paths = Paths::resolve(None).unwrap();
        assert_eq!(paths.config_file(), Path::new("/etc/everwrite/config.toml"));
        assert_eq!(paths.api_socket(), Path::new("/run/everwrite/api.sock"));
    }

    #[test]
    fn state_is_for_the_owner_alone() {
        let home = tempfile::tempdir().unwrap();
        let paths = Paths::at_home(home.path()).unwrap();
        paths.create().unwrap();
        paths.create().unwrap();
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(paths.state()), 0o700);
        assert_eq!(mode(paths.run()), 0o755);
    }
}

//! The source: the coordinator's daemon and the command line, in a home of their own.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use everwrite_protocol::control::{State, Status};

use crate::artifacts::artifacts;
use crate::daemon::Daemon;
use crate::store::Store;
use crate::{DEADLINE, Outcome, Place, Receiver, run, try_wait_for, wait_for};

/// A state may need a whole copy or reconcile first.
const STATE_DEADLINE: Duration = Duration::from_secs(180);

/// Where a source sends to.
#[derive(Debug)]
pub enum Destination<'a> {
    /// A receiver's daemon.
    Receiver(&'a Receiver),
    /// The embedded receiver in this directory.
    Directory(&'a Path),
}

/// A coordinator with its home.
#[derive(Debug)]
pub struct Source {
    daemon: Daemon,
    files: Files,
}

#[derive(Debug)]
struct Files {
    home: PathBuf,
    log: PathBuf,
    output: PathBuf,
    user: Option<u32>,
    /// The daemon's own.
    environment: Vec<(&'static str, OsString)>,
}

impl Source {
    /// Starts one with a new home named `name`.
    #[track_caller]
    pub fn start(place: &Place, name: &str) -> Self {
        Self::start_as(place, name, None)
    }

    /// Starts one with these settings (`config.toml`).
    #[track_caller]
    pub fn start_configured(place: &Place, name: &str, settings: &str) -> Self {
        let home = place.directory(name);
        std::fs::write(home.join("config.toml"), settings).expect("write the settings");
        Self::start_as(place, name, None)
    }

    /// Starts one as another user.
    #[track_caller]
    pub fn start_as(place: &Place, name: &str, user: Option<u32>) -> Self {
        Self::start_with(place, name, user, Vec::new())
    }

    /// Starts one whose daemon has more in its environment.
    #[track_caller]
    pub fn start_in(place: &Place, name: &str, environment: Vec<(&'static str, OsString)>) -> Self {
        Self::start_with(place, name, None, environment)
    }

    #[track_caller]
    fn start_with(
        place: &Place,
        name: &str,
        user: Option<u32>,
        environment: Vec<(&'static str, OsString)>,
    ) -> Self {
        let home = place.directory(name);
        if user.is_some() {
            std::os::unix::fs::chown(&home, user, user).expect("give a home to another user");
        }
        let beside = |suffix| place.path().join(format!("{name}.{suffix}"));
        let files = Files {
            home,
            log: beside("log"),
            output: beside("out"),
            user,
            environment,
        };
        let mut daemon = files.spawn();
        files.ready(&mut daemon);
        Self { daemon, files }
    }

    /// Its process.
    pub fn daemon(&mut self) -> &mut Daemon {
        &mut self.daemon
    }

    /// Its home directory.
    pub fn home(&self) -> &Path {
        &self.files.home
    }

    /// kill -9.
    pub fn kill(&mut self) {
        self.daemon.kill();
    }

    /// Starts it again after it was killed or ended.
    #[track_caller]
    pub fn start_again(&mut self) {
        self.daemon.kill();
        self.daemon = self.files.spawn();
        self.files.ready(&mut self.daemon);
    }

    /// Starts it again with these lines (TOML tables) at the end of its configuration.
    #[track_caller]
    pub fn configure(&mut self, lines: &str) {
        self.daemon.terminate();
        let path = self.files.home.join("config.toml");
        let mut config = std::fs::read_to_string(&path).unwrap_or_default();
        config.push_str(&format!("\n{lines}\n"));
        std::fs::write(&path, config).expect("write the configuration");
        self.start_again();
    }

    /// `everwrite ARGUMENTS`, to its end.
    #[track_caller]
    pub fn everwrite<A: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = A>) -> Outcome {
        run(self.files.everwrite().args(arguments))
    }

    /// `everwrite`, to be given arguments.
    pub fn command(&self) -> Command {
        self.files.everwrite()
    }

    /// Trusts a receiver, whose code may have been given another address (a proxy's).
    #[track_caller]
    pub fn pair(&self, code: &str) {
        self.everwrite(["pair", code]).success();
    }

    /// Pairs where that is needed, protects `directory` under `root`, and waits for the first copy.
    #[track_caller]
    pub fn protect(&self, directory: &Path, root: &str, to: &Destination<'_>) {
        let mut command = self.files.everwrite();
        command.arg("protect").arg(directory).args(["--name", root]);
        match to {
            Destination::Receiver(receiver) if !self.is_paired() => {
                self.pair(&receiver.pairing_code());
            }
            Destination::Receiver(_) => {}
            Destination::Directory(path) => {
                command.arg("--to").arg(format!("dir:{}", path.display()));
            }
        }
        run(&mut command).success();
        self.wait_continuous();
    }

    fn is_paired(&self) -> bool {
        let config =
            std::fs::read_to_string(self.files.home.join("config.toml")).unwrap_or_default();
        config.contains("fingerprint")
    }

    /// `everwrite status`.
    #[track_caller]
    pub fn status(&self) -> Status {
        self.try_status()
            .unwrap_or_else(|| panic!("no status:\n{}", self.daemon.log_tail()))
    }

    /// The same, while the daemon may be down.
    #[track_caller]
    pub fn try_status(&self) -> Option<Status> {
        self.files.status()
    }

    /// Waits until every root is CONTINUOUS.
    #[track_caller]
    pub fn wait_continuous(&self) {
        self.wait_state(State::Continuous);
    }

    /// Waits for a state word.
    #[track_caller]
    pub fn wait_state(&self, state: State) -> Status {
        let mut last = None;
        let found = try_wait_for(STATE_DEADLINE, || {
            last = self.try_status();
            last.clone().filter(|status| status.state == state)
        });
        found.unwrap_or_else(|| {
            panic!(
                "state {state} did not come: {last:#?}\n{}",
                self.daemon.log_tail()
            )
        })
    }

    /// Waits until all that changed before is stored and in the mirror.
    #[track_caller]
    pub fn settle(&self) {
        self.everwrite(["sync", "--applied", "--timeout", "120s"])
            .success();
    }

    /// A shell script under the shim, in `directory`; stops at the first command that fails.
    #[track_caller]
    pub fn run(&self, directory: &Path, script: &str) -> Outcome {
        run(&mut self.shimmed(directory, script)).success()
    }

    /// The same in the background, to be killed.
    #[track_caller]
    pub fn spawn(&self, directory: &Path, script: &str) -> Child {
        let mut command = self.shimmed(directory, script);
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        // A group of its own, so that the shell and its children can be killed at one blow.
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        command
            .spawn()
            .unwrap_or_else(|error| panic!("{command:?}: {error}"))
    }

    fn shimmed(&self, directory: &Path, script: &str) -> Command {
        let mut command = self.files.everwrite();
        command
            .args(["run", "--", "sh", "-ec", script])
            .current_dir(directory);
        command
    }

    /// What the store of this source's only receiver says about it.
    #[track_caller]
    pub fn id_in(&self, store: &Store) -> String {
        let sources = store.sources();
        assert_eq!(sources.len(), 1, "sources of {}", store.path().display());
        sources.into_iter().next().expect("just counted")
    }
}

impl Files {
    #[track_caller]
    fn spawn(&self) -> Daemon {
        let mut command = self.command(&artifacts().coordinatord);
        command
            .env("RUST_BACKTRACE", "1")
            .envs(self.environment.clone());
        Daemon::start(&mut command, &self.log, &self.output)
    }

    fn everwrite(&self) -> Command {
        self.command(&artifacts().everwrite)
    }

    fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command
            .env("EVERWRITE_HOME", &self.home)
            .env("EVERWRITE_SHIM", &artifacts().shim);
        if let Some(user) = self.user {
            std::os::unix::process::CommandExt::uid(&mut command, user);
            std::os::unix::process::CommandExt::gid(&mut command, user);
        }
        command
    }

    #[track_caller]
    fn ready(&self, daemon: &mut Daemon) {
        wait_for("the coordinator answers", DEADLINE, || {
            daemon.assert_alive();
            self.status()
        });
    }

    #[track_caller]
    fn status(&self) -> Option<Status> {
        let answer = run(self.everwrite().args(["status", "--json"]));
        // 3: cannot reach the daemon. 1: a state other than CONTINUOUS, with the status all the same.
        matches!(answer.code, Some(0 | 1)).then(|| answer.json())
    }
}

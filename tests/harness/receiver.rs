//! The destination's daemon.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::artifacts::artifacts;
use crate::daemon::Daemon;
use crate::store::Store;
use crate::{DEADLINE, Place, wait_for};

/// A receiver on loopback, that keeps its address when started again.
#[derive(Debug)]
pub struct Receiver {
    daemon: Daemon,
    address: String,
    files: Files,
}

#[derive(Debug)]
struct Files {
    store: PathBuf,
    log: PathBuf,
    output: PathBuf,
    environment: Vec<(&'static str, OsString)>,
}

impl Receiver {
    /// Starts one with an empty store named `name`.
    #[track_caller]
    pub fn start(place: &Place, name: &str) -> Self {
        Self::start_in(place, name, &place.directory(name))
    }

    /// Starts one with its store elsewhere.
    #[track_caller]
    pub fn start_in(place: &Place, name: &str, store: &Path) -> Self {
        Self::start_with(place, name, store, Vec::new())
    }

    /// The same with more in the daemon's environment.
    #[track_caller]
    pub fn start_with(
        place: &Place,
        name: &str,
        store: &Path,
        environment: Vec<(&'static str, OsString)>,
    ) -> Self {
        let files = Files {
            store: store.to_owned(),
            log: place.path().join(format!("{name}.log")),
            output: place.path().join(format!("{name}.out")),
            environment,
        };
        let mut daemon = files.spawn("127.0.0.1:0");
        let address = files.listening(&mut daemon);
        Self {
            daemon,
            address,
            files,
        }
    }

    /// Where it listens, `HOST:PORT`.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Its store.
    pub fn store(&self) -> Store {
        Store::at(&self.files.store)
    }

    /// Its process.
    pub fn daemon(&mut self) -> &mut Daemon {
        &mut self.daemon
    }

    /// kill -9.
    pub fn kill(&mut self) {
        self.daemon.kill();
    }

    /// Starts it again after it was killed or ended, at the same address.
    #[track_caller]
    pub fn start_again(&mut self) {
        self.daemon.kill();
        self.daemon = self.files.spawn(&self.address);
        self.files.listening(&mut self.daemon);
    }

    /// A one-time pairing code.
    #[track_caller]
    pub fn pairing_code(&self) -> String {
        let answer = self.store().ask("pair", &["--json"]).success();
        let answer: serde_json::Value = answer.json();
        answer["code"].as_str().expect("a code").to_owned()
    }
}

impl Files {
    #[track_caller]
    fn spawn(&self, listen: &str) -> Daemon {
        let mut command = Command::new(&artifacts().receiver);
        command
            .arg("serve")
            .arg("--store")
            .arg(&self.store)
            .args(["--listen", listen])
            .envs(self.environment.clone());
        Daemon::start(&mut command, &self.log, &self.output)
    }

    /// Waits for the promised first line and takes the address from it.
    #[track_caller]
    fn listening(&self, daemon: &mut Daemon) -> String {
        wait_for("the receiver listens", DEADLINE, || {
            daemon.assert_alive();
            let output = std::fs::read_to_string(&self.output).ok()?;
            let (first, _) = output.split_once('\n')?;
            let address = first.strip_prefix("listening on ");
            Some(
                address
                    .unwrap_or_else(|| panic!("first line of serve: {first}"))
                    .to_owned(),
            )
        })
    }
}

//! A PostgreSQL cluster: made, started in one directory or another, asked, stopped.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use harness::{DEADLINE, Outcome, run, try_wait_for};

/// Debian's programs, and the user that they are to run as: the server refuses to be root's.
#[derive(Debug)]
pub(crate) struct PostgreSql {
    bin: PathBuf,
}

/// A cluster that lies in `directory/data`, with its socket and its log in `run`.
#[derive(Debug)]
pub(crate) struct Cluster<'p> {
    programs: &'p PostgreSql,
    data: PathBuf,
    run: PathBuf,
}

/// A running server. Killed when dropped.
#[derive(Debug)]
pub(crate) struct Server<'p> {
    cluster: Cluster<'p>,
    child: Child,
}

impl PostgreSql {
    /// The newest that is installed; the error says why it can't be used here.
    pub(crate) fn find() -> Result<Self, String> {
        if !rustix::process::geteuid().is_root() {
            return Err("needs root to become the user postgres".to_owned());
        }
        let versions = std::fs::read_dir("/usr/lib/postgresql").map_err(|_| "not installed")?;
        let number = |path: &PathBuf| path.file_name()?.to_str()?.parse::<u32>().ok();
        let newest = versions
            .flatten()
            .map(|entry| entry.path())
            .max_by_key(number);
        let bin = newest.ok_or("not installed")?.join("bin");
        Ok(Self { bin })
    }

    /// One of its programs, as the user postgres.
    pub(crate) fn program(&self, name: &str) -> Command {
        let mut command = Command::new("runuser");
        command
            .args(["-u", "postgres", "--"])
            .arg(self.bin.join(name));
        command
    }

    /// The cluster in `data`, run from `run`.
    pub(crate) fn cluster(&self, data: PathBuf, run: PathBuf) -> Cluster<'_> {
        Cluster {
            programs: self,
            data,
            run,
        }
    }
}

/// Gives a directory to the user postgres.
pub(crate) fn give(directory: &Path) {
    run(Command::new("chown").arg("postgres:").arg(directory)).success();
}

impl<'p> Cluster<'p> {
    /// Makes it, with these settings.
    pub(crate) fn init(&self, settings: &str) {
        let mut initdb = self.programs.program("initdb");
        initdb.args(["--no-sync", "--wal-segsize=1", "--auth=trust", "--pgdata"]);
        run(initdb.arg(&self.data)).success();
        let configuration = self.data.join("postgresql.conf");
        let mut text = std::fs::read_to_string(&configuration).expect("its configuration");
        text.push_str(settings);
        std::fs::write(configuration, text).expect("write its configuration");
    }

    /// Starts it by `launch`, which is given the server's command, and waits until it answers.
    pub(crate) fn start(
        self,
        launch: impl FnOnce(Command) -> Command,
    ) -> Result<Server<'p>, String> {
        // That of a process that lives no more, or elsewhere.
        let _ = std::fs::remove_file(self.data.join("postmaster.pid"));
        let mut server = self.programs.program("postgres");
        server.arg("-D").arg(&self.data).arg("-k").arg(&self.run);
        server.args(["-c", "listen_addresses="]);
        let log = std::fs::File::create(self.run.join("log")).expect("a log");
        let child = launch(server)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn();
        let mut server = Server {
            cluster: self,
            child: child.expect("start postgres"),
        };
        server.wait_until_ready()?;
        Ok(server)
    }
}

impl Server<'_> {
    fn wait_until_ready(&mut self) -> Result<(), String> {
        let ended = try_wait_for(DEADLINE, || {
            if let Ok(Some(status)) = self.child.try_wait() {
                return Some(Err(status.to_string()));
            }
            (run(&mut self.client("pg_isready")).code == Some(0)).then_some(Ok(()))
        });
        let ended = ended.unwrap_or_else(|| Err("it did not answer".to_owned()));
        ended.map_err(|error| format!("{error}: {}", self.log()))
    }

    /// What it logged.
    pub(crate) fn log(&self) -> String {
        let log = std::fs::read(self.cluster.run.join("log")).unwrap_or_default();
        harness::text(&log)
    }

    /// A program that asks it.
    pub(crate) fn client(&self, name: &str) -> Command {
        let mut command = self.cluster.programs.program(name);
        command
            .arg("-h")
            .arg(&self.cluster.run)
            .current_dir(&self.cluster.run);
        command
    }

    /// An SQL script's answer: lines of values with blanks between.
    pub(crate) fn ask(&self, sql: &str) -> Outcome {
        let mut psql = self.client("psql");
        psql.args([
            "-XqAt",
            "-F",
            " ",
            "-v",
            "ON_ERROR_STOP=1",
            "-d",
            "postgres",
            "-c",
            sql,
        ]);
        run(&mut psql)
    }

    /// Ends it as an administrator does.
    pub(crate) fn stop(mut self) {
        let mut control = self.cluster.programs.program("pg_ctl");
        control.args(["-m", "fast", "-w", "stop", "-D"]);
        run(control.arg(&self.cluster.data)).success();
        self.child.wait().expect("status of the server");
    }
}

impl Drop for Server<'_> {
    fn drop(&mut self) {
        if let Ok(None) = self.child.try_wait() {
            // Immediate: its processes are to be gone, not its data to be in order.
            let mut control = self.cluster.programs.program("pg_ctl");
            run(control
                .args(["-m", "immediate", "stop", "-D"])
                .arg(&self.cluster.data));
            let _ = self.child.wait();
        }
    }
}

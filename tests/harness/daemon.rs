//! One daemon as a process: started, killed, ended politely; what it logs goes to a file.

use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::{text, wait_until};

/// A running daemon. Killed when dropped.
#[derive(Debug)]
pub struct Daemon {
    child: Child,
    log: PathBuf,
}

impl Daemon {
    /// Starts `command` with standard error appended to the file `log`, standard output to `output`.
    #[track_caller]
    pub fn start(command: &mut Command, log: &Path, output: &Path) -> Self {
        let child = command
            .stdin(Stdio::null())
            .stdout(create(output))
            .stderr(append(log))
            .spawn()
            .unwrap_or_else(|error| panic!("{command:?}: {error}"));
        Self {
            child,
            log: log.to_owned(),
        }
    }

    /// Process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Panics with the log when the daemon has ended by itself.
    #[track_caller]
    pub fn assert_alive(&mut self) {
        if let Ok(Some(status)) = self.child.try_wait() {
            panic!("daemon ended: {status}\n{}", self.log_tail());
        }
    }

    /// kill -9, and waits until it is gone.
    pub fn kill(&mut self) {
        // It may have gone by itself; then there is nothing to kill, and wait() gives its status.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// SIGTERM, and waits for a clean end.
    #[track_caller]
    pub fn terminate(&mut self) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("signal a daemon");
        let child = &mut self.child;
        wait_until("a daemon ends on SIGTERM", || {
            matches!(child.try_wait(), Ok(Some(_)))
        });
        let status = self.child.wait().expect("status of a daemon");
        assert!(
            status.success(),
            "daemon ended: {status}\n{}",
            self.log_tail()
        );
    }

    /// Runs something while the daemon stands still, as one that gets no processor does.
    pub fn while_stopped<R>(&self, what: impl FnOnce() -> R) -> R {
        let pid = rustix::process::Pid::from_child(&self.child);
        let signal = |signal| rustix::process::kill_process(pid, signal).expect("signal a daemon");
        signal(rustix::process::Signal::STOP);
        let result = what();
        signal(rustix::process::Signal::CONT);
        result
    }

    /// All that was logged since the first start.
    pub fn log(&self) -> String {
        text(&std::fs::read(&self.log).unwrap_or_default())
    }

    /// The end of the log, for messages.
    pub fn log_tail(&self) -> String {
        let log = self.log();
        let from = log.lines().count().saturating_sub(30);
        log.lines().skip(from).collect::<Vec<_>>().join("\n")
    }

    /// Highest resident memory so far, in bytes (`VmHWM`).
    pub fn peak_memory_bytes(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid()));
        let status = status.expect("status of a running daemon");
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("VmHWM:"))
            .expect("VmHWM");
        let kibibytes = line
            .trim()
            .trim_end_matches(" kB")
            .parse::<u64>()
            .expect("a number of kB");
        kibibytes * 1024
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            println!("== {}\n{}", self.log.display(), self.log_tail());
        } else {
            // Our own mistake, never to be expected whatever the test does to a daemon.
            assert!(
                !self.log().contains("panicked at"),
                "a daemon panicked:\n{}",
                self.log()
            );
        }
    }
}

fn append(path: &Path) -> File {
    let file = OpenOptions::new().create(true).append(true).open(path);
    file.unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn create(path: &Path) -> File {
    File::create(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

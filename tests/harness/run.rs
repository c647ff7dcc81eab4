//! Running a program to its end.

use std::ffi::OsStr;
use std::path::Path;
use std::process::{Command, Output};

/// What a program left behind.
#[derive(Debug)]
pub struct Outcome {
    /// The command, for messages.
    pub command: String,
    /// Exit code; `None`: killed by a signal.
    pub code: Option<i32>,
    /// Standard output, bytes.
    pub stdout: Vec<u8>,
    /// Standard error.
    pub stderr: String,
}

impl Outcome {
    fn new(command: &Command, output: Output) -> Self {
        Self {
            command: format!("{command:?}"),
            code: output.status.code(),
            stdout: output.stdout,
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// Panics unless the program said 0.
    #[track_caller]
    pub fn success(self) -> Self {
        self.exits(0)
    }

    /// Panics unless the program ended with this code.
    #[track_caller]
    pub fn exits(self, code: i32) -> Self {
        let Self {
            command, stderr, ..
        } = &self;
        let ended = self.code;
        assert_eq!(
            ended,
            Some(code),
            "{command}\nsaid: {stderr}\nand: {}",
            self.text()
        );
        self
    }

    /// Standard output as text.
    pub fn text(&self) -> String {
        text(&self.stdout)
    }

    /// Standard output as JSON.
    #[track_caller]
    pub fn json<T: serde::de::DeserializeOwned>(&self) -> T {
        serde_json::from_slice(&self.stdout)
            .unwrap_or_else(|error| panic!("{}: {error}: {}", self.command, self.text()))
    }
}

/// Bytes as text, for messages and for looking into output.
pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Runs a command to its end.
#[track_caller]
pub fn run(command: &mut Command) -> Outcome {
    match command.output() {
        Ok(output) => Outcome::new(command, output),
        Err(error) => panic!("{command:?}: {error}"),
    }
}

/// A shell script in `directory`, without Everwrite; stops at the first command that fails.
#[track_caller]
pub fn shell(directory: &Path, script: impl AsRef<OsStr>) -> Outcome {
    run(Command::new("sh")
        .arg("-ec")
        .arg(script)
        .current_dir(directory))
    .success()
}

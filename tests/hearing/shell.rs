//! A program that goes on while other things happen.

use std::io::Write;
use std::process::{Child, Stdio};

use harness::wait_until;

use crate::ear::Ear;

/// A shell under the shim that does one line at a time.
pub(crate) struct Shell {
    child: Child,
    done: u32,
}

impl Shell {
    /// In the tree.
    pub(crate) fn new(ear: &Ear) -> Self {
        let child = ear.command("sh").stdin(Stdio::piped()).spawn().unwrap();
        Self { child, done: 0 }
    }

    /// Has it do `line`, and waits until it has.
    pub(crate) fn does(&mut self, ear: &Ear, line: &str) {
        self.done += 1;
        let mark = ear.place.path().join(format!("done{}", self.done));
        let input = self.child.stdin.as_mut().unwrap();
        writeln!(input, "{line}; echo > {}", mark.display()).unwrap();
        wait_until(line, || mark.exists());
    }

    /// Ends it.
    pub(crate) fn ends(mut self) {
        drop(self.child.stdin.take());
        assert!(self.child.wait().unwrap().success());
    }
}

//! What happened, in order: the same seed has to give the same.

use std::sync::{Arc, Mutex, PoisonError};

const LINES_SHOWN: usize = 60;

#[derive(Clone, Default)]
pub(crate) struct Trace(Arc<Mutex<Lines>>);

#[derive(Default)]
struct Lines {
    hash: blake3::Hasher,
    lines: Vec<String>,
}

impl Trace {
    pub(crate) fn note(&self, line: impl Into<String>) {
        let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let line = line.into();
        lines.hash.update(line.as_bytes());
        lines.hash.update(b"\n");
        lines.lines.push(line);
    }

    pub(crate) fn hash(&self) -> String {
        let lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        lines.hash.finalize().to_hex()[..16].to_owned()
    }

    pub(crate) fn lines(&self) -> Vec<String> {
        let lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        lines.lines.clone()
    }

    /// The end of it, for people.
    pub(crate) fn end(&self) -> String {
        let lines = self.lines();
        lines[lines.len().saturating_sub(LINES_SHOWN)..].join("\n")
    }
}

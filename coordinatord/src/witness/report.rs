//! How the witness stands, for people and for barriers.

use std::path::PathBuf;

use everwrite_protocol::control::{EbpfCapture, NamesCapture};

/// Shared by the witness's thread and whoever asks.
#[derive(Clone, PartialEq, Debug)]
pub struct WitnessReport {
    /// The programs in the kernel.
    pub ebpf: EbpfCapture,
    /// fanotify.
    pub names: NamesCapture,
    /// Whatever changes below any root is heard: only what is not known to be lost has to be looked for.
    pub hears_all: bool,
    /// The roots that this is about: those that were protected a moment ago.
    pub roots: Vec<PathBuf>,
    /// File systems (`st_dev`) on which nothing tells of stores into mapped files.
    pub silent_stores: Vec<u64>,
}

/// One of the two, in a word; `status --json` shows it.
pub(super) const WATCHING: &str = "on";
/// It hears some file systems, and the reason says which it does not.
pub(super) const PARTIAL: &str = "partial";
/// The switch is off, or there are no roots, or the settings say so.
pub(super) const OFF: &str = "off";
/// It is not in this build.
pub(super) const ABSENT: &str = "absent";
/// This kernel or these rights do not allow it.
pub(super) const UNAVAILABLE: &str = "unavailable";

impl WitnessReport {
    /// Does any part of it hear anything?
    pub fn is_listening(&self) -> bool {
        let states = [&self.ebpf.state, &self.names.state];
        states
            .iter()
            .any(|state| [WATCHING, PARTIAL].contains(&state.as_str()))
    }

    /// It does nothing, and why.
    pub(super) fn off(reason: &str) -> Self {
        Self {
            ebpf: EbpfCapture {
                state: OFF.to_owned(),
                reason: reason.to_owned(),
                hints: 0,
                drops: 0,
                calls: false,
            },
            names: NamesCapture {
                state: OFF.to_owned(),
                reason: reason.to_owned(),
                hints: 0,
                overflows: 0,
            },
            hears_all: false,
            roots: Vec::new(),
            silent_stores: Vec::new(),
        }
    }
}

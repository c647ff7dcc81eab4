//! The file systems that shims are to tell of.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use crate::intake::Intake;

/// Devices with protected files, gathered by all pipelines as they come across them.
pub struct Devices {
    intake: Arc<Intake>,
    known: Mutex<BTreeSet<u64>>,
}

impl Devices {
    /// None yet.
    pub fn new(intake: Arc<Intake>) -> Self {
        Self {
            intake,
            known: Mutex::default(),
        }
    }

    /// Has this device watched from now on.
    pub fn add(&self, device: u64) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if !known.insert(device) {
            return;
        }
        let all: Vec<u64> = known.iter().copied().collect();
        if let Err(error) = self.intake.set_devices(&all) {
            tracing::warn!(%error, "changes on some file systems are found by scans only");
        }
    }
}

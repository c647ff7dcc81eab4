//! What a process still owes when it ends: proofs of its runs of plain writes, the end of its
//! mappings, and a last look everywhere if it ever asked for one.

use std::collections::HashMap;

use everwrite_protocol::local::Inode;

use super::hint::What;

/// Runs, and files, remembered for one image. Beyond, its end is "everything".
pub(super) const REMEMBERED_MAX: usize = 4096;

/// A file and its birth.
type Key = (Inode, u64);

/// The dues of one process image.
#[derive(Debug, Default)]
pub(super) struct Dues {
    /// Chains with a taken run that nothing has proved yet.
    runs: HashMap<u64, Key>,
    /// Files mapped shared and writable, and how often.
    mappings: HashMap<Key, u32>,
    /// "Everything" was raised, or there was more than can be remembered.
    everything: bool,
}

impl Dues {
    /// A run of `chain` was taken on trust.
    pub(super) fn add_run(&mut self, chain: u64, file: Key) {
        if self.runs.len() < REMEMBERED_MAX || self.runs.contains_key(&chain) {
            self.runs.insert(chain, file);
        } else {
            self.everything = true;
        }
    }

    /// The runs of `chain` are proved.
    pub(super) fn prove(&mut self, chain: u64) {
        self.runs.remove(&chain);
    }

    /// The file was mapped (once more).
    pub(super) fn add_mapping(&mut self, file: Key) {
        if self.mappings.len() < REMEMBERED_MAX || self.mappings.contains_key(&file) {
            let count = self.mappings.entry(file).or_default();
            *count = count.saturating_add(1);
        } else {
            self.everything = true;
        }
    }

    /// A mapping of the file ended; true when no other is left.
    pub(super) fn end_mapping(&mut self, file: Key) -> bool {
        match self.mappings.get_mut(&file) {
            Some(count) if *count > 1 => {
                *count -= 1;
                false
            }
            _ => {
                self.mappings.remove(&file);
                true
            }
        }
    }

    /// Everything is to be looked at once more at the end.
    pub(super) fn add_everything(&mut self) {
        self.everything = true;
    }

    /// Tells what may be due, and keeps it: the image may have been replaced by `execve(2)`, or not.
    pub(super) fn tell(&self, tell: &mut dyn FnMut(What)) {
        let files = self.runs.values().chain(self.mappings.keys());
        files.for_each(|&(file, birth)| tell(What::Whole { file, birth }));
    }

    /// The process is gone: tells all that is due.
    pub(super) fn settle(&mut self, tell: &mut dyn FnMut(What)) {
        for (_, (file, birth)) in self.runs.drain() {
            tell(What::Whole { file, birth });
        }
        for ((file, birth), _) in self.mappings.drain() {
            tell(What::Unmapped { file, birth });
        }
        if std::mem::take(&mut self.everything) {
            tell(What::Everything);
        }
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.runs.len().max(self.mappings.len())
    }
}

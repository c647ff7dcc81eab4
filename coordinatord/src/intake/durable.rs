//! Programs that wait until the receiver has stored what they made durable here.

use std::sync::Arc;
use std::sync::atomic::Ordering::Release;
use std::time::Duration;

use everwrite_protocol::local::Inode;
use everwrite_protocol::local::segment::Segment;
use rustix::thread::futex;

use super::memory::Shared;

/// What an `fsync` waits for, where a root asks for that.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DurableFsync {
    /// How long.
    pub longest: Duration,
    /// Afterwards it fails with `EIO`; otherwise it succeeds, and is counted.
    pub fails: bool,
}

/// Calls for durability of one process that wait for an answer. All that they cover was announced in
/// hints that were sent before.
#[derive(Debug)]
pub struct DurableAsk {
    pub(super) segment: Arc<Shared<Segment>>,
    pub(super) number: u32,
    /// The files that they are about; empty: not known.
    pub files: Vec<Inode>,
}

impl DurableAsk {
    /// The receiver has stored it: the programs go on.
    pub fn grant(self) {
        let granted = &self.segment.header.durable_granted;
        granted.store(self.number, Release);
        // Can't fail: the word is mapped. And if it did, everybody has a time limit.
        let _ = futex::wake(granted, futex::Flags::empty(), u32::MAX >> 1);
    }
}

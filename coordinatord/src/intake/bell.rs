//! The doorbell: how a sleeping reader is woken, by shims through shared memory and by the daemon's
//! own threads.
//!
//! A shim that has published DONE looks at the word and rings only when it says "sleeping". Its look
//! may come before the reader's "sleeping" and the reader's last round before its DONE, as both wait
//! in the processors' store buffers. Those empty themselves within microseconds; so after arming the
//! bell the reader makes some more rounds, milliseconds apart, before it sleeps for long. That costs
//! less than a `membarrier(2)` of all processors, which would stop the reader for many milliseconds.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::OnceLock;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::SeqCst;
use std::thread::{self, Thread};
use std::time::Duration;

use everwrite_protocol::local::segment::{ASLEEP, AWAKE, DOZING, Doorbell};
use rustix::io::Errno;
use rustix::thread::futex;
use rustix::time::Timespec;

use super::memory::{self, Shared};

/// The bell. Rung by anyone, waited for by the one reader.
pub(super) struct Bell {
    file: OwnedFd,
    doorbell: Shared<Doorbell>,
    /// Rung by the daemon itself, and not heard yet.
    called: AtomicBool,
    /// The thread that waits.
    reader: OnceLock<Thread>,
}

impl Bell {
    pub(super) fn new() -> io::Result<Self> {
        let (file, doorbell) = memory::sealed("everwrite-doorbell")?;
        Ok(Self {
            file,
            doorbell,
            called: AtomicBool::new(false),
            reader: OnceLock::new(),
        })
    }

    /// What shims are given to map.
    pub(super) fn file(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }

    /// Makes the current thread the one that is woken.
    pub(super) fn adopt(&self) {
        self.reader.get_or_init(thread::current);
    }

    /// Wakes the reader, or keeps it from falling asleep.
    pub(super) fn ring(&self) {
        self.called.store(true, SeqCst);
        self.disarm();
        // Can't fail: the word is mapped. And if it did, the reader wakes by itself.
        let _ = futex::wake(&self.doorbell.reader, futex::Flags::empty(), 1);
        self.reader.get().map(Thread::unpark);
    }

    /// Asks shims to ring. A round through all segments must follow before [`Self::sleep`].
    pub(super) fn arm(&self) {
        self.doorbell.reader.store(ASLEEP, SeqCst);
    }

    /// Asks shims not to ring: the reader is on its rounds anyway.
    pub(super) fn disarm(&self) {
        self.doorbell.reader.store(AWAKE, SeqCst);
    }

    /// Waits, armed, for a shim or the daemon to ring. True when it was rung: the bell is no longer
    /// armed then.
    pub(super) fn sleep(&self, longest: Duration) -> bool {
        self.wait(ASLEEP, longest)
    }

    /// Waits a moment, as more is likely to come. True when a shim could not wait for that, or the daemon.
    pub(super) fn doze(&self, longest: Duration) -> bool {
        self.doorbell.reader.store(DOZING, SeqCst);
        let rung = self.wait(DOZING, longest);
        self.disarm();
        rung
    }

    /// Waits for as long as the word says `state`.
    fn wait(&self, state: u32, longest: Duration) -> bool {
        if self.called.swap(false, SeqCst) {
            return true;
        }
        let timeout = Timespec {
            tv_sec: i64::try_from(longest.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: i64::from(longest.subsec_nanos()),
        };
        let word = &self.doorbell.reader;
        let waited = futex::wait(word, futex::Flags::empty(), state, Some(&timeout));
        self.called.swap(false, SeqCst) || waited != Err(Errno::TIMEDOUT)
    }

    /// Waits without asking shims to ring; the daemon's own threads still can.
    pub(super) fn pause(&self, longest: Duration) {
        if !self.called.swap(false, SeqCst) {
            thread::park_timeout(longest);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Instant;

    use super::*;

    const LONG: Duration = Duration::from_secs(20);

    /// Starts a thread that waits by `wait`, rings, and says how long the thread waited.
    fn rung(wait: fn(&Bell)) -> Duration {
        let bell = Arc::new(Bell::new().unwrap());
        let began = Instant::now();
        let waiter = {
            let bell = Arc::clone(&bell);
            thread::spawn(move || {
                bell.adopt();
                wait(&bell);
            })
        };
        while !waiter.is_finished() && began.elapsed() < LONG {
            bell.ring();
            thread::yield_now();
        }
        waiter.join().unwrap();
        began.elapsed()
    }

    #[test]
    fn the_daemon_wakes_a_reader_however_it_waits() {
        let slept = rung(|bell| {
            bell.arm();
            bell.sleep(LONG);
        });
        assert!(slept < LONG / 2);
        assert!(rung(|bell| bell.pause(LONG)) < LONG / 2);
        let dozed = rung(|bell| {
            bell.doze(LONG);
        });
        assert!(dozed < LONG / 2);
    }

    #[test]
    fn a_ring_before_the_sleep_is_heard() {
        let bell = Bell::new().unwrap();
        bell.adopt();
        bell.arm();
        bell.ring();
        assert!(bell.sleep(LONG));
    }

    #[test]
    fn a_shim_that_swapped_the_word_is_heard() {
        let bell = Bell::new().unwrap();
        bell.arm();
        assert_eq!(bell.doorbell.reader.swap(0, SeqCst), 1);
        assert!(bell.sleep(LONG));
        bell.arm();
        assert!(!bell.sleep(Duration::from_millis(1)), "nobody rang");
    }
}

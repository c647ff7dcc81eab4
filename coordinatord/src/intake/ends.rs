//! Which processes have ended, by their descriptors (`pidfd_open(2)`).

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::event::{Timespec, epoll};
use rustix::io::Errno;

/// Ends told at once; more wait for the next look.
const ENDS_MAX: usize = 256;

/// The watch over processes. Readable itself while there are ends to be told.
pub(super) struct Ends {
    epoll: OwnedFd,
}

impl Ends {
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self {
            epoll: epoll::create(epoll::CreateFlags::CLOEXEC)?,
        })
    }

    /// Watches a process until its descriptor is closed; `token` names it.
    pub(super) fn watch(&self, process: BorrowedFd<'_>, token: u64) -> io::Result<()> {
        let data = epoll::EventData::new_u64(token);
        Ok(epoll::add(
            &self.epoll,
            process,
            data,
            epoll::EventFlags::IN,
        )?)
    }

    /// Processes that have ended. Those not closed are told again.
    pub(super) fn ended(&self) -> Vec<u64> {
        let mut events = [const { EMPTY }; ENDS_MAX];
        let now = Timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        match epoll::wait(&self.epoll, &mut events, Some(&now)) {
            Ok(count) => events
                .iter()
                .take(count)
                .map(|event| event.data.u64())
                .collect(),
            Err(Errno::INTR) => Vec::new(),
            // Not possible: the descriptor is an epoll, the memory is ours.
            Err(error) => {
                tracing::error!(%error, "can't see which processes have ended");
                Vec::new()
            }
        }
    }
}

impl AsFd for Ends {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.epoll.as_fd()
    }
}

const EMPTY: epoll::Event = epoll::Event {
    flags: epoll::EventFlags::empty(),
    data: epoll::EventData::new_u64(0),
};

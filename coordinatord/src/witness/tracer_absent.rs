//! In place of [`tracer`](super::tracer) in a build without the feature `ebpf`.

use std::convert::Infallible;
use std::os::fd::{AsFd, BorrowedFd};

use super::event::{Event, KnownProgram};
use super::tracer_report::{Lost, TracerCounters, TracerProblem};

pub(super) fn wants_calls(_magic: u64) -> bool {
    false
}

/// There is none.
pub(super) struct Tracer(Infallible);

impl Tracer {
    pub(super) fn start(_ring_bytes: u32, _calls: bool) -> Result<Self, TracerProblem> {
        Err(TracerProblem::NotBuilt)
    }

    pub(super) fn tells_ranges_on(&self, _magic: u64) -> bool {
        match self.0 {}
    }

    pub(super) fn tells_of_stores(&self) -> bool {
        match self.0 {}
    }

    pub(super) fn hears_calls(&self) -> bool {
        match self.0 {}
    }

    pub(super) fn add_root(
        &mut self,
        _root: BorrowedFd<'_>,
        _magic: u64,
        _number: u32,
    ) -> Result<(), TracerProblem> {
        match self.0 {}
    }

    pub(super) fn next_generation(&mut self) {
        match self.0 {}
    }

    pub(super) fn is_mapped(&mut self, _file: BorrowedFd<'_>) -> bool {
        match self.0 {}
    }

    pub(super) fn drain(&mut self, _all: bool) -> Vec<Event> {
        match self.0 {}
    }

    pub(super) fn take_lost(&mut self) -> Lost {
        match self.0 {}
    }

    pub(super) fn program(&self, _process: u32) -> Option<KnownProgram> {
        match self.0 {}
    }

    pub(super) fn counters(&self) -> TracerCounters {
        match self.0 {}
    }
}

impl AsFd for Tracer {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self.0 {}
    }
}

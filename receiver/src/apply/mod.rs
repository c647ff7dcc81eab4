//! Brings stored batches into the mirror, window by window.
//!
//! ```text
//! read window → plan → PREIMAGE + WINDOW in the log → P0 builds → PHASE → P1 detaches → PHASE
//!             → P2 places, P3 content, P4 attributes → sync → catalog → next window
//! ```
//!
//! A crash anywhere is mended by doing the window again: before WINDOW nothing was touched; after it
//! the same window is planned again from the same catalog and carried out from the last PHASE on. Each
//! step finds out whether it was done.

mod carry_out;
pub mod plan;
mod preimage;
mod window;

use everwrite_protocol::ids::SequenceNumber;

use carry_out::Carrier;
use plan::Plan;
use window::{Bound, Window, read_window};

use crate::catalog::Catalog;
use crate::log::content::LogContent;
use crate::log::{FrameKind, LogWriter, NewFrame, PendingWindow, Phase, Segments};
use crate::mirror::{Directories, Layout, Privileges, SourceDirectory};
use crate::store::{ApplyLock, StoreError};

/// The one who changes mirror and catalog.
#[derive(Debug)]
pub struct Applier {
    catalog: Catalog,
    directory: SourceDirectory,
    segments: Segments,
    lock: ApplyLock,
    content: LogContent,
    privileges: Privileges,
    /// The window that is under way.
    pending: Option<PendingWindow>,
}

impl Applier {
    /// Goes on with `pending`, as recovery found it.
    pub fn open(
        layout: &Layout,
        catalog: Catalog,
        segments: Segments,
        pending: Option<PendingWindow>,
    ) -> Result<Self, StoreError> {
        let lock = ApplyLock::open(&layout.apply_lock())?;
        // The mark in it is not synced: after a power cut it may be older than catalog and log.
        let held = lock.exclusive()?;
        if pending.is_none() {
            lock.settled()?;
        }
        drop(held);
        Ok(Self {
            catalog,
            directory: SourceDirectory::open(layout)?,
            content: LogContent::new(segments.clone()),
            segments,
            lock,
            privileges: Privileges::current(),
            pending,
        })
    }

    /// Applies one window of the batches up to `stored`; `None`: there is nothing to apply. After an
    /// error it can be called again.
    pub fn apply_window(
        &mut self,
        stored: SequenceNumber,
        writer: &LogWriter,
    ) -> Result<Option<SequenceNumber>, StoreError> {
        let state = self.catalog.state()?;
        let bound = match &self.pending {
            Some(pending) => Bound::Exactly(pending.last),
            None => Bound::UpTo(stored),
        };
        let window = read_window(&self.segments, state.position, state.applied, bound)?;
        let Some(window) = window else {
            return Ok(None);
        };
        let plan = plan::plan(&self.catalog.read()?, &window.batches)?;
        let last = last(&window, state.applied);
        self.announce(&plan, last, writer)?;
        self.carry_out(&plan, &window, writer)?;
        Ok(Some(last))
    }

    /// After this the window is binding.
    fn announce(
        &mut self,
        plan: &Plan,
        last: SequenceNumber,
        writer: &LogWriter,
    ) -> Result<(), StoreError> {
        if self.pending.is_none() {
            let mut before = Directories::new(&self.directory, &plan.steps.homes_before, false);
            let preimages = preimage::save(plan, last, &mut before, writer)?;
            self.pending = Some(PendingWindow {
                last,
                preimages,
                phase: Phase::Announced,
            });
        }
        Ok(())
    }

    fn carry_out(
        &mut self,
        plan: &Plan,
        window: &Window,
        writer: &LogWriter,
    ) -> Result<(), StoreError> {
        let Some(pending) = &mut self.pending else {
            return Ok(());
        };
        let needs = preimage::load(plan, &pending.preimages, &mut self.content)?;
        let read = self.catalog.read()?;
        let mut carrier = Carrier::new(
            &self.directory,
            plan,
            &read,
            &mut self.content,
            self.privileges,
        );
        if pending.phase < Phase::Built && carrier.build()? {
            mark(pending, Phase::Built, writer)?;
        }
        let held = self.lock.exclusive()?;
        if pending.phase < Phase::Detached && carrier.detach()? {
            mark(pending, Phase::Detached, writer)?;
        }
        let unset = carrier.finish()?;
        drop(read);
        self.catalog.commit(plan, &needs, window.end, &unset)?;
        self.pending = None;
        self.lock.settled()?;
        drop(held);
        Ok(())
    }
}

/// From now on the window goes on from here.
fn mark(pending: &mut PendingWindow, phase: Phase, writer: &LogWriter) -> Result<(), StoreError> {
    let frame = NewFrame::bare(FrameKind::Phase, pending.last.0, Vec::new());
    writer.write(vec![NewFrame {
        part: phase.to_part(),
        ..frame
    }])?;
    pending.phase = phase;
    Ok(())
}

fn last(window: &Window, applied: SequenceNumber) -> SequenceNumber {
    window
        .batches
        .last()
        .map_or(applied, |batch| batch.cut.cut.sequence)
}

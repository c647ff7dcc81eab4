//! What is on its way to the pipelines, in order, while they are busy.

use std::collections::VecDeque;

use super::pipelines::PipelineHandle;
use crate::pipeline::Event;

/// Events for pipelines. Hints are taken in only while it is empty, so it is bounded by what the
/// intake's channel holds; the intake merges what has to wait longer.
#[derive(Default)]
pub(super) struct Outbox {
    events: VecDeque<(usize, Event)>,
}

impl Outbox {
    pub(super) fn push(&mut self, pipeline: usize, event: Event) {
        self.events.push_back((pipeline, event));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.events.is_empty()
    }

    /// Delivers the first event once its pipeline has room. Nothing happens when this is dropped
    /// before.
    pub(super) async fn deliver_next(&mut self, pipelines: &[PipelineHandle]) {
        let Some((pipeline, _)) = self.events.front() else {
            return;
        };
        let room = pipelines[*pipeline].events.reserve().await;
        if let (Some((_, event)), Ok(room)) = (self.events.pop_front(), room) {
            room.send(event);
        }
    }
}

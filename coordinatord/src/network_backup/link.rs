//! Whether the line for batches stands. It has signs of life, which the one for questions has not: there an answer
//! may take a while, and a line of which the other end is gone looks the same.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

/// A receiver that is away for longer than this answers nothing. One that starts again, or a line that breaks,
/// is back before.
pub(super) const DOWN_MAX: Duration = Duration::from_secs(3);

/// Of whoever keeps the line.
#[derive(Debug)]
pub(super) struct LinkState(watch::Sender<Option<Instant>>);

impl Default for LinkState {
    fn default() -> Self {
        Self(watch::Sender::new(Some(Instant::now())))
    }
}

impl LinkState {
    pub(super) fn is_up(&self) {
        self.0.send_replace(None);
    }

    pub(super) fn is_down(&self) {
        // Since when, however often it is tried in vain.
        self.0.send_if_modified(|down| {
            let was_up = down.is_none();
            down.get_or_insert_with(Instant::now);
            was_up
        });
    }

    pub(super) fn link(&self) -> Link {
        Link(Some(self.0.subscribe()))
    }
}

/// Of whoever wants to know.
#[derive(Debug)]
pub(super) struct Link(Option<watch::Receiver<Option<Instant>>>);

impl Link {
    /// There is no such line: nothing can be known.
    pub(super) fn none() -> Self {
        Self(None)
    }

    /// Waits until the line has been down for [`DOWN_MAX`].
    pub(super) async fn lost(&mut self) {
        let Some(state) = &mut self.0 else {
            return std::future::pending().await;
        };
        loop {
            let down = *state.borrow_and_update();
            let Some(since) = down else {
                // Whoever kept it is gone, and with it whoever asks.
                if state.changed().await.is_err() {
                    return;
                }
                continue;
            };
            tokio::select! {
                () = sleep_until(since + DOWN_MAX) => return,
                changed = state.changed() => if changed.is_err() { return },
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::{advance, timeout};

    use super::*;

    const SOON: Duration = Duration::from_millis(1);

    #[tokio::test(start_paused = true)]
    async fn a_line_is_lost_when_it_has_been_down_for_some_time() {
        let state = LinkState::default();
        let mut link = state.link();
        state.is_up();
        assert!(timeout(10 * DOWN_MAX, link.lost()).await.is_err());
        state.is_down();
        assert!(timeout(DOWN_MAX / 2, link.lost()).await.is_err());
        state.is_up();
        state.is_down();
        advance(DOWN_MAX / 2).await;
        state.is_down();
        assert!(timeout(SOON, link.lost()).await.is_err(), "not yet");
        assert!(timeout(DOWN_MAX / 2, link.lost()).await.is_ok());
        assert!(timeout(10 * DOWN_MAX, Link::none().lost()).await.is_err());
    }
}

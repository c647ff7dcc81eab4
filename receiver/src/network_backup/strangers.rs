//! Connections that have not said yet who they are.
//!
//! Anybody can make those, and as many as they like. So they have a room of their own, and when it is
//! full the one that has been there longest goes: an honest source has introduced itself long before
//! so many others have come.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

/// How many there may be at once.
const STRANGERS_MAX: usize = 256;

/// The room.
#[derive(Debug, Default)]
pub(super) struct Strangers {
    room: Mutex<Room>,
}

#[derive(Debug, Default)]
struct Room {
    /// By number; the lowest came first.
    waiting: BTreeMap<u64, Arc<Notify>>,
    next: u64,
}

/// One of them.
#[derive(Debug)]
pub struct Stranger {
    strangers: Arc<Strangers>,
    number: u64,
    go: Arc<Notify>,
}

impl Strangers {
    fn room(&self) -> MutexGuard<'_, Room> {
        self.room.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets one in; the one that came first goes when there is no room.
    pub(super) fn enter(self: &Arc<Self>) -> Stranger {
        let go = Arc::new(Notify::new());
        let mut room = self.room();
        if room.waiting.len() >= STRANGERS_MAX
            && let Some((_, first)) = room.waiting.pop_first()
        {
            first.notify_one();
        }
        let number = room.next;
        room.next += 1;
        room.waiting.insert(number, Arc::clone(&go));
        Stranger {
            strangers: Arc::clone(self),
            number,
            go,
        }
    }
}

impl Stranger {
    /// It has shown who it is: it does not have to go any more.
    pub(super) fn is_known(&self) {
        self.strangers.room().waiting.remove(&self.number);
    }

    /// Waits until it has to go.
    pub(super) async fn must_go(&self) {
        self.go.notified().await;
    }
}

impl Drop for Stranger {
    fn drop(&mut self) {
        self.is_known();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    async fn goes(stranger: &Stranger) -> bool {
        timeout(Duration::ZERO, stranger.must_go()).await.is_ok()
    }

    #[tokio::test]
    async fn the_first_goes_when_there_is_no_room() {
        let room = Arc::new(Strangers::default());
        let all: Vec<Stranger> = (0..STRANGERS_MAX).map(|_| room.enter()).collect();
        assert!(!goes(&all[0]).await);
        let _one_more = room.enter();
        assert!(goes(&all[0]).await);
        assert!(!goes(&all[1]).await);
    }

    #[tokio::test]
    async fn who_is_known_or_gone_leaves_room() {
        let room = Arc::new(Strangers::default());
        let all: Vec<Stranger> = (0..STRANGERS_MAX).map(|_| room.enter()).collect();
        all[0].is_known();
        let second = room.enter();
        drop(second);
        let _third = room.enter();
        for stranger in &all {
            assert!(!goes(stranger).await);
        }
    }
}

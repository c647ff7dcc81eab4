//! How many segments there may be: in all, for one user, for one process.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};

/// Segments at once. Each costs a descriptor here, and memory as far as it is used.
pub(super) const SEGMENTS_MAX: usize = 4096;
/// Descriptors for all else that a coordinator does, where there are so many: directories and files that it looks at,
/// those that it keeps, lines, the witness.
const OTHER_FILES: usize = 768;
/// Segments of one process: one for each image it was and each epoch it lived in.
const PROCESS_SEGMENTS_MAX: usize = 16;

/// Counts the places taken.
#[derive(Debug)]
pub(super) struct Room {
    most: usize,
    counts: Mutex<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    all: usize,
    users: HashMap<u32, usize>,
    processes: HashMap<u32, usize>,
}

/// A place; free again when dropped.
#[derive(Debug)]
pub(super) struct Place {
    room: Arc<Room>,
    user: u32,
    process: u32,
}

impl Room {
    /// Room for as many as leave enough of these descriptors.
    pub(super) fn within(open_files: usize) -> Self {
        let most = open_files.saturating_sub(OTHER_FILES).max(open_files / 4);
        Self {
            most: most.min(SEGMENTS_MAX),
            counts: Mutex::default(),
        }
    }

    /// Those of one user, so that nobody can use up the room of all.
    fn most_of_user(&self) -> usize {
        self.most / 4 * 3
    }

    /// A place for a segment, if there is one.
    pub(super) fn enter(self: &Arc<Self>, user: u32, process: u32) -> Option<Place> {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let of_user = counts.users.get(&user).copied().unwrap_or(0);
        let of_process = counts.processes.get(&process).copied().unwrap_or(0);
        if counts.all >= self.most
            || of_user >= self.most_of_user()
            || of_process >= PROCESS_SEGMENTS_MAX
        {
            return None;
        }
        counts.all += 1;
        counts.users.insert(user, of_user + 1);
        counts.processes.insert(process, of_process + 1);
        Some(Place {
            room: Arc::clone(self),
            user,
            process,
        })
    }

    /// Processes that have a segment.
    pub(super) fn processes(&self) -> usize {
        self.counts
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .processes
            .len()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut counts = self
            .room
            .counts
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        counts.all -= 1;
        release(&mut counts.users, self.user);
        release(&mut counts.processes, self.process);
    }
}

fn release<K: Eq + Hash>(counts: &mut HashMap<K, usize>, key: K) {
    match counts.get_mut(&key) {
        Some(count) if *count > 1 => *count -= 1,
        _ => drop(counts.remove(&key)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_limited_and_come_back() {
        let room = Arc::new(Room::within(100_000));
        let mut places: Vec<_> = (0..16).map(|_| room.enter(1, 1).unwrap()).collect();
        assert!(room.enter(1, 1).is_none(), "one process");
        places.extend((2..).map_while(|process| room.enter(1, process)));
        assert_eq!(places.len(), SEGMENTS_MAX / 4 * 3, "one user");
        places.extend((1_000_000..).map_while(|process| room.enter(2, process)));
        assert_eq!(places.len(), SEGMENTS_MAX);
        places.clear();
        assert_eq!(room.processes(), 0);
        assert!(room.enter(1, 1).is_some());
    }

    #[test]
    fn descriptors_are_left_for_the_rest() {
        for (open_files, most) in [(256, 64), (1024, 256), (4096, 3328), (524_288, 4096)] {
            assert_eq!(Room::within(open_files).most, most, "{open_files}");
        }
    }
}

//! Who was it: the table behind [`OriginId`].
//!
//! Bounded: what has not been asked for longest is forgotten first, and an id is never given twice,
//! so an old hint of a forgotten program is of nobody rather than of somebody else.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use everwrite_protocol::wire::Origin;

use super::hint::OriginId;

/// Process images remembered. A quarter is forgotten at a time, when there are more.
const ORIGINS_MAX: usize = 16 * 1024;

/// The table. Shared by the thread that lets processes in and whoever has hints.
#[derive(Debug, Default)]
pub(crate) struct Origins {
    table: Mutex<Table>,
}

#[derive(Debug, Default)]
struct Table {
    entries: HashMap<OriginId, Entry>,
    ids: HashMap<Origin, OriginId>,
    last: u32,
    clock: u64,
}

#[derive(Debug)]
struct Entry {
    origin: Origin,
    used: u64,
}

impl Origins {
    /// The id of `origin`; the same one when it is known.
    pub(crate) fn id(&self, origin: Origin) -> OriginId {
        self.table
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .id(origin)
    }

    /// Who `id` was: the scan for [`OriginId::SCAN`] and for what is forgotten.
    pub(crate) fn origin(&self, id: OriginId) -> Origin {
        let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        let now = table.tick();
        match table.entries.get_mut(&id) {
            Some(entry) => {
                entry.used = now;
                entry.origin.clone()
            }
            None => scan(),
        }
    }
}

impl Table {
    fn id(&mut self, origin: Origin) -> OriginId {
        let used = self.tick();
        if let Some(id) = self.ids.get(&origin) {
            return *id;
        }
        if self.entries.len() >= ORIGINS_MAX {
            self.forget_a_quarter();
        }
        let id = self.unused_id();
        self.ids.insert(origin.clone(), id);
        self.entries.insert(id, Entry { origin, used });
        id
    }

    fn tick(&mut self) -> u64 {
        self.clock += 1;
        self.clock
    }

    /// The next number; past four thousand million it goes round, leaving out what is in use.
    fn unused_id(&mut self) -> OriginId {
        loop {
            self.last = self.last.wrapping_add(1);
            let id = OriginId(self.last);
            if id != OriginId::SCAN && !self.entries.contains_key(&id) {
                return id;
            }
        }
    }

    fn forget_a_quarter(&mut self) {
        let mut times: Vec<u64> = self.entries.values().map(|entry| entry.used).collect();
        let quarter = times.len() / 4;
        let (_, limit, _) = times.select_nth_unstable(quarter);
        let limit = *limit;
        self.entries.retain(|_, entry| entry.used > limit);
        let entries = &self.entries;
        self.ids.retain(|_, id| entries.contains_key(id));
    }
}

fn scan() -> Origin {
    Origin {
        pid: 0,
        uid: 0,
        started_ticks: 0,
        program: "scan".to_owned(),
        executable: String::new(),
        cgroup: String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn program(pid: u32) -> Origin {
        Origin {
            pid,
            program: "p".to_owned(),
            ..scan()
        }
    }

    #[test]
    fn the_same_image_has_one_id() {
        let origins = Origins::default();
        let first = origins.id(program(1));
        assert_eq!(origins.id(program(1)), first);
        assert_ne!(origins.id(program(2)), first);
        assert_eq!(origins.origin(first), program(1));
        assert_eq!(origins.origin(OriginId::SCAN).program, "scan");
        assert_eq!(origins.origin(OriginId(77)).pid, 0);
    }

    #[test]
    fn the_table_is_bounded_and_keeps_what_is_used() {
        let origins = Origins::default();
        let kept = origins.id(program(1));
        let lost = origins.id(program(2));
        for pid in 3..40_000 {
            origins.id(program(pid));
            assert_eq!(origins.origin(kept).pid, 1);
        }
        assert_eq!(origins.origin(lost).pid, 0);
        let table = origins.table.lock().unwrap();
        assert!(table.entries.len() <= ORIGINS_MAX && table.ids.len() == table.entries.len());
    }

    #[test]
    fn numbers_go_round_without_meeting_anyone() {
        let origins = Origins::default();
        let first = origins.id(program(1));
        origins.table.lock().unwrap().last = u32::MAX;
        let after = origins.id(program(2));
        assert!(after != first && after != OriginId::SCAN);
    }
}

//! One process under several entries of the table of origins: shim and kernel know different things of it
//! (the path it was started by, or, when it has ended, nothing but its number). Pure.

use std::collections::HashMap;

use everwrite_protocol::wire::Origin;

use crate::intake::OriginId;

/// Processes remembered; all are forgotten when there are more.
const PROCESSES_MAX: usize = 4096;

/// The first entry that each process was met under.
#[derive(Debug, Default)]
pub struct Processes(HashMap<u32, (u64, OriginId)>);

impl Processes {
    /// The entry that stands for the process of `id`, whose `origin` is given. Numbers are given again: two
    /// that are known to have begun at different times are two.
    pub fn one(&mut self, id: OriginId, origin: &Origin) -> OriginId {
        if origin.pid == 0 {
            return id;
        }
        if self.0.len() >= PROCESSES_MAX {
            self.0.clear();
        }
        let started = origin.started_ticks;
        let (known, first) = self.0.entry(origin.pid).or_insert((started, id));
        if *known != started && *known != 0 && started != 0 {
            (*known, *first) = (started, id);
        }
        *known = (*known).max(started);
        *first
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_one_however_little_is_known_of_it() {
        let origin = |pid, started_ticks| Origin {
            pid,
            uid: 0,
            started_ticks,
            program: String::new(),
            executable: String::new(),
            cgroup: String::new(),
        };
        let mut processes = Processes::default();
        let cases = [
            (1, origin(7, 100), 1),
            (2, origin(7, 100), 1),
            (3, origin(7, 0), 1),
            (4, origin(8, 0), 4),
            (5, origin(8, 50), 4),
            (6, origin(7, 900), 6),
            (7, origin(7, 0), 6),
            (8, origin(0, 0), 8),
            (9, origin(0, 0), 9),
        ];
        for (id, origin, expected) in cases {
            assert_eq!(processes.one(OriginId(id), &origin), OriginId(expected));
        }
    }
}

//! Who it was, as the kernel tells it: also of programs that have ended before anybody could ask.

use std::collections::HashMap;
use std::os::unix::fs::MetadataExt;
use std::sync::Arc;

use everwrite_protocol::wire::Origin;
use rustix::param::clock_ticks_per_second;

use super::cgroups::Cgroups;
use super::event::{Actor, KnownProgram, until_zero};
use crate::intake::{OriginId, Origins, Program};

/// Processes remembered; all are forgotten when there are more.
const KNOWN_MAX: usize = 1 << 14;
const NANOSECONDS: u64 = 1_000_000_000;

/// From what the kernel tells of a process to its entry in the table of origins.
pub(super) struct Programs {
    origins: Arc<Origins>,
    cgroups: Cgroups,
    /// Of those that told themselves.
    actors: HashMap<Actor, OriginId>,
    /// Of those of whom only the number is known; numbers are used again, so not for long.
    processes: HashMap<u32, OriginId>,
}

impl Programs {
    pub(super) fn new(origins: Arc<Origins>) -> Self {
        Self {
            origins,
            cgroups: Cgroups::new(),
            actors: HashMap::new(),
            processes: HashMap::new(),
        }
    }

    /// Who did it. `look_up` knows programs that have ended.
    pub(super) fn of_actor(
        &mut self,
        actor: &Actor,
        look_up: impl FnOnce(u32) -> Option<KnownProgram>,
    ) -> OriginId {
        if let Some(known) = self.actors.get(actor) {
            return *known;
        }
        if self.actors.len() >= KNOWN_MAX {
            self.actors.clear();
        }
        let started_ticks = ticks(actor.started);
        let running = Program::of(actor.process)
            .filter(|program| program.process.started_ticks == started_ticks);
        let origin = match running.map(|program| program.origin(actor.user)) {
            Some(origin) if !origin.executable.is_empty() => origin,
            Some(ending) => ending_as(ending, look_up(actor.process)),
            None => self.ended(actor, look_up(actor.process)),
        };
        let id = self.origins.id(origin);
        self.actors.insert(actor.clone(), id);
        id
    }

    /// Who has this number, or had it a moment ago.
    pub(super) fn of_process(
        &mut self,
        process: u32,
        look_up: impl FnOnce(u32) -> Option<KnownProgram>,
    ) -> OriginId {
        if let Some(known) = self.processes.get(&process) {
            return *known;
        }
        let running = || {
            let user = std::fs::metadata(format!("/proc/{process}")).ok()?.uid();
            Some(Program::of(process)?.origin(user))
        };
        let origin = match running() {
            Some(origin) if !origin.executable.is_empty() => origin,
            Some(ending) => ending_as(ending, look_up(process)),
            None => look_up(process)
                .map_or_else(|| nobody(process), |program| self.told(process, &program)),
        };
        let id = self.origins.id(origin);
        self.processes.insert(process, id);
        id
    }

    /// From now on numbers may stand for others.
    pub(super) fn forget_numbers(&mut self) {
        self.processes.clear();
    }

    /// One that has ended: what it told itself, and what it was started as.
    fn ended(&mut self, actor: &Actor, known: Option<KnownProgram>) -> Origin {
        let known = known.filter(|known| known.started == actor.started);
        Origin {
            uid: actor.user,
            started_ticks: ticks(actor.started),
            program: text(until_zero(&actor.program)),
            ..known.map_or_else(
                || nobody(actor.process),
                |known| self.told(actor.process, &known),
            )
        }
    }

    fn told(&mut self, process: u32, program: &KnownProgram) -> Origin {
        Origin {
            pid: process,
            uid: program.user,
            started_ticks: ticks(program.started),
            program: text(until_zero(&program.name)),
            executable: text(&program.executable),
            cgroup: self.cgroups.path(program.cgroup),
        }
    }
}

/// One that is still there, but has let go of what it was started from: the kernel remembers that.
fn ending_as(mut ending: Origin, known: Option<KnownProgram>) -> Origin {
    let same = |known: &KnownProgram| ticks(known.started) == ending.started_ticks;
    if let Some(known) = known.filter(same) {
        ending.executable = text(&known.executable);
    }
    ending
}

/// It has ended, or lives where we can't see it.
fn nobody(process: u32) -> Origin {
    Origin {
        pid: process,
        uid: u32::MAX,
        program: "unknown".to_owned(),
        ..Origin::default()
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// As `/proc/pid/stat` gives it.
fn ticks(nanoseconds: u64) -> u64 {
    nanoseconds / (NANOSECONDS / clock_ticks_per_second())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn actor(process: u32) -> Actor {
        Actor {
            process,
            started: 1_230_000_000,
            user: 5,
            program: *b"gone\0\0\0\0\0\0\0\0\0\0\0\0",
        }
    }

    fn gone(started: u64) -> KnownProgram {
        KnownProgram {
            started,
            user: 5,
            cgroup: 0,
            name: *b"gone\0\0\0\0\0\0\0\0\0\0\0\0",
            executable: b"/bin/gone".to_vec(),
        }
    }

    /// Dead, and not buried.
    #[test]
    fn one_that_is_just_ending_is_known_by_what_it_was_started_from() {
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let process = child.id();
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(30);
        while std::fs::read_link(format!("/proc/{process}/exe")).is_ok() {
            assert!(std::time::Instant::now() < deadline, "it ends");
            std::thread::yield_now();
        }
        let began = Program::of(process).unwrap().process.started_ticks;
        let began = began * (NANOSECONDS / clock_ticks_per_second());
        let origins = Arc::<Origins>::default();
        let executables = |known: &KnownProgram| {
            let mut programs = Programs::new(Arc::clone(&origins));
            let actor = Actor {
                started: began,
                ..actor(process)
            };
            let ids = [
                programs.of_process(process, |_| Some(known.clone())),
                programs.of_actor(&actor, |_| Some(known.clone())),
            ];
            ids.map(|id| origins.origin(id).executable)
        };
        assert_eq!(executables(&gone(began)), ["/bin/gone"; 2]);
        let another = gone(began - NANOSECONDS);
        assert_eq!(executables(&another), [""; 2]);
        child.wait().unwrap();
    }

    #[test]
    fn one_that_has_ended_is_still_known() {
        let origins = Arc::<Origins>::default();
        let mut programs = Programs::new(Arc::clone(&origins));
        let known = gone(1_230_000_000);
        let id = programs.of_actor(&actor(u32::MAX), |_| Some(known.clone()));
        let origin = origins.origin(id);
        assert_eq!((origin.pid, origin.uid), (u32::MAX, 5));
        assert_eq!(origin.program, "gone");
        assert_eq!(origin.executable, "/bin/gone");
        assert_eq!(origin.started_ticks, 123);
        assert_eq!(programs.of_actor(&actor(u32::MAX), |_| None), id);
        assert_eq!(programs.of_process(u32::MAX, |_| Some(known)), id);
    }

    #[test]
    fn a_number_that_has_been_given_again_is_not_mixed_up() {
        let origins = Arc::<Origins>::default();
        let mut programs = Programs::new(Arc::clone(&origins));
        let own = std::process::id();
        let id = programs.of_actor(&actor(own), |_| None);
        assert_eq!(origins.origin(id).program, "gone", "not us: we began later");
        assert_ne!(programs.of_process(own, |_| None), id);
    }

    #[test]
    fn who_is_not_known_is_said_not_to_be() {
        let origins = Arc::<Origins>::default();
        let mut programs = Programs::new(Arc::clone(&origins));
        let id = programs.of_process(u32::MAX, |_| None);
        assert_eq!(origins.origin(id).program, "unknown");
    }
}

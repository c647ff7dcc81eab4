//! Whose changes were announced by whom.

use std::collections::HashMap;

use everwrite_protocol::control::{Changes, ProgramChanges};
use everwrite_protocol::wire::Origin;

use super::count;
use crate::intake::Sources;

/// Programs that are kept apart.
const PROGRAMS_MAX: usize = 256;
/// Stands for all others.
const OTHERS: &str = "(others)";

/// Changes by program, since start.
#[derive(Debug, Default)]
pub struct Programs(HashMap<String, Changes>);

impl Programs {
    /// Counts a change that `origin` made; of what a scan found, nobody knows who it was.
    pub fn count(&mut self, origin: &Origin, sources: Sources) {
        let mut program = name(origin);
        if self.0.len() >= PROGRAMS_MAX && !self.0.contains_key(program) {
            program = OTHERS;
        }
        count(self.0.entry(program.to_owned()).or_default(), sources);
    }

    /// All of them, those with the most changes first.
    pub fn report(&self) -> Vec<ProgramChanges> {
        let programs = self.0.iter().map(|(program, changes)| ProgramChanges {
            program: program.clone(),
            changes: *changes,
        });
        let mut programs: Vec<_> = programs.collect();
        programs.sort_by(|a, b| {
            let most_first = b.changes.all().cmp(&a.changes.all());
            most_first.then_with(|| a.program.cmp(&b.program))
        });
        programs
    }
}

fn name(origin: &Origin) -> &str {
    match (origin.pid, origin.executable.as_str()) {
        (0, _) => "",
        (_, "") => &origin.program,
        (_, executable) => executable,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::intake::Source;

    fn origin(pid: u32, executable: &str) -> Origin {
        Origin {
            pid,
            uid: 0,
            started_ticks: 0,
            program: "p".to_owned(),
            executable: executable.to_owned(),
            cgroup: String::new(),
        }
    }

    #[test]
    fn one_line_a_program_and_the_busiest_first() {
        let mut programs = Programs::default();
        programs.count(&origin(1, "/bin/a"), Source::Shim.into());
        programs.count(&origin(2, "/bin/b"), Source::Kernel.into());
        programs.count(&origin(3, "/bin/b"), Source::Shim.into());
        programs.count(&origin(4, ""), Source::Shim.into());
        programs.count(&origin(0, ""), Source::Scan.into());
        let report = programs.report();
        let names: Vec<_> = report.iter().map(|row| row.program.as_str()).collect();
        assert_eq!(names, ["/bin/b", "", "/bin/a", "p"]);
        assert_eq!((report[0].changes.kernel, report[0].changes.shim), (1, 1));
        assert_eq!(report[1].changes.missed, 1);
    }

    #[test]
    fn it_is_bounded() {
        let mut programs = Programs::default();
        for number in 0..1000 {
            let executable = format!("/bin/{number}");
            programs.count(&origin(1, &executable), Source::Shim.into());
        }
        let report = programs.report();
        assert_eq!(report.len(), PROGRAMS_MAX + 1);
        assert_eq!(report[0].program, OTHERS);
        let all: u64 = report.iter().map(|row| row.changes.all()).sum();
        assert_eq!(all, 1000);
    }
}

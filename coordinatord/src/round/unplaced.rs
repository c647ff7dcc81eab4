//! Names that were told of before their directory was known. Whoever finds the directory finds them, too: should
//! that be a scan, they had been told of nevertheless, and are no misses. Pure.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use everwrite_protocol::ids::Name;
use everwrite_protocol::local::Inode;

use crate::intake::Sources;

/// How long they are remembered: a new directory is found much sooner.
const REMEMBERED: Duration = Duration::from_secs(10);
/// Names that are remembered; all are forgotten when there are more, as in a directory that is excluded.
const NAMES_MAX: usize = 16 * 1024;

/// The names of late.
#[derive(Debug, Default)]
pub struct UnplacedNames(HashMap<(Inode, Name), (Sources, Instant)>);

impl UnplacedNames {
    /// These told of the name now.
    pub(super) fn told(&mut self, directory: Inode, name: Name, sources: Sources, now: Instant) {
        if self.0.len() >= NAMES_MAX {
            self.0.clear();
        }
        let (known, at) = self.0.entry((directory, name)).or_insert((sources, now));
        (*known, *at) = (known.and(sources), now);
    }

    /// Who told of the name.
    pub(super) fn sources(&self, directory: Inode, name: &Name) -> Sources {
        let known = self.0.get(&(directory, name.clone()));
        known.map_or_else(Sources::default, |(sources, _)| *sources)
    }

    /// Forgets what is too old.
    pub fn sweep(&mut self, now: Instant) {
        self.0
            .retain(|_, (_, at)| now.saturating_duration_since(*at) < REMEMBERED);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::intake::Source;

    const DIRECTORY: Inode = Inode {
        device: 1,
        inode: 2,
    };

    fn name(text: &str) -> Name {
        Name::new(text.as_bytes()).unwrap()
    }

    #[test]
    fn what_was_told_is_known_for_a_while() {
        let (mut names, now) = (UnplacedNames::default(), Instant::now());
        names.told(DIRECTORY, name("a"), Source::Shim.into(), now);
        names.told(DIRECTORY, name("a"), Source::Kernel.into(), now);
        let told = names.sources(DIRECTORY, &name("a"));
        assert!(told.has(Source::Shim) && told.has(Source::Kernel));
        assert!(!names.sources(DIRECTORY, &name("b")).announced());
        names.sweep(now + REMEMBERED - Duration::from_millis(1));
        assert!(names.sources(DIRECTORY, &name("a")).announced());
        names.sweep(now + REMEMBERED);
        assert!(!names.sources(DIRECTORY, &name("a")).announced());
    }

    #[test]
    fn their_number_is_bounded() {
        let (mut names, now) = (UnplacedNames::default(), Instant::now());
        for number in 0..2 * NAMES_MAX {
            names.told(
                DIRECTORY,
                name(&number.to_string()),
                Source::Shim.into(),
                now,
            );
        }
        assert!(names.0.len() <= NAMES_MAX);
    }
}

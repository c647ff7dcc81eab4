//! Looks for what there is to be watched, beside everybody: a file system that does not answer holds up
//! nothing but the looking.

use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::area::{Found, areas_of};

/// Whoever looks.
#[derive(Default)]
pub(super) struct Looker {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    wanted: Vec<PathBuf>,
    looking: bool,
}

impl Looker {
    /// These are to be looked for, and nothing else that was asked for before. True when the caller is to
    /// have [`look`](Self::look) run: nobody does.
    pub(super) fn wants(&self, roots: Vec<PathBuf>) -> bool {
        let mut state = self.state();
        state.wanted = roots;
        !std::mem::replace(&mut state.looking, true)
    }

    /// Is it for these that was last asked?
    pub(super) fn is_for(&self, roots: &[PathBuf]) -> bool {
        self.state().wanted == roots
    }

    /// Looks until what it has found is what is wanted by then, and hands that over.
    pub(super) fn look(&self, hand_over: impl FnOnce(Found)) {
        loop {
            let roots = self.state().wanted.clone();
            let found = areas_of(&roots);
            let mut state = self.state();
            if state.wanted == roots {
                state.looking = false;
                // Before anybody else can look, so that nothing older comes after it.
                return hand_over(found);
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_looks_for_what_was_wanted_last() {
        let home = tempfile::tempdir().unwrap();
        let looker = Looker::default();
        assert!(looker.wants(vec!["/nowhere".into()]));
        assert!(
            !looker.wants(vec![home.path().to_owned()]),
            "somebody looks"
        );
        let mut found = None;
        looker.look(|areas| found = Some(areas));
        assert_eq!(found.unwrap().areas.len(), 1);
        assert!(looker.wants(Vec::new()));
    }
}

//! The brake: a root that is missing, unmounted or suddenly empty halts; nothing is deleted. Pure.

/// What is known before a root is listed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct RootFacts {
    /// Something is there, and it is a directory.
    pub is_directory: bool,
    /// It is the directory that was there before (device and inode number), or the first ever.
    pub same_directory: bool,
    /// Names in it now, as far as they are protected.
    pub names_now: usize,
    /// Names in it according to the index.
    pub names_known: usize,
    /// Names that are in both.
    pub names_common: usize,
    /// Somebody said that it is meant to be so.
    pub accepted: bool,
    /// The removal of the last names was announced by hints: a program did it, nothing vanished.
    pub announced: bool,
}

/// Go on, or halt and why.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RootVerdict {
    /// Compare.
    Go,
    /// Nothing at the path, or no directory.
    Missing,
    /// Empty, but was not.
    SuddenlyEmpty,
    /// Another directory with nothing in common.
    Another,
}

impl RootVerdict {
    /// For people; empty when there is nothing to say.
    pub fn reason(self, root: &str, path: &str) -> String {
        let halted = "nothing is deleted at the receiver";
        match self {
            Self::Go => String::new(),
            Self::Missing => format!(
                "{path} is missing or not a directory; halted, {halted}; it goes on by itself when the directory is back (mounted?)"
            ),
            Self::SuddenlyEmpty => format!(
                "{path} is suddenly empty; halted, {halted}; if it is meant to be empty: everwrite reconcile {root} --accept-empty"
            ),
            Self::Another => format!(
                "{path} is another directory than before, with nothing in common; halted, {halted}; if it is meant to be so: everwrite reconcile {root} --accept-empty"
            ),
        }
    }
}

/// Decides whether a root may be compared, which may delete.
pub fn judge_root(facts: RootFacts) -> RootVerdict {
    match facts {
        RootFacts {
            is_directory: false,
            ..
        } => RootVerdict::Missing,
        RootFacts { accepted: true, .. } | RootFacts { names_known: 0, .. } => RootVerdict::Go,
        RootFacts {
            names_now: 0,
            announced: false,
            ..
        } => RootVerdict::SuddenlyEmpty,
        RootFacts {
            names_now: 0,
            same_directory: false,
            ..
        } => RootVerdict::SuddenlyEmpty,
        RootFacts {
            same_directory: false,
            names_common: 0,
            ..
        } => RootVerdict::Another,
        _ => RootVerdict::Go,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const USUAL: RootFacts = RootFacts {
        is_directory: true,
        same_directory: true,
        names_now: 3,
        names_known: 3,
        names_common: 3,
        accepted: false,
        announced: false,
    };

    #[test]
    fn every_case() {
        let cases = [
            (USUAL, RootVerdict::Go),
            (
                RootFacts {
                    is_directory: false,
                    ..USUAL
                },
                RootVerdict::Missing,
            ),
            (
                RootFacts {
                    is_directory: false,
                    accepted: true,
                    ..USUAL
                },
                RootVerdict::Missing,
            ),
            (
                RootFacts {
                    names_now: 0,
                    names_common: 0,
                    ..USUAL
                },
                RootVerdict::SuddenlyEmpty,
            ),
            (
                RootFacts {
                    names_now: 0,
                    announced: true,
                    ..USUAL
                },
                RootVerdict::Go,
            ),
            (
                RootFacts {
                    names_now: 0,
                    announced: true,
                    same_directory: false,
                    ..USUAL
                },
                RootVerdict::SuddenlyEmpty,
            ),
            (
                RootFacts {
                    names_now: 0,
                    accepted: true,
                    ..USUAL
                },
                RootVerdict::Go,
            ),
            (
                RootFacts {
                    names_now: 0,
                    names_known: 0,
                    ..USUAL
                },
                RootVerdict::Go,
            ),
            (
                RootFacts {
                    same_directory: false,
                    names_common: 0,
                    ..USUAL
                },
                RootVerdict::Another,
            ),
            (
                RootFacts {
                    same_directory: false,
                    ..USUAL
                },
                RootVerdict::Go,
            ),
        ];
        for (facts, verdict) in cases {
            assert_eq!(judge_root(facts), verdict, "{facts:?}");
        }
    }
}

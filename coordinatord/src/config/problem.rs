//! What can be wrong with a configuration or with a wish to change it, in words for people.

use std::path::PathBuf;

use everwrite_protocol::control::ApiError;

/// Exit code: the arguments or the configuration are wrong.
const EXIT_USAGE: u8 = 2;
/// Exit code: refused for safety.
const EXIT_REFUSED: u8 = 4;

/// A rule that a configuration breaks.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Problem {
    /// Not usable as a name.
    #[error("{what} name {name:?}: {cause}")]
    Name {
        /// `root` or `receiver`.
        what: &'static str,
        /// As given.
        name: String,
        /// Why.
        cause: &'static str,
    },
    /// Two with the same name.
    #[error("{what} {name:?} exists already")]
    Duplicate {
        /// `root` or `receiver`.
        what: &'static str,
        /// The name.
        name: String,
    },
    /// Not `HOST:PORT`.
    #[error("receiver address {0:?} is not HOST:PORT")]
    Address(String),
    /// Not 64 hexadecimal digits.
    #[error("receiver {0:?}: a fingerprint is 64 hexadecimal digits")]
    Fingerprint(String),
    /// Neither or both kinds of place.
    #[error("receiver {0:?} needs either `address` and `fingerprint`, or `directory`")]
    Place(String),
    /// A path that is relative, or has `.` or `..` in it.
    #[error("{0:?} is not an absolute path without `.` and `..`")]
    Path(PathBuf),
    /// A path in hexadecimal digits that are not any.
    #[error("a path given as `hex` needs an even number of hexadecimal digits")]
    Hex,
    /// No such receiver.
    #[error("root {root:?} goes to {to:?}, which is no receiver that is paired")]
    NoReceiver {
        /// The root.
        root: String,
        /// As given.
        to: String,
    },
    /// None is paired.
    #[error("no receiver is paired yet")]
    NothingPaired,
    /// Several are paired, none was named.
    #[error("several receivers are paired: {}", .0.join(", "))]
    WhichReceiver(Vec<String>),
    /// A root inside a root, to the same receiver.
    #[error("{path:?} overlaps root {root:?} ({root_path:?})")]
    Overlap {
        /// The new one.
        path: PathBuf,
        /// The root that is there.
        root: String,
        /// Its path.
        root_path: PathBuf,
    },
    /// The embedded receiver's store holds the root.
    #[error("{root:?} lies in the store {store:?} that it would be backed up to")]
    InsideStore {
        /// The root's path.
        root: PathBuf,
        /// The store.
        store: PathBuf,
    },
    /// No such root.
    #[error("no root is called {0:?}")]
    NoRoot(String),
    /// The pattern is not one.
    #[error("exclude pattern {pattern:?}: {cause}")]
    Pattern {
        /// As given.
        pattern: String,
        /// Why.
        cause: String,
    },
    /// A number out of its range.
    #[error("{key} is {value}; it must be {range}")]
    Range {
        /// Key in the file.
        key: &'static str,
        /// As given.
        value: u64,
        /// Allowed, in words.
        range: &'static str,
    },
}

impl Problem {
    /// What to do next.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Name { .. } => "choose another with --name",
            Self::Duplicate { what: "root", .. } => {
                "choose another with --name, or `everwrite unprotect` the old one first"
            }
            Self::Duplicate { .. } => "choose another with --name",
            Self::Address(_) => "write it as backup.example:7411 or [::1]:7411",
            Self::Fingerprint(_) => {
                "pair again: `everwrite-receiver pair` there, `everwrite pair CODE` here"
            }
            Self::Place(_) => "let `everwrite pair` or `everwrite protect --to dir:PATH` write it",
            Self::Path(_) => "give the directory's full path",
            Self::Hex => "let `everwrite protect` write it",
            Self::NoReceiver { .. } => {
                "see `everwrite status` for those that are paired; pair with `everwrite pair CODE`"
            }
            Self::NothingPaired => {
                "run `everwrite-receiver pair` at the receiver and `everwrite pair CODE` here, or protect with --to dir:PATH"
            }
            Self::WhichReceiver(_) => "name one with --to",
            Self::Overlap { .. } => {
                "a root protects all below it, so two can't overlap; `everwrite unprotect` the old one first"
            }
            Self::InsideStore { .. } => "use a store outside of the root",
            Self::NoRoot(_) => "see `everwrite status` for the roots",
            Self::Pattern { .. } => "patterns are those of gitignore(5)",
            Self::Range { .. } => "choose another value",
        }
    }

    fn exit(&self) -> u8 {
        match self {
            Self::Overlap { .. } | Self::InsideStore { .. } => EXIT_REFUSED,
            _ => EXIT_USAGE,
        }
    }
}

impl From<Problem> for ApiError {
    fn from(problem: Problem) -> Self {
        Self {
            error: problem.to_string(),
            hint: problem.hint().to_owned(),
            exit: problem.exit(),
        }
    }
}

/// Why the configuration could not be loaded or written.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// Not readable.
    #[error("read configuration {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Cause.
        source: std::io::Error,
    },
    /// Not TOML, or keys that don't exist.
    #[error("configuration {}: {message}", path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// Where and why, several lines.
        message: String,
    },
    /// Breaks a rule.
    #[error("configuration {}: {problem}; {}", path.display(), problem.hint())]
    Invalid {
        /// The file.
        path: PathBuf,
        /// The rule.
        problem: Problem,
    },
    /// Not writable.
    #[error("write configuration {}: {source}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Cause.
        source: std::io::Error,
    },
}

impl ConfigError {
    fn hint(&self) -> &'static str {
        let (Self::Read { source, .. } | Self::Write { source, .. }) = self else {
            return "correct the file and try again";
        };
        match source.kind() {
            std::io::ErrorKind::PermissionDenied => {
                "it belongs to the user who runs the coordinator; try with sudo"
            }
            _ => "mend that and try again",
        }
    }
}

impl From<ConfigError> for ApiError {
    fn from(error: ConfigError) -> Self {
        Self {
            error: error.to_string(),
            hint: error.hint().to_owned(),
            exit: EXIT_USAGE,
        }
    }
}

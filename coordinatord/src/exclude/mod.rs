//! What a root does not protect: gitignore rules, and directories of our own.
//!
//! Rules come from the configuration (for all roots, then for this one) and from the file
//! `.everwriteignore` at the root's top; the last rule that matches decides, so that the file can
//! take back what the configuration excludes. As in git, what lies in an excluded directory can't
//! be taken back. Nothing is excluded unless somebody asked for it, save the state and stores of
//! Everwrite itself: each batch stored changes them, which would make the next batch.
//!
//! Names need not be UTF-8; patterns, being text, are. Unlike git, `{a,b}` means either of the two.

mod explain;

use std::ffi::OsStr;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use ignore::gitignore::{Gitignore, GitignoreBuilder};

use crate::config::{Config, Place, Root};

pub use explain::explain;

/// Name of the file with a root's own rules, at its top.
pub const RULES_FILE: &str = ".everwriteignore";
/// Rules beyond so many bytes are not read.
const RULES_BYTES_MAX: u64 = 1 << 20;

/// Why something is not protected.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Reason {
    /// Our own state or store.
    #[error("Everwrite keeps its own files in {}", .0.display())]
    Own(PathBuf),
    /// A rule of the configuration.
    #[error("rule `{0}` of the configuration excludes it")]
    Configured(String),
    /// A rule of the root's file.
    #[error("rule `{0}` of {RULES_FILE} excludes it")]
    RulesFile(String),
}

/// What a reload found.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Reload {
    /// The rules are others than before: compare the whole root.
    pub changed: bool,
    /// Lines that are no patterns, or a file that can't be read. What they would have excluded is
    /// protected.
    pub warnings: Vec<String>,
}

/// The rules of one root.
#[derive(Clone, Debug)]
pub struct Excludes {
    root: PathBuf,
    own: Vec<PathBuf>,
    configured: Vec<String>,
    rules_file: Vec<u8>,
    rules: Gitignore,
}

impl Excludes {
    /// Rules for `root`; `own` are directories of our own besides the embedded stores of `config`.
    /// The root's rules file is read by [`reload`](Self::reload), which the caller does first.
    pub fn new(root: &Root, config: &Config, own: &[PathBuf]) -> Self {
        let stores = config
            .receivers
            .iter()
            .filter_map(|receiver| match &receiver.place {
                Place::Directory(store) => Some(store.as_path()),
                Place::Network { .. } => None,
            });
        let inside = |path: &Path| path.strip_prefix(&root.path).ok().map(Path::to_owned);
        let configured: Vec<_> = config
            .exclude
            .iter()
            .chain(&root.exclude)
            .cloned()
            .collect();
        let (rules, _) = compile(&configured, b"");
        Self {
            own: stores
                .chain(own.iter().map(PathBuf::as_path))
                .filter_map(inside)
                .collect(),
            root: root.path.clone(),
            configured,
            rules_file: Vec::new(),
            rules,
        }
    }

    /// Why the file at `relative` (bytes, below the root) is not protected; `None`: it is. Looks at
    /// the directories above it too, outermost first.
    pub fn excluded(&self, relative: &[u8], is_dir: bool) -> Option<Reason> {
        let above = relative
            .iter()
            .enumerate()
            .filter(|(_, byte)| **byte == b'/');
        above
            .map(|(end, _)| &relative[..end])
            .find_map(|directory| self.excluded_here(directory, true))
            .or_else(|| self.excluded_here(relative, is_dir))
    }

    /// The same for callers that come from a directory which they know to be protected.
    pub fn excluded_here(&self, relative: &[u8], is_dir: bool) -> Option<Reason> {
        let path = Path::new(OsStr::from_bytes(relative));
        if self.own.iter().any(|own| own == path) {
            return Some(Reason::Own(self.root.join(path)));
        }
        match self.rules.matched(path, is_dir) {
            ignore::Match::Ignore(rule) if rule.from().is_some() => {
                Some(Reason::RulesFile(rule.original().to_owned()))
            }
            ignore::Match::Ignore(rule) => Some(Reason::Configured(rule.original().to_owned())),
            ignore::Match::None | ignore::Match::Whitelist(_) => None,
        }
    }

    /// Whether `relative` is the file whose change calls for a [`reload`](Self::reload).
    pub fn is_rules_file(relative: &[u8]) -> bool {
        relative == RULES_FILE.as_bytes()
    }

    /// Are there any rules at all?
    pub fn has_rules(&self) -> bool {
        !self.rules.is_empty()
    }

    /// Reads the root's rules file again.
    pub fn reload(&mut self) -> Reload {
        let path = self.root.join(RULES_FILE);
        match read(&path) {
            Ok(text) if text == self.rules_file => Reload::default(),
            Ok(text) => {
                let (rules, warnings) = compile(&self.configured, &text);
                (self.rules, self.rules_file) = (rules, text);
                Reload {
                    changed: true,
                    warnings,
                }
            }
            Err(error) => {
                let changed = !self.rules_file.is_empty();
                (self.rules, _) = compile(&self.configured, b"");
                self.rules_file.clear();
                Reload {
                    changed,
                    warnings: vec![format!("{}: {error}", path.display())],
                }
            }
        }
    }
}

/// The file's bytes; none when there is no such file.
fn read(path: &Path) -> std::io::Result<Vec<u8>> {
    let file = match std::fs::File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut text = Vec::new();
    if file.metadata()?.is_file() {
        file.take(RULES_BYTES_MAX).read_to_end(&mut text)?;
    }
    Ok(text)
}

/// One matcher of all rules, the file's last; and what is wrong with some of them.
fn compile(configured: &[String], rules_file: &[u8]) -> (Gitignore, Vec<String>) {
    let mut builder = GitignoreBuilder::new("");
    let mut warnings = Vec::new();
    for pattern in configured {
        // Checked when the configuration was read.
        let _ = builder.add_line(None, pattern);
    }
    for (number, line) in rules_file.split(|byte| *byte == b'\n').enumerate() {
        let from = Some(PathBuf::from(RULES_FILE));
        let added = match std::str::from_utf8(line) {
            Ok(line) => builder
                .add_line(from, line)
                .map(drop)
                .map_err(|error| error.to_string()),
            Err(_) => Err("not UTF-8".to_owned()),
        };
        if let Err(error) = added {
            warnings.push(format!("{RULES_FILE}, line {}: {error}", number + 1));
        }
    }
    let rules = builder.build().unwrap_or_else(|error| {
        warnings.push(format!("{RULES_FILE}: {error}"));
        Gitignore::empty()
    });
    (rules, warnings)
}

#[cfg(test)]
mod tests;

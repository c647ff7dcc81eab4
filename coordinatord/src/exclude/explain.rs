//! Why a path is, or is not, protected by what is configured.

use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use everwrite_protocol::control::{Explanation, PathText};

use super::Excludes;
use crate::config::{Config, Paths, Root};

/// Explains `path` (absolute, without `..`) by configuration and rules; neither the switch nor the
/// index is looked at.
pub fn explain(config: &Config, paths: &Paths, path: &Path) -> Explanation {
    let (root, verdict) = match config.root_of(path) {
        Some(root) => (Some(root), in_root(root, config, paths, path)),
        None => (None, Err(outside(config))),
    };
    let (protected, reason) = match verdict {
        Ok(reason) => (true, reason),
        Err(reason) => (false, reason),
    };
    Explanation {
        path: PathText::from_bytes(path.as_os_str().as_bytes()),
        protected,
        reason,
        root: root.map(|root| root.name.clone()),
        last_stored: None,
    }
}

fn outside(config: &Config) -> String {
    match config.roots.is_empty() {
        true => "no root is protected".to_owned(),
        false => {
            "it lies in no protected root; `everwrite protect DIR` protects a directory".to_owned()
        }
    }
}

/// `Ok` with the reason why it is protected, `Err` with the reason why not.
fn in_root(root: &Root, config: &Config, paths: &Paths, path: &Path) -> Result<String, String> {
    let mut excludes = Excludes::new(root, config, &paths.own_directories());
    excludes.reload();
    let relative = path
        .strip_prefix(&root.path)
        .unwrap_or(path)
        .as_os_str()
        .as_bytes();
    let found = path.symlink_metadata();
    let is_dir = found.as_ref().is_ok_and(std::fs::Metadata::is_dir);
    if let Some(reason) = (!relative.is_empty())
        .then(|| excludes.excluded(relative, is_dir))
        .flatten()
    {
        return Err(reason.to_string());
    }
    let holder = format!("root {} ({}) holds it", root.name, root.path.display());
    match found {
        Ok(_) => Ok(format!("{holder} and no rule excludes it")),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(format!(
            "{holder} and no rule excludes it; it does not exist now"
        )),
        Err(error) => Err(format!("{holder}, but it can't be read: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reason_is_named() {
        let tree = tempfile::tempdir().unwrap();
        let top = tree.path();
        std::fs::write(top.join(super::super::RULES_FILE), "*.o\n").unwrap();
        std::fs::write(top.join("a.c"), "").unwrap();
        let text = format!(
            "[[receivers]]\nname = 'd'\ndirectory = '/store'\n\
             [[roots]]\nname = 'r'\npath = '{}'\nto = 'd'\n",
            top.display()
        );
        let config = Config::parse(&text, Path::new("/c")).unwrap();
        let paths = Paths::at_home(&top.join("home")).unwrap();
        let cases = [
            ("a.c", true, "no rule excludes it"),
            ("a.o", false, "rule `*.o` of .everwriteignore"),
            ("gone", true, "does not exist now"),
            ("home/state/x", false, "keeps its own files"),
            ("", true, "root r"),
        ];
        for (relative, protected, reason) in cases {
            let explanation = explain(&config, &paths, &top.join(relative));
            assert_eq!(
                explanation.protected, protected,
                "{relative}: {explanation:?}"
            );
            assert!(
                explanation.reason.contains(reason),
                "{relative}: {explanation:?}"
            );
        }
        assert!(!explain(&config, &paths, Path::new("/elsewhere")).protected);
    }
}

//! Roots: are the directories there, and can they be read.

use rustix::fs::{Access, access};

use super::Finding;
use crate::config::{Config, Root};

pub(super) fn look(config: &Config) -> Vec<Finding> {
    if config.roots.is_empty() {
        return vec![Finding::bad(
            "roots",
            "no root is protected",
            "`everwrite protect DIR`",
        )];
    }
    config.roots.iter().map(root).collect()
}

fn root(root: &Root) -> Finding {
    let subject = format!("root {}", root.name);
    let path = root.path.display();
    match root.path.symlink_metadata() {
        Err(error) => Finding::bad(
            &subject,
            format!("{path}: {error}"),
            "mount it, or `everwrite unprotect` it; nothing of it is deleted at the receiver",
        ),
        Ok(found) if !found.is_dir() => Finding::bad(
            &subject,
            format!("{path} is no longer a directory"),
            "put the directory back, or `everwrite unprotect` the root",
        ),
        Ok(_) => match access(&root.path, Access::READ_OK | Access::EXEC_OK) {
            Ok(()) => Finding::good(&subject, format!("{path} is there, to {}", root.to)),
            Err(error) => Finding::warning(
                &subject,
                format!("{path}: {error} for this user"),
                "the coordinator's user must be able to read it",
            ),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::super::Verdict;
    use super::*;

    #[test]
    fn a_root_must_be_a_directory() {
        let tree = tempfile::tempdir().unwrap();
        std::fs::write(tree.path().join("file"), "").unwrap();
        let cases = [
            ("", Verdict::Good),
            ("file", Verdict::Bad),
            ("gone", Verdict::Bad),
        ];
        for (name, verdict) in cases {
            let found = root(&Root {
                name: "r".to_owned(),
                path: tree.path().join(name),
                to: "d".to_owned(),
                rpo_ms: 1000,
                durable_fsync: false,
                exclude: vec![],
            });
            assert_eq!(found.verdict, verdict, "{found:?}");
        }
        assert_eq!(look(&Config::default())[0].verdict, Verdict::Bad);
    }
}

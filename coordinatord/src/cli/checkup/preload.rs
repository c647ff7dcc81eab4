//! The shim in every program: in place, and what it says to a coordinator elsewhere.

use std::path::Path;

use everwrite_protocol::local::RUN_DIRECTORY_DEFAULT;

use super::Finding;
use crate::cli::preloading::LINE_FILE;
use crate::cli::preloading::root::Root;
use crate::cli::preloading::standing::Standing;
use crate::config::Paths;

const SUBJECT: &str = "every program";

pub(super) fn look(paths: &Paths) -> Vec<Finding> {
    let root = Root::at(Path::new("/")).ok();
    let standing = root.map(|root| Standing::look(&root));
    match standing {
        Some(Ok(standing)) => vec![of_line(&standing, paths.run())],
        Some(Err(error)) => vec![Finding::bad(
            SUBJECT,
            format!("{LINE_FILE}: {error}"),
            "every program reads it: mend its rights",
        )],
        None => Vec::new(),
    }
}

fn of_line(standing: &Standing, run: &Path) -> Finding {
    let Some(line) = &standing.line else {
        let found = "without the shim, but for those that `everwrite run` starts";
        return Finding::note(SUBJECT, found);
    };
    let found = |what: &str| format!("{LINE_FILE} has {line}: {what}");
    let install = "`everwrite preload install`";
    match (standing.in_place, standing.is_current()) {
        (false, _) => {
            let hint = "`everwrite preload install` or `everwrite preload remove`";
            Finding::bad(SUBJECT, found("it leads to no sound shim"), hint)
        }
        _ if run != Path::new(RUN_DIRECTORY_DEFAULT) => Finding::warning(
            SUBJECT,
            found("programs look for the coordinator in /run/everwrite, this one is elsewhere"),
            "run the coordinator without --home and EVERWRITE_HOME",
        ),
        (true, false) => Finding::warning(SUBJECT, found("of another version"), install),
        (true, true) => Finding::good(SUBJECT, found("they have the shim when they start")),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Verdict;
    use super::*;
    use crate::cli::preloading::standing::Library;

    #[test]
    fn the_worst_is_told() {
        let standing = |line: bool, is_shim, is_current_shim| Standing {
            line: line.then(|| "/l.so".to_owned()),
            libraries: vec![Library {
                path: "/l.so".into(),
                is_shim,
                is_current_shim,
            }],
            in_place: is_shim,
        };
        let system = Path::new(RUN_DIRECTORY_DEFAULT);
        let cases = [
            (standing(false, false, false), system, Verdict::Note),
            (standing(true, false, false), system, Verdict::Bad),
            (standing(true, true, false), system, Verdict::Warning),
            (
                standing(true, true, true),
                Path::new("/h/run"),
                Verdict::Warning,
            ),
            (standing(true, true, true), system, Verdict::Good),
        ];
        for (standing, run, expected) in cases {
            assert_eq!(of_line(&standing, run).verdict, expected, "{standing:?}");
        }
    }
}

//! Tables of rules against git's meaning of them.

use super::*;

fn root(path: &Path, exclude: &[&str]) -> Root {
    Root {
        name: "r".to_owned(),
        path: path.to_owned(),
        to: "d".to_owned(),
        rpo_ms: 1000,
        durable_fsync: false,
        exclude: exclude.iter().map(|&pattern| pattern.to_owned()).collect(),
    }
}

fn rules(text: &str) -> Excludes {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join(RULES_FILE), text).unwrap();
    let mut excludes = Excludes::new(&root(directory.path(), &[]), &Config::default(), &[]);
    assert_eq!(
        excludes.reload(),
        Reload {
            changed: true,
            warnings: vec![]
        }
    );
    excludes
}

#[test]
fn rules_mean_what_they_mean_in_git() {
    const FILE: bool = false;
    const DIRECTORY: bool = true;
    // Rules, path, kind, excluded?
    let cases = [
        ("*.o", "a.o", FILE, true),
        ("*.o", "deep/down/a.o", FILE, true),
        ("*.o\n!keep.o", "keep.o", FILE, false),
        ("*.o\n!keep.o", "x/keep.o", FILE, false),
        ("/top", "top", FILE, true),
        ("/top", "sub/top", FILE, false),
        ("build/", "build", DIRECTORY, true),
        ("build/", "build", FILE, false),
        ("build/", "build/x/y", FILE, true),
        ("build/\n!build/x", "build/x", FILE, true),
        ("build/*\n!build/x", "build/x", FILE, false),
        ("a/b", "a/b", FILE, true),
        ("a/b", "x/a/b", FILE, false),
        ("**/b", "x/y/b", FILE, true),
        ("a/**/b", "a/x/y/b", FILE, true),
        ("# a", "# a", FILE, false),
        ("\\#a", "#a", FILE, true),
        ("a\\ ", "a ", FILE, true),
        ("*.[oa]", "x.a", FILE, true),
        ("a?c", "abc", FILE, true),
        ("a?c", "a/c", FILE, false),
    ];
    for (text, path, is_dir, expected) in cases {
        let found = rules(text).excluded(path.as_bytes(), is_dir);
        assert_eq!(found.is_some(), expected, "{text:?} on {path:?}: {found:?}");
    }
}

#[test]
fn names_need_not_be_text() {
    let excludes = rules("*.o\n");
    assert!(excludes.excluded(b"\xff/\xfe.o", false).is_some());
    assert!(excludes.excluded(b"\xff/\xfe.c", false).is_none());
}

#[test]
fn the_file_takes_back_what_the_configuration_excludes() {
    let directory = tempfile::tempdir().unwrap();
    let config = Config {
        exclude: vec!["*.o".to_owned()],
        ..Config::default()
    };
    let mut excludes = Excludes::new(&root(directory.path(), &["*.a"]), &config, &[]);
    assert_eq!(excludes.reload(), Reload::default());
    assert_eq!(
        excludes.excluded(b"x.o", false),
        Some(Reason::Configured("*.o".to_owned()))
    );
    assert_eq!(
        excludes.excluded(b"x.a", false),
        Some(Reason::Configured("*.a".to_owned()))
    );

    std::fs::write(directory.path().join(RULES_FILE), "!*.o\n*.c\n").unwrap();
    assert!(excludes.reload().changed);
    assert_eq!(excludes.excluded(b"x.o", false), None);
    assert_eq!(
        excludes.excluded(b"x.c", false),
        Some(Reason::RulesFile("*.c".to_owned()))
    );

    std::fs::remove_file(directory.path().join(RULES_FILE)).unwrap();
    assert!(excludes.reload().changed);
    assert_eq!(excludes.excluded(b"x.c", false), None);
}

#[test]
fn a_line_that_is_no_pattern_excludes_nothing_and_is_named() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join(RULES_FILE), b"*.o\na{b\n\xff\n").unwrap();
    let mut excludes = Excludes::new(&root(directory.path(), &[]), &Config::default(), &[]);
    let reload = excludes.reload();
    assert_eq!(reload.warnings.len(), 2, "{reload:?}");
    assert!(reload.warnings[0].contains("line 2") && reload.warnings[1].contains("line 3"));
    assert!(excludes.excluded(b"x.o", false).is_some());
}

#[test]
fn our_own_files_are_never_protected() {
    let config = Config {
        receivers: vec![crate::config::Receiver {
            name: "d".to_owned(),
            place: Place::Directory("/r/disk/store".into()),
        }],
        ..Config::default()
    };
    let own = ["/r/home/state".into(), "/elsewhere".into()];
    let excludes = Excludes::new(&root(Path::new("/r"), &["!state"]), &config, &own);
    for inside in [
        "disk/store",
        "disk/store/src/x",
        "home/state",
        "home/state/lock",
    ] {
        assert!(
            excludes.excluded(inside.as_bytes(), true).is_some(),
            "{inside}"
        );
    }
    for outside in ["disk", "home", "home/config.toml", "elsewhere"] {
        assert!(
            excludes.excluded(outside.as_bytes(), true).is_none(),
            "{outside}"
        );
    }
}

#[test]
fn nothing_is_excluded_by_default() {
    let excludes = Excludes::new(&root(Path::new("/r"), &[]), &Config::default(), &[]);
    for path in [".git", "node_modules", ".cache", "x.swp", "x~", RULES_FILE] {
        assert!(excludes.excluded(path.as_bytes(), true).is_none(), "{path}");
    }
}

//! What people and other programs write and the coordinator reads: its configuration, rules of what is
//! excluded. (Segments of shared memory are filled at random by the tests of `intake`.)

#[path = "../../protocol/tests/fuzzing/mod.rs"]
mod fuzzing;

use std::path::Path;

use everwrite_coordinatord::config::Config;
use everwrite_coordinatord::exclude::{Excludes, RULES_FILE};

const EXAMPLE: &str = include_str!("../src/config/example.toml");

fn fuzz(name: (&str, u64), samples: &[Vec<u8>], target: impl Fn(&[u8])) {
    fuzzing::fuzz(env!("CARGO_MANIFEST_DIR"), name, samples, target);
}

fn configured(root: &Path) -> Config {
    let text = format!(
        "[[receivers]]\nname = 'd'\ndirectory = '/store'\n\
         [[roots]]\nname = 'r'\npath = '{}'\nto = 'd'\n",
        root.display()
    );
    Config::parse(&text, Path::new("/c.toml")).unwrap()
}

#[test]
fn configurations() {
    let uncommented: String = EXAMPLE
        .lines()
        .filter(|line| !line.starts_with('#'))
        .fold(String::new(), |text, line| text + line + "\n");
    let path = Path::new("/c.toml");
    fuzz(
        ("configuration", 10),
        &[uncommented.into_bytes()],
        |bytes| {
            let text = String::from_utf8_lossy(bytes);
            if let Err(error) = Config::parse(&text, path) {
                assert!(!error.to_string().is_empty());
            }
        },
    );
}

/// Whatever the rules are: the file with the rules can be read again, and the root itself stays.
#[test]
fn rules() {
    let directory = tempfile::tempdir().unwrap();
    let config = configured(directory.path());
    let rules = [
        "*.o\n!keep.o\n/build/\n",
        "a/**/b\n**/c\n[a-z]?\\ \n{x,y}\n",
        "# comment\n\\#file\n\u{ff}\n",
    ];
    let rules = rules.map(|text| text.as_bytes().to_vec());
    fuzz(("rules", 10), &rules, |bytes| {
        std::fs::write(directory.path().join(RULES_FILE), bytes).unwrap();
        let mut excludes = Excludes::new(&config.roots[0], &config, &[]);
        excludes.reload();
        for path in [&b"a/b/c"[..], b"keep.o", b"\xff\xfe", b"x"] {
            let within = excludes.excluded(path, false).is_some();
            let here = excludes.excluded_here(path, false).is_some();
            assert!(within || !here, "excluded here, and yet not");
        }
    });
}

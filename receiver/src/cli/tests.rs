//! What the parser takes and refuses.

use clap::CommandFactory;

use super::*;

fn parse(line: &str) -> Result<Arguments, clap::Error> {
    let program = std::iter::once("everwrite-receiver");
    Arguments::try_parse_from(program.chain(line.split_whitespace()))
}

#[test]
fn the_definition_is_sound() {
    Arguments::command().debug_assert();
}

#[test]
fn the_contract_s_lines_are_taken() {
    let lines = [
        "serve --store /s --listen h:1",
        "pair --store /s --json",
        "sources --store /s --json",
        "log --store /s",
        "log r/a -n 5 --before @17 --store /s --json",
        "ls --store /s --at yesterday --json",
        "cat r/a --store /s --source host --at @17 --json",
        "restore r/a --at yesterday --to /x --dry-run --store /s --json",
        "verify --store /s --source 0a --json",
        "mirror --store /s --source 0a --root r --json",
        "stats --store /s --json",
    ];
    for line in lines {
        if let Err(error) = parse(line) {
            panic!("{line}: {error}");
        }
    }
}

#[test]
fn what_is_wrong_is_a_usage_error() {
    for line in [
        "",
        "frobnicate",
        "ls",
        "restore r --store /s",
        "log -n 0 --store /s",
    ] {
        let error = parse(line).map(drop).unwrap_err();
        assert_eq!(Exit::parsing(&error), Exit::Usage, "{line}");
    }
    assert_eq!(
        Exit::parsing(&parse("--help").map(drop).unwrap_err()),
        Exit::Done
    );
}

//! What the parser takes and refuses.

use clap::CommandFactory;

use super::*;

fn parse(line: &str) -> Result<Arguments, clap::Error> {
    Arguments::try_parse_from(std::iter::once("everwrite").chain(line.split_whitespace()))
}

#[test]
fn the_definition_is_sound() {
    Arguments::command().debug_assert();
}

#[test]
fn the_contract_s_lines_are_taken() {
    let lines = [
        "protect /d --name r --to dir:/s --rpo 1s",
        "protect /d --wait --json",
        "protect /d --no-wait --home /h",
        "unprotect r",
        "run -- sh -c true",
        "run sh -c --json",
        "on",
        "off --for 1h",
        "status --watch",
        "--json status",
        "sync --timeout 30s --applied",
        "reconcile",
        "reconcile r --accept-empty",
        "verify",
        "verify /d",
        "restore /d --at @17",
        "restore /d --at yesterday --to /x --dry-run",
        "restore r:d --at yesterday --in-place --delete --json",
        "explain /p",
        "preload check",
        "preload install --without-32-bit --root /mnt",
        "preload remove --json",
        "preload --root /mnt status --all",
        "coverage --all",
        "doctor --json",
        "pair h:1#secret --name attic",
        "checkpoint before-upgrade",
        "log",
        "log r:a -n 5 --before @17",
        "deleted /d",
        "points --checkpoints",
        "ls --at yesterday",
        "cat /d/f --at @17",
        "diff /d --at 10m-ago --until now",
    ];
    for line in lines {
        if let Err(error) = parse(line) {
            panic!("{line}: {error}");
        }
    }
}

#[test]
fn what_is_wrong_is_a_usage_error() {
    let lines = [
        "",
        "frobnicate",
        "status --colour",
        "sync --timeout 30",
        "run",
        "off --for ever",
        "preload",
        "preload upgrade",
    ];
    for line in lines {
        let error = parse(line).map(drop).unwrap_err();
        assert_eq!(error.exit_code(), 2, "{line}");
    }
}

#[test]
fn a_command_s_own_options_are_not_ours() {
    let Command::Run(run) = parse("run git --json --home x").unwrap().command else {
        panic!("not run");
    };
    assert!(format!("{run:?}").contains("--home"));
}

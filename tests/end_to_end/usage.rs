//! Mistakes at the command line: a clear message, the promised exit code, nothing done.

use harness::{Outcome, Place, Receiver, Source};

#[track_caller]
fn says(outcome: Outcome, code: i32, words: &str) {
    let outcome = outcome.exits(code);
    assert!(
        outcome.stderr.contains(words),
        "{words:?} is not said: {}",
        outcome.stderr
    );
}

#[test]
fn mistakes_are_told() {
    let place = Place::new();
    let receiver = Receiver::start(&place, "store");
    let mut source = Source::start(&place, "home");
    let tree = place.directory("tree").display().to_string();

    says(
        source.everwrite(["status", "--no-such-option"]),
        2,
        "--no-such-option",
    );
    says(source.everwrite(["no-such-command"]), 2, "no-such-command");
    says(
        receiver.store().ask("ls", &["--no-such-option"]),
        2,
        "--no-such-option",
    );
    says(source.everwrite(["protect", &tree]), 2, "pair");
    says(source.everwrite(["pair", "not a code"]), 2, "code");
    says(
        source.everwrite(["restore", "/no/such/path", "--at", "whenever"]),
        2,
        "whenever",
    );

    let code = receiver.pairing_code();
    let wrong = |at: usize| {
        let (address, secret) = code.split_once('#').expect("HOST:PORT#SECRET");
        let other = if secret[at..].starts_with('a') {
            "b"
        } else {
            "a"
        };
        format!("{address}#{}{other}{}", &secret[..at], &secret[at + 1..])
    };
    // The first characters say which certificate to expect, the last are the secret.
    says(source.everwrite(["pair", &wrong(0)]), 1, "certificate");
    says(source.everwrite(["pair", &wrong(70)]), 1, "code");
    source.pair(&code);
    says(source.everwrite(["pair", &code]), 1, "code");

    let missing = format!("{tree}/missing");
    says(source.everwrite(["protect", &missing]), 2, &missing);
    says(source.everwrite(["unprotect", "nothing"]), 2, "nothing");
    let outcome = source.everwrite(["run", "--", "/no/such/program"]);
    assert!(
        outcome.stderr.contains("/no/such/program"),
        "{}",
        outcome.stderr
    );

    source.kill();
    says(source.everwrite(["status"]), 3, "everwrite-coordinatord");
    says(source.everwrite(["sync"]), 3, "everwrite-coordinatord");
}

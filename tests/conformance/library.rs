//! The library as a file: what it may be made of.

use std::process::Command;

use harness::artifacts::shim;

fn output_of(program: &str, arguments: &[&str]) -> String {
    harness::run(Command::new(program).args(arguments).arg(shim()))
        .success()
        .text()
}

#[test]
fn needs_no_library_and_no_symbol() {
    assert!(!output_of("readelf", &["-d"]).contains("NEEDED"));
    for line in output_of("nm", &["-D", "--undefined-only"]).lines() {
        assert!(
            line.trim_start().starts_with("w "),
            "a strong import: {line}"
        );
        assert!(!line.contains('@'), "a version: {line}");
    }
    assert!(!output_of("readelf", &["-V"]).contains("Version needs"));
}

/// Whoever panics says where: the name of a source file. There are no symbols left to look for.
#[test]
fn holds_no_panic() {
    let library = std::fs::read(shim()).expect("read the library");
    for (at, _) in library.windows(3).enumerate().filter(|(_, w)| w == b".rs") {
        let before = &library[at.saturating_sub(4)..at];
        let is_name = before
            .iter()
            .all(|b| b.is_ascii_alphanumeric() || b"_/-.".contains(b));
        assert!(!is_name, "the name of a source file at {at}");
    }
    let says = |word: &[u8]| library.windows(word.len()).any(|window| window == word);
    assert!(!says(b"panic") && !says(b"unwrap"));
    assert!(
        !output_of("readelf", &["-S"]).contains(".symtab"),
        "symbols"
    );
}

#[test]
fn is_small() {
    const BYTES_MAX: u64 = 48 * 1024;
    let sections = output_of("size", &["-A", "-d"]);
    let loaded: u64 = sections.lines().filter_map(loaded_bytes).sum();
    assert!(
        loaded > 0 && loaded <= BYTES_MAX,
        "{loaded} bytes:\n{sections}"
    );
}

/// Size of a section that is in the file and is mapped.
fn loaded_bytes(line: &str) -> Option<u64> {
    let mut fields = line.split_whitespace();
    let (name, bytes) = (fields.next()?, fields.next()?.parse().ok()?);
    let address: u64 = fields.next()?.parse().ok()?;
    let file = !matches!(name, ".bss" | ".tbss" | ".relro_padding");
    (address > 0 && file).then_some(bytes)
}

#[test]
fn exports_hooks_and_nothing_else() {
    let exports = output_of("nm", &["-D", "--defined-only"]);
    let mut strange: Vec<&str> = Vec::new();
    for name in exports
        .lines()
        .filter_map(|line| line.split_whitespace().last())
    {
        if name.contains("rust") || name.contains("everwrite") || name.starts_with("mem") {
            strange.push(name);
        }
    }
    assert!(strange.is_empty(), "{strange:#?}");
}

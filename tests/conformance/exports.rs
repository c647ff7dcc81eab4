//! What a libc exports that can change a file: every function from which a system call that changes
//! something can be reached by direct calls must be in the table, or in the list of those that need not
//! be. So a new release's new functions are found here, not by luck.
//!
//! ```text
//! EVERWRITE_LIBC=/path/to/libc.so.6 cargo test -p everwrite-tests --test conformance exports
//! ```
//!
//! Calls through pointers are not followed: the tables of stream operations are hooked by themselves.
#![cfg(target_arch = "x86_64")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use crate::libcs::Libc;
use crate::table;

/// Numbers of system calls that change a file, a name, or what a descriptor stands for. Closing is not
/// among them: libc closes what it has opened.
const CHANGES: &[u32] = &[
    1, 18, 20, 33, 40, 49, 74, 75, 76, 77, 82, 83, 84, 85, 86, 87, 88, 90, 91, 92, 93, 94, 132,
    133, 155, 161, 188, 189, 190, 197, 198, 199, 209, 235, 258, 259, 260, 261, 263, 264, 265, 266,
    268, 275, 276, 280, 285, 292, 296, 304, 306, 308, 316, 326, 328, 425, 436, 437, 452, 463, 466,
    469, 25, 278,
];
/// `open` and `openat`: those count that make or cut short.
const OPENS: [u32; 2] = [2, 257];
const O_CREAT_OR_TRUNC: u32 = 0o1100;

/// One name a line, with reasons above: changes nothing that is protected, or is seen elsewhere.
const HARMLESS: &str = include_str!("harmless.txt");

#[derive(Default, Debug)]
struct Function {
    calls: BTreeSet<u64>,
    changes: bool,
    opens: bool,
    /// Calls with flags that make a file.
    makes: BTreeSet<u64>,
}

/// The code of a library, in the order of its addresses.
struct Code {
    lines: Vec<(u64, String)>,
    /// All that has a name.
    all: BTreeMap<String, u64>,
    /// What programs may call.
    exports: BTreeMap<String, u64>,
}

impl Code {
    fn of(libc: &Path) -> Self {
        let listing = |program: &mut Command| harness::run(program.arg(libc)).success().text();
        let code = listing(Command::new("objdump").args(["-d", "--no-show-raw-insn"]));
        let symbols = listing(Command::new("nm").args(["-D", "--defined-only"]));
        Self {
            lines: code.lines().filter_map(instruction).collect(),
            all: symbols.lines().filter_map(export).collect(),
            exports: symbols
                .lines()
                .filter(is_public)
                .filter_map(export)
                .collect(),
        }
    }

    /// Where the search stops: what is said when something is wrong goes to the terminal, and whatever
    /// checks anything may say it; the table of stream operations is hooked by itself.
    fn ends(&self, functions: &BTreeMap<u64, Function>) -> BTreeSet<u64> {
        let named = [
            "__assert_fail",
            "__libc_dynarray_at_failure",
            "__libc_fatal",
            "_IO_file_write",
            "abort",
        ];
        let mut ends: BTreeSet<u64> = named.iter().map(|name| self.all[*name]).collect();
        ends.extend(&functions[&self.all["__libc_fatal"]].calls);
        ends
    }

    /// From 2.41 on all system calls that can be cancelled go through one function, which finds the
    /// number on the stack: the one that `write` calls with a 1.
    fn cancellable(&self) -> Option<u64> {
        let write = self
            .lines
            .iter()
            .position(|(at, _)| *at == self.all["write"])?;
        let body = &self.lines[write..write + 20];
        let calls = body
            .iter()
            .enumerate()
            .filter(|(_, (_, text))| text.starts_with("call"));
        let with_one = |(at, (_, text)): (usize, &(u64, String))| {
            let before = &body[at.saturating_sub(4)..at];
            (pushed(before) == Some(1)).then(|| target(text))?
        };
        calls.filter_map(with_one).next()
    }

    /// Every place that is called or exported, with what it does until the next such place.
    fn functions(&self) -> BTreeMap<u64, Function> {
        let called = self.lines.iter().filter_map(|(_, text)| target(text));
        let starts: BTreeSet<u64> = called.chain(self.all.values().copied()).collect();
        let cancellable = self.cancellable();
        let mut functions = BTreeMap::new();
        let mut current = 0;
        for (at, (address, text)) in self.lines.iter().enumerate() {
            if starts.contains(address) {
                // Code that does not end goes on into the next.
                functions.entry(*address).or_insert_with(Function::default);
                current = *address;
            }
            let before = &self.lines[at.saturating_sub(12)..at];
            let function: &mut Function = functions.entry(current).or_default();
            function.note(text, before, cancellable);
        }
        functions
    }
}

impl Function {
    fn note(&mut self, text: &str, before: &[(u64, String)], cancellable: Option<u64>) {
        let number = match text.split_whitespace().next() {
            Some("syscall") => constant(before, "%eax"),
            Some("call") if target(text) == cancellable => {
                pushed(&before[before.len().saturating_sub(4)..])
            }
            _ => None,
        };
        if number.is_some() {
            self.changes |= number.is_some_and(|number| CHANGES.contains(&number));
            self.opens |= number.is_some_and(|number| OPENS.contains(&number));
        }
        if let Some(target) = target(text) {
            self.calls.insert(target);
            let flags = ["%esi", "%edx"].map(|register| constant(before, register).unwrap_or(0));
            // Few other arguments are as small and have these bits.
            if flags
                .iter()
                .any(|flags| flags & O_CREAT_OR_TRUNC != 0 && *flags < 1 << 23)
            {
                self.makes.insert(target);
            }
        }
    }
}

fn instruction(line: &str) -> Option<(u64, String)> {
    let (address, text) = line.strip_prefix(' ')?.trim_start().split_once(":\t")?;
    Some((
        u64::from_str_radix(address, 16).ok()?,
        text.trim_end().to_owned(),
    ))
}

/// Other libraries of glibc itself may call the rest.
fn is_public(line: &&str) -> bool {
    !line.ends_with("GLIBC_PRIVATE")
}

/// `0000000000001234 T name@@VERSION`
fn export(line: &str) -> Option<(String, u64)> {
    let mut fields = line.split_whitespace();
    let address = u64::from_str_radix(fields.next()?, 16).ok()?;
    let is_code = matches!(fields.next()?, "T" | "W" | "t" | "i");
    let name = fields.next()?.split('@').next()?.to_owned();
    is_code.then_some((name, address))
}

/// Where a direct call or jump leads, or what address is taken, for some other function to call.
fn target(text: &str) -> Option<u64> {
    let (kind, rest) = text.split_once(char::is_whitespace)?;
    let place = match kind {
        "lea" => rest.split_once("# ")?.1,
        _ if kind.starts_with('j') || kind.starts_with("call") => rest.trim_start(),
        _ => return None,
    };
    u64::from_str_radix(place.split_whitespace().next()?, 16).ok()
}

/// The constant that a register was last given.
fn constant(before: &[(u64, String)], register: &str) -> Option<u32> {
    let gives = |text: &str| -> Option<u32> {
        let (kind, operands) = text.split_once(char::is_whitespace)?;
        let value = operands.trim().strip_suffix(register)?.strip_suffix(',')?;
        let number = value
            .strip_prefix("$0x")
            .map(|hex| u32::from_str_radix(hex, 16));
        (kind.starts_with("mov")).then(|| number?.ok())?
    };
    before.iter().rev().find_map(|(_, text)| gives(text))
}

/// The constant that was last pushed.
fn pushed(before: &[(u64, String)]) -> Option<u32> {
    let push = |text: &str| -> Option<u32> {
        let number = text
            .strip_prefix("push")?
            .trim_start()
            .strip_prefix("$0x")?;
        u32::from_str_radix(number, 16).ok()
    };
    before.iter().rev().find_map(|(_, text)| push(text))
}

/// The exported functions that can change something.
fn changing(libc: &Path) -> BTreeSet<String> {
    let code = Code::of(libc);
    let functions = code.functions();
    let ends = code.ends(&functions);
    let mut reach: BTreeSet<u64> = BTreeSet::new();
    loop {
        let opens = |at: &u64| functions.get(at).is_some_and(|function| function.opens);
        let changes = |function: &Function| {
            function.changes
                || function.makes.iter().any(opens)
                || function.calls.iter().any(|to| reach.contains(to))
        };
        let found: BTreeSet<u64> = functions
            .iter()
            .filter(|(at, function)| !ends.contains(at) && !reach.contains(at) && changes(function))
            .map(|(at, _)| *at)
            .collect();
        if found.is_empty() {
            break;
        }
        reach.extend(found);
    }
    let reaches = |(_, at): &(&String, &u64)| reach.contains(at);
    let all = code.exports.iter().filter(reaches);
    all.map(|(name, _)| name.clone()).collect()
}

#[track_caller]
fn check(libc: &Path) {
    let hooks = table::hooks();
    let harmless: BTreeSet<&str> = HARMLESS
        .lines()
        .filter(|line| !line.starts_with('#'))
        .collect();
    let all = changing(libc);
    // The search itself: without these it finds nothing.
    for known in ["write", "rename", "unlinkat", "updwtmp", "ftruncate"] {
        assert!(all.contains(known), "{known} is not found");
    }
    let unknown: Vec<&String> = all
        .iter()
        .filter(|name| !hooks.contains(*name) && !harmless.contains(name.as_str()))
        .collect();
    assert!(
        unknown.is_empty(),
        "{}: neither hooked nor known as harmless: {unknown:#?}",
        libc.display()
    );
}

#[test]
fn of_this_machine() {
    let found = || harness::run(Command::new("cc").arg("-print-file-name=libc.so.6")).text();
    let libc = std::env::var("EVERWRITE_LIBC").unwrap_or_else(|_| found());
    check(Path::new(libc.trim()));
}

#[test]
fn of_trixie() {
    check_release("trixie");
}

#[test]
fn of_sid() {
    check_release("sid");
}

#[track_caller]
fn check_release(suite: &str) {
    if let Some(libc) = Libc::of(suite) {
        check(&libc.file());
    }
}

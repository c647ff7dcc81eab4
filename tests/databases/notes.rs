//! What the writers know to be true: when each transaction began, and when its commit had returned.

use std::collections::BTreeSet;
use std::path::Path;

/// Nanoseconds of the wall clock, as writers and coordinator read it.
pub(crate) type Nanoseconds = i64;

/// One transaction: its writer, and its number among that writer's.
pub(crate) type Id = (u64, u64);

/// A transaction as its writer saw it.
#[derive(Clone, Copy, Debug)]
struct Transaction {
    id: Id,
    /// Right before its first statement.
    began: Nanoseconds,
    /// Right after its commit had returned.
    acknowledged: Nanoseconds,
}

/// All transactions of all writers.
#[derive(Debug, Default)]
pub(crate) struct Notes(Vec<Transaction>);

impl Notes {
    /// What a writer wrote: a line `NUMBER BEGAN ACKNOWLEDGED` for each transaction.
    pub(crate) fn add(&mut self, writer: u64, file: &Path) {
        let lines = std::fs::read_to_string(file)
            .unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        self.0
            .extend(lines.lines().map(|line| transaction(writer, line)));
    }

    /// A transaction that was noted elsewhere.
    pub(crate) fn push(&mut self, id: Id, began: Nanoseconds, acknowledged: Nanoseconds) {
        self.0.push(Transaction {
            id,
            began,
            acknowledged,
        });
    }

    /// How many.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether a state can be that of `time`: with all that was acknowledged before, and nothing that began
    /// after. What was under way may be in it or not.
    ///
    /// A commit that returned has been written, whatever it promises about power failures: so this holds for
    /// `synchronous = OFF`, too.
    pub(crate) fn judge(&self, time: Nanoseconds, present: &BTreeSet<Id>) -> Result<(), String> {
        let lost = self
            .0
            .iter()
            .filter(|one| one.acknowledged < time && !present.contains(&one.id));
        let early = self
            .0
            .iter()
            .filter(|one| one.began > time && present.contains(&one.id));
        let (lost, early): (Vec<_>, Vec<_>) = (lost.collect(), early.collect());
        let mut wrong = String::new();
        if let Some(first) = lost.first() {
            let before = microseconds(time - first.acknowledged);
            wrong += &format!(
                "{} acknowledged before are missing, the first {:?} by {before} us; ",
                lost.len(),
                first.id
            );
        }
        if let Some(last) = early.last() {
            let after = microseconds(last.began - time);
            wrong += &format!(
                "{} that began after are there, the last {:?} by {after} us",
                early.len(),
                last.id
            );
        }
        if wrong.is_empty() { Ok(()) } else { Err(wrong) }
    }
}

fn microseconds(time: Nanoseconds) -> i64 {
    time / 1000
}

fn transaction(writer: u64, line: &str) -> Transaction {
    let mut numbers = line
        .split_ascii_whitespace()
        .map(|number| number.parse::<i64>().expect("a number in a note"));
    let mut next = || numbers.next().expect("three numbers in a note");
    let number = u64::try_from(next()).expect("a transaction's number");
    Transaction {
        id: (writer, number),
        began: next(),
        acknowledged: next(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_and_what_is_early_is_seen() {
        let mut notes = Notes::default();
        notes.push((1, 1), 10, 20);
        notes.push((1, 2), 30, 40);
        let state = |ids: &[Id]| ids.iter().copied().collect::<BTreeSet<_>>();
        for (time, ids, good) in [
            (5, &[][..], true),
            (15, &[(1, 1)], true),
            (15, &[], true),
            (25, &[], false),
            (25, &[(1, 1)], true),
            (25, &[(1, 1), (1, 2)], false),
            (50, &[(1, 1), (1, 2)], true),
            (50, &[(1, 2)], false),
        ] {
            assert_eq!(
                notes.judge(time, &state(ids)).is_ok(),
                good,
                "{time} {ids:?}"
            );
        }
    }
}

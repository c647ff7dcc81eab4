//! SQLite: several processes write to one database, in each journal mode, each process with another promise
//! about power failures.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use harness::{Pair, run};

use crate::judgement::{Samples, Verdict, assert_good};
use crate::notes::{Id, Notes};
use crate::scene::{Load, Scene, at_length, wall_clock};

const DATABASE: &str = "bank.db";
const WRITER: &str = include_str!("sqlite_writer.py");
/// One writer each. What a commit promises about power failures is no matter: it has been written.
const SYNCHRONOUS: [&str; 4] = ["OFF", "NORMAL", "FULL", "EXTRA"];

/// What is there before the load.
const SCHEMA: &str = "
    CREATE TABLE account (id INTEGER PRIMARY KEY, balance INTEGER NOT NULL, pad BLOB);
    CREATE TABLE ledger (writer INTEGER, number INTEGER, part INTEGER, parts INTEGER,
        payer INTEGER, payee INTEGER, amount INTEGER, pad BLOB, PRIMARY KEY (writer, number, part));
    CREATE INDEX payers ON ledger (payer); CREATE INDEX pads ON ledger (pad);
    INSERT INTO account SELECT value, 1000, randomblob(400) FROM generate_series(0, 1999);";

/// One line each: what is wrong with the file, the sum of all balances, the accounts whose balance is not what
/// the ledger makes it, the transactions of which a part is missing.
const CHECKS: &str = "
    SELECT 'integrity', integrity_check FROM pragma_integrity_check WHERE integrity_check <> 'ok';
    SELECT 'sum', sum(balance) FROM account WHERE true HAVING sum(balance) <> 2000000;
    SELECT 'balance', id, balance, moved FROM account LEFT JOIN (SELECT id, sum(amount) AS moved FROM
        (SELECT payer AS id, -amount AS amount FROM ledger UNION ALL SELECT payee, amount FROM ledger) GROUP BY id)
        USING (id) WHERE balance <> 1000 + coalesce(moved, 0) LIMIT 3;
    SELECT 'torn', writer, number, count(*), parts FROM ledger GROUP BY writer, number HAVING count(*) <> max(parts);";
const TRANSACTIONS: &str = "SELECT DISTINCT writer, number FROM ledger";

/// The answer of a database; an error where it does not open.
fn ask(database: &Path, sql: &str) -> Result<String, String> {
    let mut command = Command::new("sqlite3");
    command.args(["-bail", "-separator", " "]).arg(database);
    let answer = run(command.arg(sql));
    match answer.code {
        Some(0) => Ok(answer.text()),
        _ => Err(answer.stderr),
    }
}

/// Is a restored database what it was at that time?
pub(crate) fn judge(database: &Path, notes: &Notes, time: i64) -> Verdict {
    let wrong = ask(database, CHECKS)?;
    if !wrong.is_empty() {
        return Err(wrong);
    }
    let present: BTreeSet<Id> = ask(database, TRANSACTIONS)?
        .lines()
        .map(transaction)
        .collect();
    notes.judge(time, &present)
}

fn transaction(line: &str) -> Id {
    let (writer, number) = line.split_once(' ').expect("two numbers");
    let number_of = |text: &str| text.parse().expect("a number");
    (number_of(writer), number_of(number))
}

/// Makes a database with accounts, and an empty ledger.
pub(crate) fn make(database: &Path, journal: &str) {
    ask(database, SCHEMA).expect("make a database");
    let mode = format!("PRAGMA journal_mode = {journal}");
    ask(database, &mode).expect("set the journal's mode");
}

/// What one writer does.
#[derive(Clone, Copy)]
pub(crate) struct Work<'a> {
    pub(crate) database: &'a str,
    pub(crate) writer: u64,
    pub(crate) journal: &'a str,
    pub(crate) synchronous: &'a str,
    pub(crate) load: Load,
}

impl Work<'_> {
    /// The program, in the pair's tree and under the shim; it notes what it did in that file.
    pub(crate) fn command(&self, pair: &Pair, notes: &Path) -> Command {
        let numbers = [self.writer, self.load.seconds.into()].map(|number| number.to_string());
        let chance = [pair.place.seed.next(), self.load.rest_ms.into()];
        let mut command = pair.source.command();
        command.args(["run", "--", "python3", "-c", WRITER, self.database]);
        command.arg(notes).args(numbers);
        command.args([self.journal, self.synchronous]);
        command.args(chance.map(|number| number.to_string()));
        command.current_dir(&pair.tree);
        command
    }
}

fn load(test: &'static str, journal: &'static str) {
    let scene = Scene::new(|tree| make(&tree.join(DATABASE), journal));
    let wanted = Load::wanted();
    let writers = || (0..).zip(SYNCHRONOUS);
    let command = |(writer, synchronous): (u64, &str)| {
        let work = Work {
            database: DATABASE,
            writer,
            journal,
            synchronous,
            load: wanted,
        };
        work.command(&scene.pair, &scene.notes_of(writer))
    };
    let points = scene.points_during(writers().map(command).collect());
    let mut notes = Notes::default();
    writers().for_each(|(writer, _)| notes.add(writer, &scene.notes_of(writer)));
    assert!(notes.len() > 100, "only {} transactions", notes.len());
    let samples = Samples {
        test,
        count: if at_length() { 60 } else { 12 },
        seconds: wanted.seconds,
    };
    assert_good(&scene.pair, &points, samples, |tree, point| {
        judge(&tree.join(DATABASE), &notes, point.time())
    });
    let end = scene.pair.tree.join(DATABASE);
    judge(&end, &notes, wall_clock()).expect("the source itself is right");
}

#[test]
fn journal_deleted() {
    load("sqlite::journal_deleted", "DELETE");
}

#[test]
fn journal_truncated() {
    load("sqlite::journal_truncated", "TRUNCATE");
}

#[test]
fn journal_overwritten() {
    load("sqlite::journal_overwritten", "PERSIST");
}

#[test]
fn write_ahead_log() {
    load("sqlite::write_ahead_log", "WAL");
}

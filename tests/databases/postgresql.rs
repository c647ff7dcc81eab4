//! PostgreSQL: a whole cluster under the shim, and clients that transfer money; each point restored is started
//! as a cluster of its own.
//!
//! With `full_page_writes`, which is PostgreSQL's default, and without: it is there for pages that a power
//! failure leaves half written, and a state that the file system really had has none.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use harness::{run, skip};

use crate::cluster::{PostgreSql, Server, give};
use crate::judgement::{Samples, Verdict, assert_good};
use crate::notes::{Id, Notes};
use crate::points::Points;
use crate::scene::{Load, Scene, at_length};

const CLIENTS: u64 = 4;
const TRANSFER: &str = include_str!("transfer.sql");
/// Buffers and log so small that pages are written and checkpoints made all the time.
const SETTINGS: &str = "
    shared_buffers = 1MB
    wal_buffers = 64kB
    min_wal_size = 2MB
    max_wal_size = 4MB
    checkpoint_completion_target = 0.1
    autovacuum_naptime = 1s
";
/// On two lines that psql sends as one: what is there before the load.
const SCHEMA: &str = "CREATE EXTENSION IF NOT EXISTS amcheck;
    CREATE TABLE account (id int PRIMARY KEY, balance bigint NOT NULL, pad text);
    CREATE TABLE ledger (writer int, number int, payer int, payee int, amount int, pad text,
        PRIMARY KEY (writer, number));
    CREATE INDEX payers ON ledger (payer);
    INSERT INTO account SELECT id, 1000, repeat('x', 400) FROM generate_series(1, 2000) id;";
/// One line each: the sum, if it is wrong, and the accounts whose balance is not what the ledger makes it.
const CHECKS: &str = "SELECT 'sum', sum(balance) FROM account HAVING sum(balance) <> 2000000
    UNION ALL SELECT 'balance of ' || id, balance FROM account LEFT JOIN (SELECT id, sum(amount) AS moved FROM
        (SELECT payer AS id, -amount AS amount FROM ledger UNION ALL SELECT payee, amount FROM ledger) AS moves
        GROUP BY id) AS moves USING (id) WHERE balance <> 1000 + coalesce(moved, 0)";
const TRANSACTIONS: &str = "SELECT writer, number FROM ledger";

/// A cluster below the tree that is about to be protected, with the ledger in it.
fn make(programs: &PostgreSql, tree: &Path, settings: &str) {
    let place = tree.parent().expect("a tree lies in a place");
    let run_directory = socket_directory(place);
    run(Command::new("chmod").args(["711"]).arg(place).arg(tree)).success();
    give(tree);
    let cluster = programs.cluster(tree.join("data"), run_directory);
    cluster.init(settings);
    let server = cluster
        .start(|server| server)
        .expect("a new cluster starts");
    server.ask(SCHEMA).success();
    server.stop();
}

/// Where sockets and logs lie, outside of the tree.
fn socket_directory(place: &Path) -> std::path::PathBuf {
    let directory = place.join("sockets");
    std::fs::create_dir_all(&directory).expect("a directory for sockets");
    give(&directory);
    directory
}

/// The points made while clients were at work, and what these noted.
fn points_under_load(scene: &Scene, programs: &PostgreSql, load: Load) -> (Points, Notes) {
    let under_shim = |server: Command| {
        let mut launched = scene.pair.source.command();
        launched
            .args(["run", "--"])
            .arg(server.get_program())
            .args(server.get_args());
        launched
    };
    run(Command::new("chmod")
        .arg("711")
        .arg(scene.pair.source.home()))
    .success();
    give(&scene.notes);
    let cluster = programs.cluster(
        scene.pair.tree.join("data"),
        socket_directory(scene.pair.place.path()),
    );
    let server = cluster.start(under_shim).expect("the cluster starts");
    let points = scene.points_during(vec![bench(scene, &server, load)]);
    let notes = notes(&scene.notes);
    judge_answers(&server, &notes, crate::scene::wall_clock()).expect("the source itself is right");
    server.stop();
    scene.pair.source.settle();
    (points, notes)
}

/// PostgreSQL's own load generator with our transaction; it logs each.
fn bench(scene: &Scene, server: &Server<'_>, load: Load) -> Command {
    let script = scene.notes.join("transfer.sql");
    std::fs::write(&script, TRANSFER).expect("write the transaction");
    let (clients, seconds) = (CLIENTS.to_string(), load.seconds.to_string());
    let rest = format!("rest_us={}", load.rest_ms * 1000);
    let mut bench = server.client("pgbench");
    bench.args(["-n", "-c", &clients, "-T", &seconds, "-l"]);
    bench.args(["-D", "number=0", "-D", &rest, "--log-prefix"]);
    bench.arg(scene.notes.join("log")).arg("-f").arg(script);
    bench.arg("postgres");
    bench.stdout(std::process::Stdio::null());
    bench
}

/// Lines `CLIENT NUMBER MICROSECONDS SCRIPT SECOND MICROSECOND`: how long it took, its rest included, and when it
/// had ended.
fn notes(directory: &Path) -> Notes {
    let mut notes = Notes::default();
    let files = directory.read_dir().expect("what clients noted").flatten();
    let logs = files.filter(|file| file.file_name().to_string_lossy().starts_with("log."));
    for log in logs {
        let text = std::fs::read_to_string(log.path()).expect("what clients noted");
        text.lines().for_each(|line| note(&mut notes, line));
    }
    assert!(notes.len() > 100, "only {} transactions", notes.len());
    notes
}

fn note(notes: &mut Notes, line: &str) {
    let number = |text: &str| {
        text.parse::<i64>()
            .unwrap_or_else(|_| panic!("a transaction failed: {line}"))
    };
    let numbers: Vec<i64> = line.split(' ').map(number).collect();
    let [client, transaction, took, _script, second, microsecond] = numbers[..] else {
        panic!("a line of pgbench's log: {line}");
    };
    let ended = second * 1_000_000_000 + microsecond * 1000;
    // Times are cut to microseconds.
    notes.push(
        (client as u64, transaction as u64),
        ended - (took + 1) * 1000,
        ended + 1000,
    );
}

/// Starts what was restored, as a cluster of its own, and asks it.
fn judge(programs: &PostgreSql, tree: &Path, notes: &Notes, time: i64) -> Verdict {
    let sockets = socket_directory(tree.parent().expect("a restored tree lies in a directory"));
    let server = programs
        .cluster(tree.join("data"), sockets)
        .start(|server| server)?;
    check_pages(&server)?;
    judge_answers(&server, notes, time)?;
    server.stop();
    Ok(())
}

/// Heap and indexes, page by page.
fn check_pages(server: &Server<'_>) -> Verdict {
    let mut check = server.client("pg_amcheck");
    let checked = run(check.args(["--heapallindexed", "-d", "postgres"]));
    match checked.code {
        Some(0) => Ok(()),
        _ => Err(format!("pg_amcheck: {}{}", checked.text(), checked.stderr)),
    }
}

fn judge_answers(server: &Server<'_>, notes: &Notes, time: i64) -> Verdict {
    let wrong = server.ask(CHECKS);
    if wrong.code != Some(0) || !wrong.stdout.is_empty() {
        return Err(format!("{}{}", wrong.text(), wrong.stderr));
    }
    let transactions = server.ask(TRANSACTIONS).success().text();
    let present: BTreeSet<Id> = transactions.lines().map(transaction).collect();
    notes.judge(time, &present)
}

fn transaction(line: &str) -> Id {
    let (writer, number) = line.split_once(' ').expect("two numbers");
    let number_of = |text: &str| text.parse().expect("a number");
    (number_of(writer), number_of(number))
}

fn load(test: &'static str, full_page_writes: &str) {
    let programs = match PostgreSql::find() {
        Ok(programs) => programs,
        Err(reason) => return skip(test, &reason),
    };
    let settings = format!("{SETTINGS}\nfull_page_writes = {full_page_writes}\n");
    let scene = Scene::new(|tree| make(&programs, tree, &settings));
    let wanted = Load::wanted();
    let (points, notes) = points_under_load(&scene, &programs, wanted);
    let samples = Samples {
        test,
        count: if at_length() { 30 } else { 3 },
        seconds: wanted.seconds,
    };
    assert_good(&scene.pair, &points, samples, |tree, point| {
        judge(&programs, tree, &notes, point.time())
    });
}

#[test]
fn with_full_page_writes() {
    load("postgresql::with_full_page_writes", "on");
}

#[test]
fn without_full_page_writes() {
    load("postgresql::without_full_page_writes", "off");
}

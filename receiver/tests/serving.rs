//! `serve` and `pair` as a person or a service manager runs them.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use everwrite_receiver::pairing::PairingCode;
use rustix::process::{Pid, Signal, kill_process};

/// Whatever a test waits for has happened by then, or never will.
const DEADLINE: Duration = Duration::from_secs(30);

fn receiver(arguments: &[&str], store: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_everwrite-receiver"));
    command.args(arguments).arg("--store").arg(store);
    command
}

/// A running `serve`; killed when dropped.
struct Serve {
    process: Child,
    address: String,
}

impl Serve {
    fn start(store: &Path, listen: &str) -> Self {
        let mut command = receiver(&["serve", "--listen", listen], store);
        let mut process = command
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("start serve");
        let mut line = String::new();
        let output = process.stdout.take().expect("standard output");
        BufReader::new(output)
            .read_line(&mut line)
            .expect("a first line");
        let address = line
            .strip_prefix("listening on ")
            .expect("the promised first line");
        let address = address.trim_end().to_owned();
        Self { process, address }
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.process), signal).expect("send a signal");
    }

    /// Exit code.
    fn ended(&mut self) -> Option<i32> {
        let deadline = Instant::now() + DEADLINE;
        while Instant::now() < deadline {
            if let Some(status) = self.process.try_wait().expect("wait for serve") {
                return status.code();
            }
            std::thread::yield_now();
        }
        panic!("serve does not end");
    }
}

impl Drop for Serve {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn error_of(output: &Output) -> String {
    assert!(!output.status.success());
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn a_code_tells_where_serve_listens_and_what_it_shows() {
    let store = tempfile::tempdir().unwrap();
    let serve = Serve::start(store.path(), "127.0.0.1:0");
    assert!(!serve.address.ends_with(":0"), "{}", serve.address);
    let output = receiver(&["pair"], store.path()).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let code: PairingCode = text.parse().unwrap();
    assert_eq!(code.address, serve.address);
    let json = receiver(&["pair", "--json"], store.path())
        .output()
        .unwrap()
        .stdout;
    let json: serde_json::Value = serde_json::from_slice(&json).unwrap();
    let again: PairingCode = json["code"].as_str().unwrap().parse().unwrap();
    assert_eq!(again.fingerprint, code.fingerprint);
    assert_ne!(again.secret, code.secret);
}

#[test]
fn the_address_in_a_code_can_be_given() {
    let store = tempfile::tempdir().unwrap();
    let pair = &["pair", "--address", "backup.example:7"];
    let output = receiver(pair, store.path()).output().unwrap();
    assert!(output.stdout.starts_with(b"backup.example:7#"));
    assert!(String::from_utf8_lossy(&output.stderr).contains("serve"));
    let nonsense = receiver(&["pair", "--address", "backup"], store.path())
        .output()
        .unwrap();
    assert!(error_of(&nonsense).contains("HOST:PORT"));
}

#[test]
fn a_code_before_any_serve_is_refused_with_what_to_do() {
    let store = tempfile::tempdir().unwrap();
    let output = receiver(&["pair"], store.path()).output().unwrap();
    assert!(error_of(&output).contains("everwrite-receiver serve"));
}

#[test]
fn two_serves_of_one_store_are_one_too_many() {
    let store = tempfile::tempdir().unwrap();
    let _first = Serve::start(store.path(), "127.0.0.1:0");
    let second = receiver(&["serve", "--listen", "127.0.0.1:0"], store.path())
        .output()
        .unwrap();
    assert!(error_of(&second).contains("in use"));
}

#[test]
fn an_address_that_is_taken_is_told() {
    let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let serve = Serve::start(one.path(), "127.0.0.1:0");
    let second = receiver(&["serve", "--listen", &serve.address], other.path())
        .output()
        .unwrap();
    assert!(error_of(&second).contains(&serve.address));
}

#[test]
fn signals_end_it_and_its_address_is_free_again() {
    let store = tempfile::tempdir().unwrap();
    let mut serve = Serve::start(store.path(), "127.0.0.1:0");
    serve.signal(Signal::TERM);
    assert_eq!(serve.ended(), Some(0));
    let mut again = Serve::start(store.path(), &serve.address);
    assert_eq!(again.address, serve.address);
    again.signal(Signal::INT);
    assert_eq!(again.ended(), Some(0));
}

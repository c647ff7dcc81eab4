//! A coordinator's ear for tests, and nothing else: policy page, socket, segments, doorbell, made and
//! read exactly as the local language says. It shares no code with the coordinator, so that the shim
//! is checked by two readers which must agree.
//!
//! It writes down everything ([`Record`]) and decides nothing; [`Snapshot`] says afterwards what must
//! have been written down.

mod door;
mod page;
mod record;
mod segment;
mod snapshot;

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use everwrite_protocol::local::segment::Doorbell;
use everwrite_protocol::local::{
    KILL_SWITCH_FILE_NAME, POLICY_FILE_NAME, RUN_DIRECTORY_VARIABLE, Refusal,
};

pub use record::{Covered, FileKey, Record};
pub use snapshot::Snapshot;

use crate::artifacts::shim;
use door::Door;
use page::Shared;
use segment::Session;

/// What the threads of a recorder share.
struct Inner {
    run_directory: PathBuf,
    policy: Shared<everwrite_protocol::local::PolicyPage>,
    doorbell: Shared<Doorbell>,
    sessions: Mutex<Vec<Session>>,
    record: Mutex<Record>,
    /// Not set: whoever knocks is answered.
    refusal: Mutex<Option<Refusal>>,
    /// Set: nobody reads, rings fill up.
    deaf: AtomicBool,
    end: AtomicBool,
    /// How many shims were given a segment.
    attached: AtomicU32,
    /// How many have heard a refusal.
    refused: AtomicU32,
}

/// A running recorder.
pub struct Recorder {
    inner: Arc<Inner>,
    door: Option<Door>,
    reader: Option<JoinHandle<()>>,
}

impl Recorder {
    /// Listens in `run_directory` for programs that change files on the device of `watched`.
    pub fn start(run_directory: &Path, watched: &Path) -> Self {
        let device = std::fs::metadata(watched)
            .expect("the watched directory")
            .dev();
        let policy = page::make_policy(&run_directory.join(POLICY_FILE_NAME), &[device]);
        let inner = Arc::new(Inner {
            run_directory: run_directory.to_owned(),
            policy,
            doorbell: Shared::anonymous("doorbell"),
            sessions: Mutex::default(),
            record: Mutex::default(),
            refusal: Mutex::default(),
            deaf: AtomicBool::new(false),
            end: AtomicBool::new(false),
            attached: AtomicU32::new(0),
            refused: AtomicU32::new(0),
        });
        let reading = Arc::clone(&inner);
        Self {
            door: Some(Door::open(&inner)),
            reader: Some(std::thread::spawn(move || read_until_end(&reading))),
            inner,
        }
    }

    /// A command that runs under the shim and is told to this recorder.
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new(program);
        self.attach_to(&mut command);
        command
    }

    /// Has `command` run under the shim.
    pub fn attach_to(&self, command: &mut Command) {
        command
            .env("LD_PRELOAD", shim())
            .env(RUN_DIRECTORY_VARIABLE, &self.inner.run_directory);
    }

    /// Everything recorded since the last time, with all that dead processes still owe. To be asked
    /// when all programs have ended.
    pub fn take(&self) -> Record {
        door::wait_for_all_before(&self.inner.run_directory);
        self.inner.read();
        let mut sessions = self.inner.sessions.lock().expect("no reader panicked");
        let mut record = self.inner.record.lock().expect("no reader panicked");
        sessions
            .iter_mut()
            .for_each(|session| session.end(&mut record));
        sessions.clear();
        std::mem::take(&mut record)
    }

    /// Everything recorded since the last time of programs that still run.
    pub fn peek(&self) -> Record {
        self.inner.read();
        std::mem::take(&mut self.inner.record.lock().expect("no reader panicked"))
    }

    /// Nobody reads any more, or again.
    pub fn set_deaf(&self, deaf: bool) {
        self.inner.deaf.store(deaf, Relaxed);
    }

    /// Whoever knocks is told this.
    pub fn refuse(&self, refusal: Option<Refusal>) {
        *self.inner.refusal.lock().expect("no reader panicked") = refusal;
    }

    /// Takes the door away, as a coordinator that hangs or has died would. `open_door` puts it back.
    pub fn close_door(&mut self) {
        self.door = None;
    }

    /// Puts the door back.
    pub fn open_door(&mut self) {
        self.door = Some(Door::open(&self.inner));
    }

    /// The switch of the policy page.
    pub fn set_switch(&self, on: bool) {
        self.inner.policy.switch_on.store(u32::from(on), Relaxed);
    }

    /// A new epoch begins, as when the coordinator starts anew.
    pub fn next_epoch(&self) {
        self.inner.policy.epoch.fetch_add(1, Relaxed);
    }

    /// Creates or removes the file that turns every shim off.
    pub fn set_switch_file(&self, exists: bool) {
        let path = self.inner.run_directory.join(KILL_SWITCH_FILE_NAME);
        let done = if exists {
            std::fs::write(path, "")
        } else {
            std::fs::remove_file(path)
        };
        done.expect("the switch file");
    }

    /// How many have heard a refusal.
    pub fn refused(&self) -> u32 {
        self.inner.refused.load(Relaxed)
    }

    /// How many segments were handed out.
    pub fn attached(&self) -> u32 {
        self.inner.attached.load(Relaxed)
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        self.door = None;
        self.inner.end.store(true, Relaxed);
        if let Some(reader) = self.reader.take() {
            // A reader that panicked has said so itself.
            let _ = reader.join();
        }
    }
}

impl Inner {
    fn read(&self) {
        let mut sessions = self.sessions.lock().expect("no reader panicked");
        let mut record = self.record.lock().expect("no reader panicked");
        sessions
            .iter_mut()
            .for_each(|session| session.read(&mut record));
    }
}

/// Reads, then sleeps on the doorbell for at most two milliseconds.
fn read_until_end(inner: &Inner) {
    while !inner.end.load(Relaxed) {
        page::beat(&inner.policy);
        if !inner.deaf.load(Relaxed) {
            inner.read();
        }
        page::wait(&inner.doorbell, Duration::from_millis(2));
    }
}

//! What the kernel says about a process, from `proc(5)`. Everything may be gone at any moment.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use everwrite_protocol::wire::Origin;
use rustix::io::Errno;
use rustix::process::{Pid, test_kill_process};

/// Longest path of an executable that is kept, in bytes.
const EXECUTABLE_BYTES_MAX: usize = 1024;
/// How far up a `vfork(2)` child looks for the owner of the memory it runs in.
const ANCESTORS_MAX: usize = 8;

/// A process, told apart from a later one with the same number.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub(super) struct ProcessKey {
    /// Process id.
    pub(super) pid: u32,
    /// Clock ticks since boot at its start (`/proc/pid/stat`, field 22).
    pub(super) started_ticks: u64,
}

impl ProcessKey {
    /// `None` when there is no such process (any more).
    pub(super) fn of(pid: u32) -> Option<Self> {
        Some(Self {
            pid,
            started_ticks: started_ticks(pid)?,
        })
    }

    /// Is it still there (running, or dead and not yet waited for)?
    pub(super) fn exists(self) -> bool {
        started_ticks(self.pid) == Some(self.started_ticks)
    }
}

/// Who the process is. `user` is what the kernel said of the socket's peer.
pub(super) fn origin(process: ProcessKey, user: u32) -> Origin {
    let pid = process.pid;
    let program = fs::read(format!("/proc/{pid}/comm")).unwrap_or_default();
    let executable = fs::read_link(format!("/proc/{pid}/exe")).unwrap_or_default();
    Origin {
        pid,
        uid: user,
        started_ticks: process.started_ticks,
        program: String::from_utf8_lossy(program.trim_ascii_end()).into_owned(),
        executable: short_text(&executable),
    }
}

/// The process whose memory a shim speaks for: the peer itself, or, in a `vfork(2)` child that runs
/// in its parent's memory, the ancestor that calls itself `claimed`. In doubt the peer.
pub(super) fn owner(peer: u32, claimed: u32) -> u32 {
    let mut candidate = peer;
    for _ in 0..ANCESTORS_MAX {
        let Some(status) = Status::of(candidate) else {
            break;
        };
        if status.own_pid == claimed {
            return candidate;
        }
        match status.parent {
            0 | 1 => break,
            parent => candidate = parent,
        }
    }
    peer
}

/// Does the process call itself by another number than we do? Then its thread numbers mean nothing
/// here.
pub(super) fn is_namespaced(pid: u32) -> bool {
    Status::of(pid).is_none_or(|status| status.own_pid != pid)
}

/// Is there a thread of this number? In doubt, yes.
pub(super) fn thread_exists(thread: u32) -> bool {
    let number = i32::try_from(thread).ok().and_then(Pid::from_raw);
    number.is_none_or(|number| test_kill_process(number) != Err(Errno::SRCH))
}

/// What we need of `/proc/pid/status`.
struct Status {
    parent: u32,
    /// The process's number in its own pid namespace.
    own_pid: u32,
}

impl Status {
    fn of(pid: u32) -> Option<Self> {
        let text = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        let field = |name| {
            let line = text.lines().find_map(|line| line.strip_prefix(name))?;
            line.split_ascii_whitespace().last()?.parse().ok()
        };
        Some(Self {
            parent: field("PPid:")?,
            own_pid: field("NSpid:").unwrap_or(pid),
        })
    }
}

/// Field 22 of `/proc/pid/stat`; the second is a name in parentheses that may hold anything.
fn started_ticks(pid: u32) -> Option<u64> {
    let text = fs::read(format!("/proc/{pid}/stat")).ok()?;
    let behind_name = text.iter().rposition(|byte| *byte == b')')? + 1;
    let rest = std::str::from_utf8(&text[behind_name..]).ok()?;
    rest.split_ascii_whitespace().nth(19)?.parse().ok()
}

fn short_text(path: &Path) -> String {
    let bytes = path.as_os_str().as_bytes();
    String::from_utf8_lossy(&bytes[..bytes.len().min(EXECUTABLE_BYTES_MAX)]).into_owned()
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn knows_a_process_while_it_lives() {
        let mut child = Command::new("cat").stdin(Stdio::piped()).spawn().unwrap();
        let key = ProcessKey::of(child.id()).unwrap();
        assert!(key.exists() && thread_exists(child.id()));
        let who = origin(key, 7);
        assert_eq!((who.pid, who.uid), (child.id(), 7));
        assert!(who.started_ticks > 0);
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(!key.exists() && !thread_exists(key.pid));
        assert_eq!(origin(key, 7).executable, "");
    }

    #[test]
    fn the_owner_is_the_peer_or_an_ancestor_and_never_a_stranger() {
        let mut child = Command::new("cat").stdin(Stdio::piped()).spawn().unwrap();
        let own = std::process::id();
        assert_eq!(owner(child.id(), child.id()), child.id());
        assert_eq!(owner(child.id(), own), own);
        assert_eq!(owner(own, child.id()), own);
        assert_eq!(owner(own, u32::MAX), own);
        child.kill().unwrap();
        child.wait().unwrap();
    }

    #[test]
    fn numbers_that_are_none_count_as_living() {
        assert!(thread_exists(0));
        assert!(thread_exists(u32::MAX));
        assert_eq!(ProcessKey::of(u32::MAX), None);
    }
}

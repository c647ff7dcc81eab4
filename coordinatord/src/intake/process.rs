//! What the kernel says about a process, from `proc(5)`. Everything may be gone at any moment.

use std::fs;
use std::os::unix::ffi::OsStrExt;

use everwrite_protocol::wire::Origin;
use rustix::io::Errno;
use rustix::process::{Pid, test_kill_process};

/// Longest path of an executable or a control group that is kept, in bytes.
const PATH_BYTES_MAX: usize = 1024;
/// How far up a `vfork(2)` child looks for the owner of the memory it runs in.
const ANCESTORS_MAX: usize = 8;

/// A process, told apart from a later one with the same number.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub(crate) struct ProcessKey {
    /// Process id.
    pub(crate) pid: u32,
    /// Clock ticks since boot at its start (`/proc/pid/stat`, field 22).
    pub(crate) started_ticks: u64,
}

impl ProcessKey {
    /// `None` when there is no such process (any more).
    pub(super) fn of(pid: u32) -> Option<Self> {
        Some(Program::of(pid)?.process)
    }

    /// Is it still there (running, or dead and not yet waited for)?
    pub(super) fn exists(self) -> bool {
        Self::of(self.pid) == Some(self)
    }
}

/// What `/proc/pid/stat` says of a process.
pub(crate) struct Program {
    /// Which process.
    pub(crate) process: ProcessKey,
    /// Its short name.
    name: String,
}

impl Program {
    /// `None` when there is no such process (any more).
    pub(crate) fn of(pid: u32) -> Option<Self> {
        let text = fs::read(format!("/proc/{pid}/stat")).ok()?;
        // The second field is a name in parentheses that may hold anything.
        let from = text.iter().position(|byte| *byte == b'(')? + 1;
        let to = text.iter().rposition(|byte| *byte == b')')?;
        let rest = std::str::from_utf8(text.get(to + 1..)?).ok()?;
        let started_ticks = rest.split_ascii_whitespace().nth(19)?.parse().ok()?;
        Some(Self {
            process: ProcessKey { pid, started_ticks },
            name: String::from_utf8_lossy(text.get(from..to)?).into_owned(),
        })
    }

    /// Who it is. `user` is what the kernel said of the socket's peer.
    pub(crate) fn origin(self, user: u32) -> Origin {
        let ProcessKey { pid, started_ticks } = self.process;
        let executable = fs::read_link(format!("/proc/{pid}/exe")).unwrap_or_default();
        let groups = fs::read(format!("/proc/{pid}/cgroup")).unwrap_or_default();
        Origin {
            pid,
            uid: user,
            started_ticks,
            program: self.name,
            executable: short_text(executable.as_os_str().as_bytes()),
            cgroup: cgroup_of(&groups).map(short_text).unwrap_or_default(),
        }
    }
}

/// Whose memory a shim speaks for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Owner {
    pub(super) pid: u32,
    /// It calls itself by another number than we do: then its thread numbers mean nothing here.
    pub(super) namespaced: bool,
}

/// The process whose memory a shim speaks for: the peer itself, or, in a `vfork(2)` child that runs
/// in its parent's memory, the ancestor that calls itself `claimed`. In doubt the peer.
pub(super) fn owner(peer: u32, claimed: u32) -> Owner {
    if peer == claimed {
        return Owner {
            pid: peer,
            namespaced: false,
        };
    }
    let mut candidate = peer;
    for _ in 0..ANCESTORS_MAX {
        let Some(status) = Status::of(candidate) else {
            break;
        };
        if status.own_pid == claimed {
            return Owner {
                pid: candidate,
                namespaced: claimed != candidate,
            };
        }
        match status.parent {
            0 | 1 => break,
            parent => candidate = parent,
        }
    }
    Owner {
        pid: peer,
        namespaced: true,
    }
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

/// Which of the control groups in `/proc/pid/cgroup` names a service or a container: that of the one hierarchy
/// there is, but on older systems with several, where it may be the top, the first that is not.
fn cgroup_of(groups: &[u8]) -> Option<&[u8]> {
    let lines = groups.split(|byte| *byte == b'\n');
    let paths = lines.filter_map(|line| {
        let path = line.splitn(3, |byte| *byte == b':').nth(2)?;
        Some((line.starts_with(b"0::"), path))
    });
    let best = paths.min_by_key(|(unified, path)| (*path == b"/", !unified));
    best.map(|(_, path)| path)
}

fn short_text(path: &[u8]) -> String {
    String::from_utf8_lossy(&path[..path.len().min(PATH_BYTES_MAX)]).into_owned()
}

#[cfg(test)]
mod tests {
    use std::process::{Child, Command, Stdio};

    use super::*;

    fn program() -> Child {
        Command::new("cat").stdin(Stdio::piped()).spawn().unwrap()
    }

    fn end(mut child: Child) {
        child.kill().unwrap();
        child.wait().unwrap();
    }

    #[test]
    fn knows_a_process_while_it_lives() {
        let child = program();
        let key = ProcessKey::of(child.id()).unwrap();
        assert!(key.exists() && thread_exists(child.id()));
        let who = Program::of(key.pid).unwrap().origin(7);
        assert_eq!((who.pid, who.uid), (child.id(), 7));
        assert!(who.started_ticks > 0);
        assert!(who.cgroup.starts_with('/'), "{who:?}");
        end(child);
        assert!(!key.exists() && !thread_exists(key.pid));
        assert!(Program::of(key.pid).is_none());
    }

    #[test]
    fn the_control_group_is_the_one_that_says_something() {
        let group = |text: &'static str| {
            cgroup_of(text.as_bytes()).map(|path| std::str::from_utf8(path).unwrap())
        };
        assert_eq!(group("0::/user.slice/a:b\n"), Some("/user.slice/a:b"));
        assert_eq!(group("0::/\n"), Some("/"));
        let several = "9:name=systemd:/\n4:memory:/docker/1\n1:cpu:/docker/2\n0::/\n";
        assert_eq!(group(several), Some("/docker/1"));
        assert_eq!(group("4:memory:/docker/1\n0::/a\n"), Some("/a"));
        assert_eq!(group(""), None);
    }

    #[test]
    fn a_name_may_hold_anything() {
        let name = "a ) ( b";
        std::thread::scope(|scope| {
            let thread = std::thread::Builder::new().name(name.to_owned());
            let found = thread.spawn_scoped(scope, || {
                Program::of(rustix::thread::gettid().as_raw_pid() as u32)
            });
            assert_eq!(found.unwrap().join().unwrap().unwrap().name, name);
        });
    }

    #[test]
    fn the_owner_is_the_peer_or_an_ancestor_and_never_a_stranger() {
        let child = program();
        let own = std::process::id();
        assert_eq!(owner(child.id(), child.id()).pid, child.id());
        let expected = Owner {
            pid: own,
            namespaced: false,
        };
        assert_eq!(owner(child.id(), own), expected);
        assert_eq!(owner(own, child.id()).pid, own);
        assert_eq!(owner(own, u32::MAX).pid, own);
        end(child);
    }

    #[test]
    fn numbers_that_are_none_count_as_living() {
        assert!(thread_exists(0));
        assert!(thread_exists(u32::MAX));
        assert_eq!(ProcessKey::of(u32::MAX), None);
    }
}

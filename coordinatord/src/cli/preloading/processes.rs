//! Which running processes the shim is in, and why it is not in others.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use everwrite_protocol::local::KILL_SWITCH_VARIABLE;
use serde::Serialize;

use super::maps::{self, Mapped};
use super::root::Root;
use super::{LINE_FILE, lines};
use crate::cli::blind_spot::{self, BlindSpot};

/// Whether the shim is in a process.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(in crate::cli) enum Sight {
    /// It is.
    Loaded,
    /// An older one is, whose file has been replaced or removed.
    Older,
    /// It started before the line was in place.
    StartedBefore,
    /// It started after that, and does not have it.
    Dropped,
    /// There is no line, and it was not started by `everwrite run`.
    NotPreloaded,
    /// Linked statically: there is no loader.
    Static,
    /// Made for another kind of processor than the shim.
    OtherProcessor,
    /// Its C library's loader does not look at the line.
    OtherLoader,
    /// It lives in another file system tree (a container, a chroot), where the line is not.
    OtherTree,
    /// We may not look.
    Unknown,
}

impl Sight {
    /// For people.
    pub(in crate::cli) fn told(self) -> &'static str {
        match self {
            Self::Loaded => "has the shim",
            Self::Older => "has an older shim: restart it to have the new one",
            Self::StartedBefore => "started before the line was in place: restart it",
            Self::Dropped => "started without the shim although the line was in place",
            Self::NotPreloaded => "not started by `everwrite run`",
            Self::Static => "linked statically",
            Self::OtherProcessor => "made for another kind of processor",
            Self::OtherLoader => "another C library, whose loader ignores the line",
            Self::OtherTree => "in a file system tree of its own, where the line is not",
            Self::Unknown => "another user's, not to be looked at: ask as root",
        }
    }

    /// Whether the shim is in it.
    pub(in crate::cli) fn is_in(self) -> bool {
        matches!(self, Self::Loaded | Self::Older)
    }

    /// Whether a restart would help.
    pub(in crate::cli) fn needs_restart(self) -> bool {
        matches!(self, Self::Older | Self::StartedBefore)
    }
}

/// A process.
#[derive(Clone, Debug, Serialize)]
pub(in crate::cli) struct Process {
    /// Its number.
    pub(in crate::cli) pid: u32,
    /// Its short name.
    pub(in crate::cli) program: String,
    /// Its effective user.
    pub(in crate::cli) uid: u32,
    /// Whether the shim is in it.
    pub(in crate::cli) sight: Sight,
    /// A system call filter is on: the shim makes no calls of its own then.
    pub(in crate::cli) filtered: bool,
    /// Its environment switches the shim off.
    pub(in crate::cli) switched_off: bool,
    /// Clock ticks since boot at its start: tells it apart from a later one of the same number.
    pub(in crate::cli) started_ticks: u64,
}

/// The line as it stands.
#[derive(Debug)]
pub(in crate::cli) struct Line {
    file: Option<(u64, u64)>,
    since: Option<SystemTime>,
}

impl Line {
    /// That of `root`.
    pub(in crate::cli) fn of(root: &Root) -> Self {
        let read = || {
            let path = root.existing(Path::new(LINE_FILE)).ok()?;
            let listed = lines::ours(&fs::read(&path).ok()?).next().is_some();
            listed.then(|| fs::metadata(path).ok()).flatten()
        };
        let facts = read();
        Self {
            file: facts.as_ref().map(|facts| (facts.dev(), facts.ino())),
            since: facts.and_then(|facts| facts.modified().ok()),
        }
    }
}

/// All processes that live in `root`, or in any with the machine's own; kernel threads are none.
pub(in crate::cli) fn all(root: &Root) -> io::Result<Vec<Process>> {
    let (line, boot) = (Line::of(root), boot_time()?);
    let mut all = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let name = entry?.file_name();
        let pid = name.to_str().and_then(|name| name.parse().ok());
        let process = pid.and_then(|pid| look(pid, root, &line, boot));
        all.extend(process);
    }
    all.sort_by_key(|process| process.pid);
    Ok(all)
}

/// `None` when it has ended, has no memory of its own, or lives elsewhere.
fn look(pid: u32, root: &Root, line: &Line, boot: SystemTime) -> Option<Process> {
    let directory = PathBuf::from(format!("/proc/{pid}"));
    let (program, started_ticks) = stat(&fs::read(directory.join("stat")).ok()?)?;
    let status = fs::read_to_string(directory.join("status")).ok()?;
    // Kernel threads and the dead have no memory.
    status.lines().find(|line| line.starts_with("VmSize:"))?;
    if !root.is_own() && fs::read_link(directory.join("root")).ok()? != root.directory() {
        return None;
    }
    Some(Process {
        pid,
        program,
        uid: field(&status, "Uid:", 1)?,
        sight: sight(&directory, line, boot + ticks(started_ticks)),
        switched_off: is_switched_off(&directory),
        filtered: field(&status, "Seccomp:", 0).is_some_and(|mode| mode != 0),
        started_ticks,
    })
}

fn sight(directory: &Path, line: &Line, started: SystemTime) -> Sight {
    let Ok(maps) = fs::read(directory.join("maps")) else {
        return Sight::Unknown;
    };
    let elf = fs::File::open(directory.join("exe")).ok();
    let facts = Facts {
        mapped: maps::read(&maps),
        blind_spot: elf.and_then(|file| blind_spot::of_elf_file(&file)),
        listed: fs::metadata(directory.join("root").join(&LINE_FILE[1..]))
            .is_ok_and(|facts| line.file == Some((facts.dev(), facts.ino()))),
    };
    judge(&facts, line, started)
}

/// What is known of a process.
struct Facts {
    mapped: Mapped,
    blind_spot: Option<BlindSpot>,
    /// It sees the same file with the line as we do.
    listed: bool,
}

fn judge(facts: &Facts, line: &Line, started: SystemTime) -> Sight {
    match (facts.mapped, facts.blind_spot, line.since) {
        (Mapped { current: true, .. }, ..) => Sight::Loaded,
        (Mapped { older: true, .. }, ..) => Sight::Older,
        (_, Some(BlindSpot::Static), _) => Sight::Static,
        (_, Some(BlindSpot::Foreign), _) => Sight::OtherProcessor,
        (Mapped { musl: true, .. }, ..) => Sight::OtherLoader,
        (.., None) => Sight::NotPreloaded,
        (.., Some(_)) if !facts.listed => Sight::OtherTree,
        (.., Some(since)) if started <= since => Sight::StartedBefore,
        _ => Sight::Dropped,
    }
}

/// Whether it was started so; the shim looks no later either.
fn is_switched_off(directory: &Path) -> bool {
    let environment = fs::read(directory.join("environ")).unwrap_or_default();
    let switch = format!("{KILL_SWITCH_VARIABLE}=1");
    let mut variables = environment.split(|byte| *byte == 0);
    variables.any(|variable| variable == switch.as_bytes())
}

/// Name and start of `/proc/pid/stat`. The name, in parentheses, may hold anything.
fn stat(text: &[u8]) -> Option<(String, u64)> {
    let from = text.iter().position(|byte| *byte == b'(')? + 1;
    let to = text.iter().rposition(|byte| *byte == b')')?;
    let rest = std::str::from_utf8(text.get(to + 1..)?).ok()?;
    let started = rest.split_ascii_whitespace().nth(19)?.parse().ok()?;
    let name = String::from_utf8_lossy(text.get(from..to)?).into_owned();
    Some((name, started))
}

/// A number in a line of `/proc/pid/status`.
fn field(status: &str, name: &str, at: usize) -> Option<u32> {
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_ascii_whitespace().nth(at)?.parse().ok()
}

fn ticks(count: u64) -> Duration {
    let per_second = rustix::param::clock_ticks_per_second().max(1);
    Duration::from_millis(count.saturating_mul(1000) / per_second)
}

/// When the machine started, to the second.
fn boot_time() -> io::Result<SystemTime> {
    let text = fs::read_to_string("/proc/stat")?;
    let line = text.lines().find_map(|line| line.strip_prefix("btime "));
    let seconds = line.and_then(|seconds| seconds.trim().parse().ok());
    let seconds = seconds.ok_or_else(|| io::Error::other("/proc/stat tells no btime"))?;
    Ok(UNIX_EPOCH + Duration::from_secs(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    const THEN: SystemTime = UNIX_EPOCH;

    fn judged(
        mapped: Mapped,
        blind_spot: Option<BlindSpot>,
        listed: bool,
        since: Option<u64>,
    ) -> Sight {
        let line = Line {
            file: Some((1, 1)),
            since: since.map(|second| THEN + Duration::from_secs(second)),
        };
        let facts = Facts {
            mapped,
            blind_spot,
            listed,
        };
        judge(&facts, &line, THEN + Duration::from_secs(10))
    }

    #[test]
    fn what_is_mapped_counts_and_then_why_nothing_is() {
        let nothing = Mapped::default();
        let (current, older) = (
            Mapped {
                current: true,
                ..nothing
            },
            Mapped {
                older: true,
                ..nothing
            },
        );
        let musl = Mapped {
            musl: true,
            ..nothing
        };
        let cases = [
            (current, None, true, Some(5), Sight::Loaded),
            (current, None, false, None, Sight::Loaded),
            (older, None, true, Some(5), Sight::Older),
            (
                nothing,
                Some(BlindSpot::Static),
                true,
                Some(5),
                Sight::Static,
            ),
            (
                nothing,
                Some(BlindSpot::Foreign),
                true,
                Some(5),
                Sight::OtherProcessor,
            ),
            (musl, None, true, Some(5), Sight::OtherLoader),
            (nothing, None, true, None, Sight::NotPreloaded),
            (nothing, None, false, Some(5), Sight::OtherTree),
            (nothing, None, true, Some(15), Sight::StartedBefore),
            (nothing, None, true, Some(5), Sight::Dropped),
        ];
        for (mapped, blind_spot, listed, since, expected) in cases {
            assert_eq!(judged(mapped, blind_spot, listed, since), expected);
        }
    }

    #[test]
    fn we_are_among_them() {
        let all = all(&Root::at(Path::new("/")).unwrap()).unwrap();
        let own = all
            .iter()
            .find(|process| process.pid == std::process::id())
            .unwrap();
        assert!(!own.sight.is_in() && own.started_ticks > 0);
        assert_eq!(own.uid, rustix::process::geteuid().as_raw());
    }

    #[test]
    fn a_name_may_hold_anything() {
        let rest = (1..=20).map(|at| format!(" {at}")).collect::<String>();
        let found = stat(format!("7 (a) ( b){rest}").as_bytes());
        assert_eq!(found, Some(("a) ( b".to_owned(), 20)));
        assert_eq!(stat(b"7 (a"), None);
    }
}

//! Runs one program to its end: as it is, with the library preloaded, or with the line in place, which
//! then is so for this program alone.

use std::ffi::{CString, OsStr, OsString};
use std::fs::File;
use std::io::{self, Read, Seek};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{MemfdFlags, memfd_create};
use rustix::mount::{MountPropagationFlags, mount_bind, mount_change};
use rustix::process::{Pid, PidfdFlags, Signal, chdir, chroot, kill_process_group, pidfd_open};
use rustix::thread::{UnshareFlags, unshare_unsafe};

use super::root::Root;
use crate::cli::commands::run::{PRELOAD_VARIABLE, preload};

/// How long a program may take. Those that are run here take some milliseconds.
const LIMIT: Timespec = Timespec {
    tv_sec: 30,
    tv_nsec: 0,
};

/// How the library gets into the program.
#[derive(Clone, Copy, Debug)]
pub(in crate::cli) enum How<'a> {
    /// Not at all, unless it does for every program of the machine.
    AsItIs,
    /// By the environment.
    Preloaded(&'a str),
    /// By the file `list` in place of `/etc/ld.so.preload`, at `target`, in a mount namespace of the
    /// program's own. Both paths as seen from here; both exist.
    Listed {
        /// What is to be read.
        list: &'a Path,
        /// In whose place.
        target: &'a Path,
    },
}

/// What a program left behind.
#[derive(Debug)]
pub(in crate::cli) struct Ran {
    /// How it ended; `None`: not in time.
    pub(in crate::cli) status: Option<ExitStatus>,
    /// Standard output.
    pub(in crate::cli) output: Vec<u8>,
    /// Standard error.
    pub(in crate::cli) errors: Vec<u8>,
}

/// Runs `program`, a path in `root`, in the directory `at` of it, with our own environment.
pub(in crate::cli) fn run(
    root: &Root,
    how: How<'_>,
    at: &Path,
    program: &str,
    arguments: &[&str],
) -> io::Result<Ran> {
    let (output, errors) = (capture()?, capture()?);
    let mut command = Command::new(program);
    command
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(output.try_clone()?)
        .stderr(errors.try_clone()?)
        .process_group(0);
    if let How::Preloaded(library) = how {
        let others = std::env::var_os(PRELOAD_VARIABLE);
        command.env(PRELOAD_VARIABLE, preload(OsString::from(library), others));
    }
    let world = World::new(root, how, at)?;
    // SAFETY: between fork and exec `enter` makes system calls and nothing else: it neither allocates
    // nor locks.
    unsafe { command.pre_exec(move || world.enter()) };
    let status = wait(&mut command.spawn()?)?;
    Ok(Ran {
        status,
        output: content(output)?,
        errors: content(errors)?,
    })
}

/// What a program sees, prepared before the fork.
struct World {
    bind: Option<(CString, CString)>,
    root: Option<CString>,
    at: CString,
}

impl World {
    fn new(root: &Root, how: How<'_>, at: &Path) -> io::Result<Self> {
        let bind = match how {
            How::Listed { list, target } => {
                Some((text(list.as_os_str())?, text(target.as_os_str())?))
            }
            _ => None,
        };
        let top = (!root.is_own()).then(|| text(root.directory().as_os_str()));
        Ok(Self {
            bind,
            root: top.transpose()?,
            at: text(at.as_os_str())?,
        })
    }

    fn enter(&self) -> io::Result<()> {
        if let Some((list, target)) = &self.bind {
            // SAFETY: a forked child has one thread, with which it shares nothing.
            unsafe { unshare_unsafe(UnshareFlags::NEWNS) }?;
            let apart = MountPropagationFlags::REC | MountPropagationFlags::PRIVATE;
            mount_change(c"/", apart)?;
            mount_bind(list, target)?;
        }
        if let Some(root) = &self.root {
            chroot(root)?;
        }
        Ok(chdir(&self.at)?)
    }
}

fn text(path: &OsStr) -> io::Result<CString> {
    Ok(CString::new(path.as_bytes())?)
}

/// Waits for the end, at most as long as the limit; then ends the program with all that it started.
fn wait(child: &mut Child) -> io::Result<Option<ExitStatus>> {
    let process = Pid::from_child(child);
    let descriptor = pidfd_open(process, PidfdFlags::empty())?;
    let mut ended = [PollFd::new(&descriptor, PollFlags::IN)];
    let in_time = poll(&mut ended, Some(&LIMIT))? > 0;
    if !in_time {
        kill_process_group(process, Signal::KILL)?;
    }
    let status = child.wait()?;
    Ok(in_time.then_some(status))
}

/// A file without a name: unlike a pipe it can't fill up while nobody reads.
fn capture() -> io::Result<File> {
    Ok(memfd_create("output", MemfdFlags::CLOEXEC)?.into())
}

fn content(mut file: File) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.rewind()?;
    file.read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_run_to_its_end() {
        let root = Root::at(Path::new("/")).unwrap();
        let script = ["-c", "pwd; echo no >&2; exit 3"];
        let ran = run(&root, How::AsItIs, Path::new("/usr"), "/bin/sh", &script).unwrap();
        assert_eq!(ran.status.and_then(|status| status.code()), Some(3));
        assert_eq!(
            (ran.output, ran.errors),
            (b"/usr\n".to_vec(), b"no\n".to_vec())
        );
        assert!(run(&root, How::AsItIs, Path::new("/"), "/none", &[]).is_err());
    }

    #[test]
    fn a_library_is_preloaded() {
        let root = Root::at(Path::new("/")).unwrap();
        let how = How::Preloaded("/no/such.so");
        let ran = run(&root, how, Path::new("/"), "/bin/true", &[]).unwrap();
        let said = String::from_utf8(ran.errors).unwrap();
        assert!(said.contains("/no/such.so"), "{said}");
    }
}

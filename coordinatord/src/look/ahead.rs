//! Looks ahead of a listing, so that it need not wait for the disk at each name.
//!
//! A listing looks at one name after the other. With nothing in the kernel's memory, as after a boot, each would
//! wait for the disk alone. Threads that look at the names further on keep the disk busy, and have what the listing
//! comes to in memory. Nothing that they find is used: the listing asks again.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use everwrite_protocol::ids::Name;
use rustix::fs::{Mode, OFlags, openat};

use super::listed::Listed;
use super::stat::{stat_at, stat_descriptor};

/// Requests that a disk is given at once.
const THREADS: usize = 8;
/// Jobs that wait; more are not looked ahead at.
const JOBS_MAX: usize = 256;
/// Names of one job.
pub const NAMES_PER_JOB: usize = 256;
/// Directories of one job.
const DIRECTORIES_PER_JOB: usize = 64;
/// Names of a directory that are looked at together.
const NAMES_PER_LOOK: usize = 16;
/// Names of a directory that are looked at when its parent is listed. Those behind them are when it is itself.
pub const NAMES_BELOW_MAX: usize = 1024;
/// An entry that takes less was in memory.
const IN_MEMORY: Duration = Duration::from_micros(5);
/// After so many looks in a row at what was in memory, only one in so many is done.
const IN_MEMORY_MAX: u32 = 16;

/// Threads that look ahead, until dropped. Best effort.
#[derive(Default)]
pub struct LookAhead {
    crew: Option<Crew>,
}

struct Crew {
    jobs: SyncSender<Job>,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    /// Nobody comes after what is looked at.
    stopped: AtomicBool,
    /// Looks in a row at what was in memory.
    in_memory: AtomicU32,
    /// Looks that were asked for since it got to [`IN_MEMORY_MAX`].
    left_out: AtomicU32,
}

struct Job {
    directory: OwnedFd,
    names: Vec<Name>,
    /// The names are of directories, and what is in them is looked at.
    below: bool,
}

impl LookAhead {
    /// These are names in `directory` that will be looked at.
    pub fn names(&mut self, directory: impl AsFd, names: &[Name]) {
        self.offer(directory, names, false);
    }

    /// These are directories in `directory` that will be listed.
    pub fn directories(&mut self, directory: impl AsFd, names: &[Name]) {
        for some in names.chunks(DIRECTORIES_PER_JOB) {
            self.offer(&directory, some, true);
        }
    }

    fn offer(&mut self, directory: impl AsFd, names: &[Name], below: bool) {
        if names.is_empty() {
            return;
        }
        let crew = self.crew.get_or_insert_with(Crew::start);
        if let Ok(directory) = directory.as_fd().try_clone_to_owned() {
            let names = names.to_vec();
            // A full channel: the listing is not far behind.
            let _ = crew.jobs.try_send(Job {
                directory,
                names,
                below,
            });
        }
    }
}

impl Drop for LookAhead {
    fn drop(&mut self) {
        if let Some(crew) = &self.crew {
            crew.shared.stopped.store(true, Relaxed);
        }
    }
}

impl Crew {
    fn start() -> Self {
        let (jobs, waiting) = sync_channel(JOBS_MAX);
        let (waiting, shared) = (Arc::new(Mutex::new(waiting)), Arc::<Shared>::default());
        for _ in 0..THREADS {
            let (waiting, shared) = (Arc::clone(&waiting), Arc::clone(&shared));
            let thread = std::thread::Builder::new().name("ahead".into());
            // Nobody waits for them: one may hang on a file system that does not answer. With fewer it takes longer.
            let _ = thread.spawn(move || shared.work(&waiting));
        }
        Self { jobs, shared }
    }
}

impl Shared {
    fn work(&self, waiting: &Mutex<Receiver<Job>>) {
        let next = || {
            let waiting = waiting.lock().unwrap_or_else(PoisonError::into_inner);
            waiting.recv().ok()
        };
        while let Some(job) = next() {
            if self.stopped.load(Relaxed) {
                continue;
            }
            match job.below {
                true => job
                    .names
                    .iter()
                    .for_each(|name| self.look_below(&job.directory, name)),
                false => job
                    .names
                    .chunks(NAMES_PER_LOOK)
                    .for_each(|names| self.look(&job.directory, names)),
            }
        }
    }

    fn look(&self, directory: &OwnedFd, names: &[Name]) {
        self.timed(|| look_at(directory, names));
    }

    fn look_below(&self, directory: &OwnedFd, name: &Name) {
        // Errors are for the listing to find.
        self.timed(|| look_below(directory, name).unwrap_or(0));
    }

    /// Does it, unless it is likely that all is in memory. It gives how many names it looked at.
    fn timed(&self, look: impl FnOnce() -> u32) {
        let in_memory = self.in_memory.load(Relaxed) >= IN_MEMORY_MAX;
        let left_out = || self.left_out.fetch_add(1, Relaxed);
        if self.stopped.load(Relaxed) || in_memory && !left_out().is_multiple_of(IN_MEMORY_MAX) {
            return;
        }
        let began = Instant::now();
        match look() {
            0 => {}
            some if began.elapsed() > IN_MEMORY * some => self.in_memory.store(0, Relaxed),
            _ => drop(self.in_memory.fetch_add(1, Relaxed)),
        }
    }
}

fn look_at(directory: &OwnedFd, names: &[Name]) -> u32 {
    let there = |name: &&Name| stat_at(directory, name).is_ok_and(|there| there.is_some());
    names.iter().filter(there).count() as u32
}

/// What another file system has there is not protected.
fn look_below(directory: &OwnedFd, name: &Name) -> std::io::Result<u32> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let path: &Path = name.as_ref();
    let below = openat(directory, path, flags, Mode::empty())?;
    let device = |directory| stat_descriptor(directory).map(|stat| stat.inode.device);
    if device(&below)? != device(directory)? {
        return Ok(0);
    }
    let names = Listed::of(&below)?.names;
    Ok(look_at(&below, &names[..names.len().min(NAMES_BELOW_MAX)]))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn names(names: &[&str]) -> Vec<Name> {
        names.iter().map(|name| Name::new(*name).unwrap()).collect()
    }

    #[test]
    fn names_and_what_is_below_them_is_looked_at() {
        let top = tempfile::tempdir().unwrap();
        let below = top.path().join("directory");
        fs::create_dir(&below).unwrap();
        for file in ["one", "two", "three"] {
            fs::write(below.join(file), "").unwrap();
        }
        fs::write(top.path().join("file"), "").unwrap();
        std::os::unix::fs::symlink("directory", top.path().join("link")).unwrap();
        let directory = fs::File::open(top.path()).unwrap().into();
        let names = names(&["directory", "file", "link", "gone"]);
        assert_eq!(look_at(&directory, &names), 3);
        let below = names.iter().map(|name| look_below(&directory, name).ok());
        assert_eq!(below.collect::<Vec<_>>(), [Some(3), None, None, None]);
    }

    #[test]
    fn other_file_systems_are_left_alone() {
        let top = fs::File::open("/").unwrap().into();
        assert_eq!(look_below(&top, &names(&["proc"])[0]).unwrap(), 0);
    }

    #[test]
    fn what_is_in_memory_is_looked_at_now_and_then() {
        let shared = Shared::default();
        let looks = |found: u32, took: Duration| {
            let mut looks = 0;
            let mut look = || {
                let began = Instant::now();
                while began.elapsed() < took {}
                looks += 1;
                found
            };
            (0..64).for_each(|_| shared.timed(&mut look));
            looks
        };
        let at_once = Duration::ZERO;
        assert_eq!(looks(0, at_once), 64, "nothing was there");
        assert_eq!(looks(u32::MAX, at_once), 16 + 3, "all was in memory");
        assert_eq!(looks(u32::MAX, at_once), 4, "it still is");
        assert_eq!(looks(1, 2 * IN_MEMORY), 64, "it is not any more");
    }
}

//! A disk that forgets, with a file system on it, mounted: for tests within mounts of their own.

use std::fs::File;
use std::io::Write;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use rustix::mount::{MountFlags, UnmountFlags};

use super::disk::{Disk, Image, Served};

pub(crate) const DISK_BYTES: u64 = 96 << 20;
/// How long devices and mounts may be in somebody else's hands.
const PATIENCE: Duration = Duration::from_secs(10);
/// Set for the test within mounts of its own.
const APART: &str = "EVERWRITE_TEST_MOUNTS_APART";

/// Has the test of this name run once more, within mounts of its own, where `test` is what it does.
pub(crate) fn apart(name: &str, test: impl FnOnce()) {
    if std::env::var_os(APART).is_some() {
        return match Place::new().and_then(|place| place.formatted().map(drop)) {
            Ok(()) => test(),
            Err(why) => eprintln!("SKIPPED {name}: needs root, loop devices, FUSE: {why}"),
        };
    }
    let this = std::env::current_exe().unwrap();
    let mut apart = Command::new("unshare");
    apart.arg("--mount").arg(this).args([name, "--exact"]);
    apart
        .args(["--nocapture", "--test-threads=1"])
        .env(APART, "1");
    let output = apart.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    print!("{}", String::from_utf8_lossy(&output.stdout));
    if said.contains("SKIPPED") || said.contains("unshare") {
        let why = said.lines().last().unwrap_or_default();
        // Past the capture of libtest, for scripts/test to count.
        drop(writeln!(std::io::stderr(), "SKIPPED {name}: {why}"));
    } else {
        eprint!("{said}");
        assert!(output.status.success(), "{}", output.status);
    }
}

pub(crate) fn run(program: &str, arguments: &[&str]) -> Result<(), String> {
    let output = Command::new(program).args(arguments).output();
    let output = output.map_err(|error| format!("{program}: {error}"))?;
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    output.status.success().then_some(()).ok_or(said)
}

/// Where a disk is served and mounted.
pub(crate) struct Place {
    pub(crate) disk: Disk,
    device: Loop,
    pub(crate) mount: PathBuf,
    _served: Served,
    _work: tempfile::TempDir,
}

/// A loop device over the disk. (One for all mounts: a new one each time takes as long as a check.)
pub(crate) struct Loop(String);

impl Loop {
    pub(crate) fn over(image: &Path) -> Result<Self, String> {
        let until = Instant::now() + PATIENCE;
        loop {
            match Self::try_over(image) {
                // Somebody else was faster with the device that was free.
                Err(_) if Instant::now() < until => std::thread::yield_now(),
                ended => return ended,
            }
        }
    }

    fn try_over(image: &Path) -> Result<Self, String> {
        let mut attach = Command::new("losetup");
        let found = attach.args(["-f", "--show"]).arg(image).output();
        let found = found.map_err(|error| format!("losetup: {error}"))?;
        let device = String::from_utf8_lossy(&found.stdout).trim().to_owned();
        let why = String::from_utf8_lossy(&found.stderr).into_owned();
        if device.is_empty() {
            Err(why)
        } else {
            Ok(Self(device))
        }
    }

    /// While anybody else looks at the device, the kernel keeps what it read of the disk before; no more.
    fn forget(&self) -> std::io::Result<()> {
        const BLKFLSBUF: libc::Ioctl = 0x1261;
        let device = File::open(&self.0)?;
        // SAFETY: this call takes no argument, and the descriptor is open.
        match unsafe { libc::ioctl(device.as_raw_fd(), BLKFLSBUF, 0) } {
            0 => Ok(()),
            _ => Err(std::io::Error::last_os_error()),
        }
    }

    /// Mounts what `put` puts on the disk; the kernel commits nothing by the clock.
    pub(crate) fn mount(
        &self,
        at: &Path,
        flags: MountFlags,
        put: impl FnOnce(),
    ) -> Result<(), String> {
        self.forget()
            .map_err(|error| format!("{}: {error}", self.0))?;
        put();
        let mounted = rustix::mount::mount(&self.0, at, "ext4", flags, c"commit=300");
        mounted.map_err(|error| format!("mount: {error}"))
    }
}

/// Does `work` on what is mounted, and takes it away: nothing of it may be in use then.
pub(crate) fn on_mounted<T>(at: &Path, work: impl FnOnce(&Path) -> T) -> Result<T, String> {
    let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| work(at)));
    take_away(at);
    done.map_err(|_| "a check failed".to_owned())
}

fn take_away(at: &Path) {
    if let Err(error) = unmount(at) {
        // While something is open on it the disk can't be taken away, and the test would not end.
        drop(writeln!(std::io::stderr(), "unmount: {error}"));
        std::process::exit(101);
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        if let Err(why) = run("losetup", &["-d", &self.0]) {
            eprintln!("{why}");
        }
    }
}

/// Another thread that starts a program has, for a moment, a copy of all that is open here.
fn unmount(mount: &Path) -> rustix::io::Result<()> {
    let until = Instant::now() + PATIENCE;
    loop {
        match rustix::mount::unmount(mount, UnmountFlags::empty()) {
            Err(rustix::io::Errno::BUSY) if Instant::now() < until => std::thread::yield_now(),
            ended => return ended,
        }
    }
}

impl Place {
    pub(crate) fn new() -> Result<Self, String> {
        let in_memory = tempfile::tempdir_in("/dev/shm");
        let work = in_memory.unwrap_or_else(|_| tempfile::tempdir().unwrap());
        let [disk_at, mount] = ["disk", "mount"].map(|name| work.path().join(name));
        std::fs::create_dir(&disk_at).unwrap();
        std::fs::create_dir(&mount).unwrap();
        let disk = Disk::new(DISK_BYTES);
        let served = Served::new(&disk, &disk_at).map_err(|error| format!("FUSE: {error}"))?;
        Ok(Self {
            disk,
            device: Loop::over(&disk_at.join("image"))?,
            mount,
            _served: served,
            _work: work,
        })
    }

    /// Does `work` on a disk, mounted.
    pub(crate) fn on<T>(&self, image: Image, work: impl FnOnce(&Path) -> T) -> Result<T, String> {
        self.mount(image)?;
        on_mounted(&self.mount, work)
    }

    /// Mounts that disk.
    pub(crate) fn mount(&self, image: Image) -> Result<(), String> {
        let put = || self.disk.replace(image);
        self.device.mount(&self.mount, MountFlags::NOATIME, put)
    }

    /// Takes it away; nothing of it may be in use.
    pub(crate) fn unmount(&self) {
        take_away(&self.mount);
    }

    /// A new file system.
    pub(crate) fn formatted(&self) -> Result<Image, String> {
        let options = ["-q", "-F", "-J", "size=4", &self.device.0];
        run("mkfs.ext4", &options)?;
        let image = self.disk.image();
        self.on(image.clone(), |_| ())?;
        Ok(image)
    }
}

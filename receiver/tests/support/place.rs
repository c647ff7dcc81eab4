//! A disk that forgets, with a file system on it, mounted: for tests within mounts of their own.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use rustix::mount::{MountFlags, UnmountFlags};

use super::disk::{Disk, Image, Served};

const DISK_BYTES: u64 = 96 << 20;
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
struct Loop(String);

impl Loop {
    fn over(image: &Path) -> Result<Self, String> {
        let found = Command::new("losetup")
            .args(["-f", "--show"])
            .arg(image)
            .output();
        let found = found.map_err(|error| format!("losetup: {error}"))?;
        let device = String::from_utf8_lossy(&found.stdout).trim().to_owned();
        let why = String::from_utf8_lossy(&found.stderr).into_owned();
        if device.is_empty() {
            Err(why)
        } else {
            Ok(Self(device))
        }
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
    let until = Instant::now() + Duration::from_secs(10);
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
        let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| work(&self.mount)));
        self.unmount();
        done.map_err(|_| "a check failed".to_owned())
    }

    /// Mounts that disk; the kernel commits nothing by the clock.
    pub(crate) fn mount(&self, image: Image) -> Result<(), String> {
        // While anybody else looks at the device, the kernel keeps what it read of the disk before.
        run("blockdev", &["--flushbufs", &self.device.0])?;
        self.disk.replace(image);
        let (flags, options) = (MountFlags::NOATIME, c"commit=300");
        let mounted = rustix::mount::mount(&self.device.0, &self.mount, "ext4", flags, options);
        mounted.map_err(|error| format!("mount: {error}"))
    }

    /// Takes it away; nothing of it may be in use.
    pub(crate) fn unmount(&self) {
        if let Err(error) = unmount(&self.mount) {
            // While something is open on it the disk can't be taken away, and the test would not end.
            drop(writeln!(std::io::stderr(), "unmount: {error}"));
            std::process::exit(101);
        }
    }

    /// A new file system.
    pub(crate) fn formatted(&self) -> Result<Image, String> {
        run("mkfs.ext4", &["-q", "-F", "-J", "size=4", &self.device.0])?;
        let image = self.disk.image();
        self.on(image.clone(), |_| ())?;
        Ok(image)
    }
}

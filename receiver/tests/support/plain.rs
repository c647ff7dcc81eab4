//! A disk that remembers nothing of what happens to it: for a look at what another one has come to. It is a file in
//! memory, so its requests leave the kernel for nobody.

use std::fs::File;
use std::path::{Path, PathBuf};

use rustix::mount::MountFlags;

use super::disk::Image;
use super::place::{DISK_BYTES, Loop, on_mounted};

/// Where it is mounted.
pub(crate) struct Plain {
    file: File,
    device: Loop,
    mount: PathBuf,
    _work: tempfile::TempDir,
}

impl Plain {
    pub(crate) fn new() -> Result<Self, String> {
        let work = super::scratch();
        let [image, mount] = ["image", "mount"].map(|name| work.path().join(name));
        std::fs::create_dir(&mount).unwrap();
        let file = File::create_new(&image).unwrap();
        file.set_len(DISK_BYTES).unwrap();
        Ok(Self {
            file,
            device: Loop::over(&image)?,
            mount,
            _work: work,
        })
    }

    /// Does `work` on the file system of that disk, its journal replayed; what it changes is forgotten.
    pub(crate) fn on<T>(&self, image: &Image, work: impl FnOnce(&Path) -> T) -> Result<T, String> {
        let put = || self.hold(image).unwrap();
        self.device.mount(&self.mount, MountFlags::NOATIME, put)?;
        on_mounted(&self.mount, work)
    }

    /// Nothing but that.
    fn hold(&self, image: &Image) -> std::io::Result<()> {
        self.file.set_len(0)?;
        self.file.set_len(DISK_BYTES)?;
        image.save(&self.file)
    }
}

//! From the numbers that eBPF tells to the inodes that those see who use the files.

use std::collections::HashMap;
use std::io;
use std::os::fd::AsFd;

use everwrite_protocol::local::Inode;

use super::area::Area;
use super::event::Number;
use super::handle;
use crate::look::stat_descriptor;

/// Files and subvolumes remembered; all are forgotten when there are more.
const KNOWN_MAX: usize = 1 << 14;

/// What is known of files in overlays and of subvolumes, whose numbers are not all that tells who they are.
#[derive(Default)]
pub(super) struct Seen {
    files: HashMap<(u32, Number), Vec<Inode>>,
    devices: HashMap<(u32, u64), u64>,
}

impl Seen {
    /// Other roots are watched.
    pub(super) fn forget(&mut self) {
        self.files.clear();
        self.devices.clear();
    }

    /// A file below the area that is registered as `root`. None when it is gone. An error means that it could not
    /// be found out.
    pub(super) fn files(
        &mut self,
        areas: &[Area],
        root: u32,
        file: Number,
    ) -> io::Result<Vec<Inode>> {
        let Some(area) = area(areas, root) else {
            // A root that is not watched any more.
            return Ok(Vec::new());
        };
        if !area.is_shown_elsewhere() {
            return Ok(self.itself(area, root, file)?.into_iter().collect());
        }
        if let Some(known) = self.files.get(&(root, file)) {
            return Ok(known.clone());
        }
        let mut files = in_overlays(areas, area, file)?;
        let is_seen = !files.is_empty();
        // The upper directory may itself lie below a root.
        files.extend(self.itself(area, root, file)?);
        if self.files.len() >= KNOWN_MAX {
            self.files.clear();
        }
        if is_seen {
            self.files.insert((root, file), files.clone());
        }
        Ok(files)
    }

    /// The file as what it is. `None`: its subvolume is gone.
    fn itself(&mut self, area: &Area, root: u32, file: Number) -> io::Result<Option<Inode>> {
        let inode = file.inode;
        let device = match file.tree {
            0 => Some(area.inode.device),
            tree => self.device(area, root, tree)?,
        };
        Ok(device.map(|device| Inode { device, inode }))
    }

    /// Each subvolume of a btrfs has a device of its own.
    fn device(&mut self, area: &Area, root: u32, tree: u64) -> io::Result<Option<u64>> {
        if let Some(known) = self.devices.get(&(root, tree)) {
            return Ok(Some(*known));
        }
        let Some(top) = handle::open(area.as_fd(), &handle::of_tree(tree))? else {
            return Ok(None);
        };
        let device = stat_descriptor(&top)?.inode.device;
        if self.devices.len() >= KNOWN_MAX {
            self.devices.clear();
        }
        self.devices.insert((root, tree), device);
        Ok(Some(device))
    }
}

/// In all areas with this upper directory.
fn in_overlays(areas: &[Area], upper: &Area, file: Number) -> io::Result<Vec<Inode>> {
    let Some(handle) = handle::of_number(upper.magic, file) else {
        // Of such it is said that not all is heard.
        return Ok(Vec::new());
    };
    let mut files = Vec::new();
    let same = |area: &&Area| area.inode == upper.inode && area.is_shown_elsewhere();
    for area in areas.iter().filter(same) {
        let Some(file) = handle::open(area.as_fd(), &handle)? else {
            return Ok(Vec::new());
        };
        files.extend(area.seen(file.as_fd())?.map(|stat| stat.inode));
    }
    files.dedup();
    Ok(files)
}

/// Areas are registered under their place in the list, counted from one.
pub(super) fn area(areas: &[Area], number: u32) -> Option<&Area> {
    areas.get(usize::try_from(number).ok()?.checked_sub(1)?)
}

//! Where the roots are, so that shims can tell what lies outside them.
//!
//! A path says that only while no mount shows a piece of a root elsewhere, or a piece of elsewhere in
//! a root, under the same device. A mount within a root is enough to say nothing.

use std::io::{self, Error};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::fs::{AtFlags, CWD, Statx, StatxFlags, makedev, statx};

use crate::intake::{Intake, Places, RootPlace};
use crate::mounts::mounts;

/// Tells the shims where the roots are. Looking may take long (a root on a file system that does not
/// answer), so it is never waited for; until it is known where the roots are now, nothing is outside.
pub(super) struct PlaceTeller {
    intake: Arc<Intake>,
    /// How often the roots have changed. Held while places are told, so that none of before are told
    /// after a change.
    turn: Mutex<u64>,
    looking: AtomicBool,
}

impl PlaceTeller {
    pub(super) fn new(intake: Arc<Intake>) -> Self {
        Self {
            intake,
            turn: Mutex::new(0),
            looking: AtomicBool::new(false),
        }
    }

    /// Other directories are roots now.
    pub(super) fn roots_changed(self: &Arc<Self>, roots: Vec<PathBuf>) {
        let mut turn = self.turn();
        *turn += 1;
        self.intake.set_places(None);
        drop(turn);
        self.look(roots);
    }

    /// Looks where these are, beside the caller; not while an earlier look goes on.
    pub(super) fn look(self: &Arc<Self>, roots: Vec<PathBuf>) {
        if self.looking.swap(true, Ordering::AcqRel) {
            return;
        }
        let (teller, asked) = (Arc::clone(self), *self.turn());
        tokio::task::spawn_blocking(move || {
            let places = places_of(roots.iter().map(PathBuf::as_path));
            let turn = teller.turn();
            if *turn == asked {
                teller.intake.set_places(places.as_ref());
            }
            drop(turn);
            teller.looking.store(false, Ordering::Release);
        });
    }

    fn turn(&self) -> MutexGuard<'_, u64> {
        self.turn.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

const MOUNTS: &str = "/proc/self/mountinfo";

/// Places of these roots; `None` when paths do not tell. (A root that is missing is nowhere: what
/// belongs to it may be anywhere.)
pub fn places_of<'p>(roots: impl IntoIterator<Item = &'p Path>) -> Option<Places> {
    let found = roots
        .into_iter()
        .map(root_place)
        .collect::<io::Result<Vec<_>>>()
        .ok()?;
    let mountinfo = std::fs::read(MOUNTS).ok()?;
    let within = |mount: &Path| found.iter().any(|root| is_within(mount, root));
    if mounts(&mountinfo).any(|mount| within(&mount.point)) {
        return None;
    }
    let top = look(Path::new("/")).ok()?;
    Some(Places {
        top: [mount_of(&top)?, top.stx_ino],
        roots: found,
    })
}

fn root_place(path: &Path) -> io::Result<RootPlace> {
    let path = path.canonicalize()?;
    let found = look(&path)?;
    let mount = mount_of(&found).ok_or_else(|| Error::from(io::ErrorKind::Unsupported))?;
    Ok(RootPlace {
        device: makedev(found.stx_dev_major, found.stx_dev_minor),
        mount,
        path: path.into_os_string().into_vec(),
    })
}

fn look(path: &Path) -> rustix::io::Result<Statx> {
    let mask = StatxFlags::BASIC_STATS | StatxFlags::MNT_ID;
    statx(CWD, path, AtFlags::empty(), mask)
}

/// Linux tells it since 5.8.
fn mount_of(found: &Statx) -> Option<u64> {
    let told = found.stx_mask & StatxFlags::MNT_ID.bits() != 0;
    told.then_some(found.stx_mnt_id)
}

fn is_within(mount: &Path, root: &RootPlace) -> bool {
    mount
        .strip_prefix(Path::new(std::ffi::OsStr::from_bytes(&root.path)))
        .is_ok_and(|rest| !rest.as_os_str().is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mount_is_within_a_root_only_below_it() {
        let root = RootPlace {
            device: 1,
            mount: 1,
            path: b"/srv/data".to_vec(),
        };
        let cases = [
            ("/srv/data", false),
            ("/srv/data/x", true),
            ("/srv/data2", false),
            ("/srv", false),
        ];
        for (mount, expected) in cases {
            assert_eq!(is_within(Path::new(mount), &root), expected, "{mount}");
        }
    }
}

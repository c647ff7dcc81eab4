//! Files that `posix_spawn` opens in the child: libc does it, past every hook, and the child becomes
//! another program before its first event.
//!
//! What is to be opened is told when it is asked for, and once more when the list of actions is
//! destroyed, which programs do after the spawn: by then it has happened.

use core::sync::atomic::{
    AtomicU32, AtomicU64, AtomicUsize,
    Ordering::{AcqRel, Acquire, Relaxed, Release},
};

use everwrite_protocol::local::segment::operation;
use everwrite_protocol::local::{FileModification, Inode, NameChange};

use crate::range::{self, Change, File};
use crate::{message, policy};

/// Openings that are remembered at once.
const OPENINGS: usize = 16;

/// One opening. All-zero: free.
struct Opening {
    /// Address of the list of actions; 0: free, 1: being filled.
    actions: AtomicUsize,
    device: AtomicU64,
    directory: AtomicU64,
    /// The file that will be cut short; 0: none.
    file: AtomicU64,
    birth: AtomicU64,
}

const FILLING: usize = 1;

// SAFETY: all-zero is a valid, free opening: it is made of integers.
static OPENED: [Opening; OPENINGS] = unsafe { core::mem::zeroed() };
/// Openings that found no room.
static FORGOTTEN: AtomicU32 = AtomicU32::new(0);

/// A name in `directory` will be made by a child of `actions`, or `file` cut short.
pub(crate) fn remember(actions: usize, directory: Inode, file: Option<File>) {
    let free = |opening: &&Opening| {
        opening
            .actions
            .compare_exchange(0, FILLING, AcqRel, Relaxed)
            .is_ok()
    };
    let Some(opening) = OPENED.iter().find(free) else {
        FORGOTTEN.fetch_add(1, Relaxed);
        return;
    };
    opening.device.store(directory.device, Relaxed);
    opening.directory.store(directory.inode, Relaxed);
    opening
        .file
        .store(file.map_or(0, |file| file.inode.inode), Relaxed);
    opening
        .birth
        .store(file.map_or(0, |file| file.birth), Relaxed);
    opening.actions.store(actions, Release);
}

/// The list of actions is destroyed: what it says has happened.
pub(crate) fn tell(actions: usize) {
    let of_list = |opening: &&Opening| opening.actions.load(Acquire) == actions;
    OPENED.iter().filter(of_list).for_each(Opening::tell);
    if FORGOTTEN.swap(0, Relaxed) != 0
        && let Some(page) = policy::active()
    {
        message::tell(page, &FileModification::Anywhere);
    }
}

impl Opening {
    fn tell(&self) {
        let device = self.device.load(Relaxed);
        let directory = Inode {
            device,
            inode: self.directory.load(Relaxed),
        };
        let inode = Inode {
            device,
            inode: self.file.load(Relaxed),
        };
        let file = File {
            inode,
            birth: self.birth.load(Relaxed),
        };
        self.actions.store(0, Release);
        let Some(page) = policy::active() else { return };
        let change = NameChange::Created;
        message::tell(
            page,
            &FileModification::Name {
                directory,
                name: b"",
                change,
            },
        );
        if inode.inode != 0 {
            range::tell(page, file, Change::new(operation::TRUNCATE, 0, 0));
        }
    }
}

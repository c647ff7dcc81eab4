//! Files that `posix_spawn` opens in the child: libc does it, past every hook, and the child becomes
//! another program before its first event.
//!
//! What is to be opened is told when it is asked for, and once more when a program has been started
//! with the list of actions: by then it has happened.

use core::sync::atomic::{
    AtomicU32, AtomicU64, AtomicUsize,
    Ordering::{AcqRel, Acquire, Relaxed, Release},
};

use everwrite_protocol::local::segment::operation;
use everwrite_protocol::local::{FileModification, Inode, NameChange, PolicyPage};

use crate::range::{self, Change, File};
use crate::{message, place, policy};

/// Actions that are remembered at once.
const ACTIONS: usize = 16;

/// One action. All-zero: free.
struct Action {
    /// Address of the list of actions; 0: free, 1: being filled.
    list: AtomicUsize,
    kind: AtomicU32,
    device: AtomicU64,
    directory: AtomicU64,
    /// The file that will be cut short; 0: none.
    file: AtomicU64,
    birth: AtomicU64,
}

const FILLING: usize = 1;
/// Makes some name of the directory, or cuts a file short.
const OPENS: u32 = 0;
/// Changes the working directory: paths behind it are not known.
const MOVES: u32 = 1;
/// Opens something, no telling where.
const OPENS_ANYWHERE: u32 = 2;
/// Opens by paths that begin at this directory, unless the program has gone to another since.
const OPENS_FROM_HERE: u32 = 3;

// SAFETY: all-zero is a valid, free action: it is made of integers.
static REMEMBERED: [Action; ACTIONS] = unsafe { core::mem::zeroed() };
/// Not 0: some action found no room. From then on every list may do anything.
static FORGOTTEN: AtomicU32 = AtomicU32::new(0);

/// A name in `directory` will be made by a child of `list`, or `file` cut short.
pub(crate) fn remember(list: usize, directory: Inode, file: Option<File>) {
    remember_at(list, OPENS, directory, file);
}

/// A child of `list` will open something by a path that begins at the working directory.
pub(crate) fn remember_here(list: usize) {
    remember_at(list, OPENS_FROM_HERE, place::here(), None);
}

fn remember_at(list: usize, kind: u32, directory: Inode, file: Option<File>) {
    add(list, kind, |action| {
        let (inode, birth) = file.map_or((0, 0), |file| (file.inode.inode, file.birth));
        action.device.store(directory.device, Relaxed);
        action.directory.store(directory.inode, Relaxed);
        action.file.store(inode, Relaxed);
        action.birth.store(birth, Relaxed);
    });
}

/// A child of `list` will have another working directory.
pub(crate) fn remember_move(list: usize) {
    add(list, MOVES, |_| {});
}

/// A child of `list` will open something somewhere.
pub(crate) fn remember_anywhere(list: usize) {
    add(list, OPENS_ANYWHERE, |_| {});
}

fn add(list: usize, kind: u32, fill: impl FnOnce(&Action)) {
    let free = |action: &&Action| {
        action
            .list
            .compare_exchange(0, FILLING, AcqRel, Relaxed)
            .is_ok()
    };
    let Some(action) = REMEMBERED.iter().find(free) else {
        return FORGOTTEN.store(1, Relaxed);
    };
    fill(action);
    action.kind.store(kind, Relaxed);
    action.list.store(list, Release);
}

fn of_list(list: usize) -> impl Iterator<Item = &'static Action> {
    let of_list = move |action: &&Action| list > FILLING && action.list.load(Acquire) == list;
    REMEMBERED.iter().filter(of_list)
}

/// Whether a child of `list` will have another working directory.
pub(crate) fn moves(list: usize) -> bool {
    FORGOTTEN.load(Relaxed) != 0 || of_list(list).any(|action| action.kind.load(Relaxed) == MOVES)
}

/// A child has done what `list` says, 0: nothing.
pub(crate) fn tell(list: usize) {
    let Some(page) = policy::active().filter(|_| list != 0) else {
        return;
    };
    of_list(list).for_each(|action| action.tell(page));
    if FORGOTTEN.load(Relaxed) != 0 {
        message::tell(page, &FileModification::Anywhere);
    }
}

/// The list of actions is destroyed.
pub(crate) fn forget(list: usize) {
    of_list(list).for_each(|action| action.list.store(0, Release));
}

impl Action {
    fn tell(&self, page: &PolicyPage) {
        match self.kind.load(Relaxed) {
            OPENS => self.tell_opened(page),
            MOVES => {}
            OPENS_FROM_HERE if self.is_from_here() => {}
            _ => message::tell(page, &FileModification::Anywhere),
        }
    }

    fn is_from_here(&self) -> bool {
        let here = place::here();
        here.inode != 0 && self.directory() == here
    }

    fn directory(&self) -> Inode {
        Inode {
            device: self.device.load(Relaxed),
            inode: self.directory.load(Relaxed),
        }
    }

    fn tell_opened(&self, page: &PolicyPage) {
        let directory = self.directory();
        let some_name = FileModification::Name {
            directory,
            name: b"",
            change: NameChange::Created,
        };
        message::tell(page, &some_name);
        let inode = Inode {
            device: directory.device,
            inode: self.file.load(Relaxed),
        };
        if inode.inode != 0 {
            let birth = self.birth.load(Relaxed);
            let change = Change::new(operation::TRUNCATE, 0, 0);
            range::tell(page, File { inode, birth }, change);
        }
    }
}

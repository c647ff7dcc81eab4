//! From the words of a slot to what they say. Every word is untrusted.

use std::sync::atomic::Ordering::Relaxed;

use everwrite_protocol::ids::Name;
use everwrite_protocol::local::segment::{
    HULL_ATTRIBUTES, HULL_NAMES, HULL_RANGE, HULL_WHOLE, Hull, MESSAGE_SLOT_BODY_BYTES,
    MessageSlot, RangeSlot, operation,
};
use everwrite_protocol::local::{FileModification, Inode, NameChange, decode};

use super::hint::What;

/// The fields of a range slot, copied.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct RangeFields {
    pub(super) file: Inode,
    pub(super) birth: u64,
    pub(super) offset: u64,
    pub(super) length: u64,
    pub(super) operation: u32,
    pub(super) chain: u64,
    /// Who announced it.
    pub(super) thread: u32,
}

impl RangeFields {
    pub(super) fn copy(slot: &RangeSlot) -> Self {
        Self {
            file: Inode {
                device: slot.device.load(Relaxed),
                inode: slot.inode.load(Relaxed),
            },
            birth: slot.birth.load(Relaxed),
            offset: slot.offset.load(Relaxed),
            length: slot.length.load(Relaxed),
            operation: slot.operation.load(Relaxed),
            chain: slot.chain.load(Relaxed),
            thread: slot.thread.load(Relaxed),
        }
    }

    /// What the slot says, taken at its word. `None`: nothing (a range without bytes).
    /// An operation that is not known is the widest there is for a file.
    pub(super) fn what(&self) -> Option<What> {
        let Self {
            file,
            birth,
            offset,
            length,
            ..
        } = *self;
        match self.operation {
            operation::WRITE | operation::RUN if length == 0 => None,
            operation::WRITE | operation::RUN => Some(What::Write {
                file,
                birth,
                offset,
                length,
            }),
            operation::APPEND => Some(What::Append { file, birth }),
            // Whatever lay beyond the new end is gone, even if the file has grown again since.
            operation::TRUNCATE => Some(What::Write {
                file,
                birth,
                offset,
                length: u64::MAX,
            }),
            operation::ATTRIBUTES => Some(What::Attributes { file, birth }),
            operation::MAP => Some(What::Mapped {
                file,
                birth,
                offset,
                length,
            }),
            operation::SYNC => Some(What::Sync { file }),
            operation::UNMAP => Some(What::Unmapped { file, birth }),
            _ => Some(self.whole()),
        }
    }

    /// Does it say that content changed?
    pub(super) fn is_content(&self) -> bool {
        matches!(
            self.what(),
            Some(What::Write { .. } | What::Append { .. } | What::Whole { .. })
        )
    }

    /// The file and its birth.
    pub(super) fn key(&self) -> (Inode, u64) {
        (self.file, self.birth)
    }

    /// "Content changed, no telling where", of the same file.
    pub(super) fn whole(&self) -> What {
        What::Whole {
            file: self.file,
            birth: self.birth,
        }
    }
}

/// What the message of a slot says: nothing when it has no bytes (the call failed). `None` when it
/// can't be read.
pub(super) fn message(slot: &MessageSlot) -> Option<Vec<What>> {
    let mut bytes = [0u8; MESSAGE_SLOT_BODY_BYTES];
    for (target, word) in bytes.chunks_exact_mut(8).zip(&slot.body) {
        target.copy_from_slice(&word.load(Relaxed).to_le_bytes());
    }
    match slot.length.load(Relaxed) as usize {
        0 => Some(Vec::new()),
        length => {
            let modification = decode::<FileModification<'_>>(bytes.get(..length)?)?;
            Some(modified(&modification))
        }
    }
}

/// A name that is none (or unknown) still says in which directory to look.
fn modified(modification: &FileModification<'_>) -> Vec<What> {
    match *modification {
        FileModification::Anywhere => vec![What::Everything],
        FileModification::Name {
            directory,
            name,
            change,
        } => vec![one_name(directory, name, change == NameChange::Arrived)],
        FileModification::Rename {
            old_directory,
            old_name,
            new_directory,
            new_name,
            ..
        } => match (Name::new(old_name), Name::new(new_name)) {
            (Ok(old_name), Ok(new_name)) => {
                vec![What::Rename {
                    old_directory,
                    old_name,
                    new_directory,
                    new_name,
                }]
            }
            _ => vec![
                one_name(old_directory, old_name, false),
                one_name(new_directory, new_name, false),
            ],
        },
    }
}

fn one_name(directory: Inode, name: &[u8], arrived: bool) -> What {
    match Name::new(name) {
        Ok(name) => What::Name {
            directory,
            name,
            arrived,
        },
        Err(_) => What::Names { directory },
    }
}

/// What `flags`, taken from `hull`, say.
pub(super) fn hull(hull: &Hull, flags: u32) -> impl Iterator<Item = What> {
    let file = Inode {
        device: hull.device.load(Relaxed),
        inode: hull.inode.load(Relaxed),
    };
    let low = !hull.low_inverted.load(Relaxed);
    let length = hull.high.load(Relaxed).saturating_sub(low);
    let has = move |flag| flags & flag != 0;
    let known = HULL_RANGE | HULL_ATTRIBUTES | HULL_NAMES | HULL_WHOLE;
    let content = match () {
        // No range where there should be one, or a flag that is not known: the widest.
        () if has(HULL_WHOLE) || has(!known) || (has(HULL_RANGE) && length == 0) => {
            Some(What::Whole { file, birth: 0 })
        }
        () if has(HULL_RANGE) => Some(What::Write {
            file,
            birth: 0,
            offset: low,
            length,
        }),
        () => None,
    };
    let attributes = has(HULL_ATTRIBUTES).then_some(What::Attributes { file, birth: 0 });
    let names = has(HULL_NAMES).then_some(What::Names { directory: file });
    content.into_iter().chain(attributes).chain(names)
}

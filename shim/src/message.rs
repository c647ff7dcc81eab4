//! Two-phase message slots: what happens to names.

use core::slice;
use core::sync::atomic::{
    AtomicU8, AtomicU64,
    Ordering::{Relaxed, Release},
};

use bincode::Encode;
use bincode::enc::write::Writer;
use bincode::error::EncodeError;
use everwrite_protocol::local::segment::{
    DONE, INTENT, MESSAGE_SLOT_BODY_BYTES, MESSAGE_SLOTS, MessageSlot, control,
};
use everwrite_protocol::local::{FileModification, Inode, NAME_BYTES_MAX, NameChange, PolicyPage};

use crate::attach::{self, Absence, Lane};
use crate::hull::{self, Widened};
use crate::range::{count, ring, thread_id, wake, wake_in_time};
use crate::{claim, policy};

// A slot holds the longest message: two names, four inode words of at most 9 bytes, and four small
// numbers.
const _: () = assert!(2 * (NAME_BYTES_MAX + 3) + 4 * 9 + 4 <= MESSAGE_SLOT_BODY_BYTES);

/// Slots of the ring.
const SLOTS: u64 = MESSAGE_SLOTS as u64;

/// An announced message whose call has not returned.
#[derive(Clone, Copy)]
pub(crate) struct Ticket {
    place: Place,
    wide: Wide,
}

#[derive(Clone, Copy)]
enum Place {
    Slot {
        slot: &'static MessageSlot,
        position: u64,
        lane: Lane,
    },
    Hull(Lane),
    Memory,
    /// Nobody listened under this epoch.
    Nowhere(u64),
}

/// A message without its names.
#[derive(Clone, Copy)]
enum Wide {
    Directories(Inode, Inode),
    Anywhere,
}

impl Wide {
    fn of(message: &FileModification<'_>) -> Self {
        match message {
            FileModification::Name { directory, .. } => Self::Directories(*directory, *directory),
            FileModification::Rename {
                old_directory,
                new_directory,
                ..
            } => Self::Directories(*old_directory, *new_directory),
            FileModification::Anywhere => Self::Anywhere,
        }
    }
}

/// Announces a message before its call is made.
#[inline(never)]
pub(crate) fn announce(page: &PolicyPage, message: &FileModification<'_>) -> Ticket {
    policy::hold(page);
    let wide = Wide::of(message);
    let place = match attach::lane(page) {
        Ok(lane) => match claim(lane, message) {
            Some((slot, position)) => Place::Slot {
                slot,
                position,
                lane,
            },
            None => Place::Hull(lane),
        },
        Err(Absence::Later) => Place::Memory,
        Err(Absence::Unheard) => Place::Nowhere(page.epoch.load(Relaxed)),
    };
    let ticket = Ticket { place, wide };
    ticket.widen();
    ticket
}

/// Tells of a change that has happened already.
pub(crate) fn tell(page: &PolicyPage, message: &FileModification<'_>) {
    announce(page, message).done(true);
}

impl Ticket {
    /// The call returned; `changed` is false when it certainly did nothing.
    #[inline(never)]
    pub(crate) fn done(&self, changed: bool) {
        self.finish(changed);
        if changed && self.is_outlived() {
            self.again();
        }
    }

    /// As with ranges: another coordinator has begun since the announcement.
    fn is_outlived(&self) -> bool {
        match self.place {
            Place::Slot { lane, .. } | Place::Hull(lane) => lane.is_outlived(),
            Place::Nowhere(epoch) => policy::epoch() != epoch,
            Place::Memory => false,
        }
    }

    /// Tells what is still known: in which directories.
    #[cold]
    #[inline(never)]
    fn again(&self) {
        let Some(page) = policy::active() else { return };
        let some_name = |directory| FileModification::Name {
            directory,
            name: b"",
            change: NameChange::Removed,
        };
        match self.wide {
            Wide::Anywhere => announce(page, &FileModification::Anywhere).finish(true),
            Wide::Directories(old, new) => {
                announce(page, &some_name(old)).finish(true);
                announce(page, &some_name(new)).finish(true);
            }
        }
    }

    #[inline(always)]
    fn finish(&self, changed: bool) {
        match self.place {
            Place::Slot {
                slot,
                position,
                lane,
            } => {
                if !changed {
                    slot.length.store(0, Relaxed);
                }
                slot.control.store(control(position, SLOTS, DONE), Release);
                ring(lane);
            }
            _ if changed => self.widen(),
            _ => {}
        }
    }

    /// The call returned, and gave the one thing that could not be known before: the name.
    pub(crate) fn done_with_name(&self, directory: Inode, name: &[u8]) {
        if let Place::Slot { slot, .. } = self.place {
            let message = FileModification::Name {
                directory,
                name,
                change: NameChange::Created,
            };
            fill(slot, &message);
        }
        self.done(true);
    }

    fn widen(&self) {
        match (self.place, self.wide) {
            (Place::Slot { .. } | Place::Nowhere(_), _) => {}
            (Place::Hull(lane), Wide::Anywhere) => hull::raise_all(lane.segment()),
            (Place::Memory, Wide::Anywhere) => hull::remember_all(),
            (Place::Hull(lane), Wide::Directories(old, new)) => {
                hull::raise(lane.segment(), &Widened::names(old));
                hull::raise(lane.segment(), &Widened::names(new));
                wake(lane);
            }
            (Place::Memory, Wide::Directories(old, new)) => {
                hull::remember(&Widened::names(old));
                hull::remember(&Widened::names(new));
            }
        }
    }
}

fn claim(lane: Lane, message: &FileModification<'_>) -> Option<(&'static MessageSlot, u64)> {
    let ring = &lane.segment().messages;
    let (slot, position) = claim::slot(&ring.head, &ring.slots, |slot| &slot.control)?;
    slot.thread.store(thread_id(lane), Relaxed);
    fill(slot, message);
    slot.control
        .store(control(position, SLOTS, INTENT), Release);
    count(lane);
    wake_in_time(lane, position, SLOTS);
    Some((slot, position))
}

fn fill(slot: &MessageSlot, message: &FileModification<'_>) {
    let length = write_into(&slot.body, message);
    slot.length.store(length, Relaxed);
}

/// Encodes `message` straight into shared memory, or memory like it, as every message of the shim is encoded: so
/// the code is there once. Gives the bytes used, 0 if it did not fit, which the assertion at the top excludes.
pub(crate) fn write_into(body: &[AtomicU64], message: &impl Encode) -> u32 {
    // SAFETY: the same memory byte by byte. Nobody in this process reads it until it has been written.
    let room = unsafe { slice::from_raw_parts(body.as_ptr().cast(), size_of_val(body)) };
    let writer = Body { room, used: 0 };
    let mut encoder = bincode::enc::EncoderImpl::new(writer, bincode::config::standard());
    let whole = message.encode(&mut encoder).is_ok();
    let used = encoder.into_writer().used;
    if whole { used as u32 } else { 0 }
}

/// Writes bytes one after the other: most pieces of a message are shorter than a word.
struct Body<'a> {
    room: &'a [AtomicU8],
    used: usize,
}

impl Writer for Body<'_> {
    fn write(&mut self, bytes: &[u8]) -> Result<(), EncodeError> {
        let end = self.used.saturating_add(bytes.len());
        let places = self.room.get(self.used..end);
        let places = places.ok_or(EncodeError::UnexpectedEnd)?;
        places
            .iter()
            .zip(bytes)
            .for_each(|(place, byte)| place.store(*byte, Relaxed));
        self.used = end;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use everwrite_protocol::local::decode;

    use super::*;

    fn written(message: &FileModification<'_>) -> Vec<u8> {
        let body: Vec<AtomicU64> = (0..MESSAGE_SLOT_BODY_BYTES / 8)
            .map(|_| AtomicU64::new(u64::MAX))
            .collect();
        let length = write_into(&body, message) as usize;
        let bytes: Vec<u8> = body
            .iter()
            .flat_map(|word| word.load(Relaxed).to_le_bytes())
            .collect();
        bytes[..length].to_vec()
    }

    #[test]
    fn what_is_written_into_a_slot_is_what_the_coordinator_reads() {
        let long = [b'x'; NAME_BYTES_MAX];
        let far = Inode {
            device: u64::MAX,
            inode: u64::MAX,
        };
        let messages = [
            FileModification::Anywhere,
            FileModification::Name {
                directory: far,
                name: b"",
                change: NameChange::Removed,
            },
            FileModification::Rename {
                old_directory: far,
                old_name: &long,
                new_directory: far,
                new_name: &long,
                exchange: true,
            },
        ];
        for message in messages {
            assert_eq!(
                decode::<FileModification<'_>>(&written(&message)),
                Some(message)
            );
        }
    }
}

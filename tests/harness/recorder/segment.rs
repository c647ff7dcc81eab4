//! Reads one segment.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};

use everwrite_protocol::local::segment::{
    DONE, FREE, HULL_ATTRIBUTES, HULL_NAMES, HULL_RANGE, HULL_WHOLE, Hull, INTENT, MESSAGE_SLOTS,
    MessageSlot, RANGE_SLOTS, RangeSlot, Segment, TAKEN, operation,
};
use everwrite_protocol::local::{FileModification, Inode, NameChange, decode};

use super::page::Shared;
use super::record::{FileKey, Record};

/// A segment that was handed out, and what its reader has to remember.
pub(super) struct Session {
    segment: Shared<Segment>,
    process: u32,
    /// Chains of runs that owe a proof.
    owing: BTreeMap<u64, FileKey>,
    all_was_dirty: bool,
}

impl Session {
    pub(super) fn new(segment: Shared<Segment>, process: u32) -> Self {
        Self {
            segment,
            process,
            owing: BTreeMap::new(),
            all_was_dirty: false,
        }
    }

    /// Takes everything that is done.
    pub(super) fn read(&mut self, record: &mut Record) {
        for shard in &self.segment.shards {
            for slot in &shard.slots {
                if take(&slot.control) {
                    read_range(slot, &mut self.owing, false, record);
                    free(&slot.control);
                }
            }
        }
        for slot in &self.segment.messages.slots {
            if take(&slot.control) {
                read_message(slot, record);
                free(&slot.control);
            }
        }
        for hull in &self.segment.hulls {
            let flags = hull.flags.swap(0, AcqRel);
            read_hull(hull, flags, record);
        }
        if self.segment.header.all_dirty.swap(0, AcqRel) != 0 {
            self.all_was_dirty = true;
            record.everything += 1;
        }
        assert_eq!(
            self.segment.header.faults.load(Relaxed),
            0,
            "the shim contradicts itself"
        );
    }

    /// The process is gone: what it announced and never finished counts, too.
    pub(super) fn end(&mut self, record: &mut Record) {
        self.read(record);
        for shard in &self.segment.shards {
            assert_ring(
                &shard.head,
                shard.slots.iter().map(|slot| &slot.control),
                RANGE_SLOTS,
            );
            for slot in shard
                .slots
                .iter()
                .filter(|slot| state(&slot.control) == INTENT)
            {
                record.unfinished += 1;
                read_range(slot, &mut self.owing, true, record);
            }
        }
        let messages = &self.segment.messages;
        assert_ring(
            &messages.head,
            messages.slots.iter().map(|slot| &slot.control),
            MESSAGE_SLOTS,
        );
        for slot in messages
            .slots
            .iter()
            .filter(|slot| state(&slot.control) == INTENT)
        {
            record.unfinished += 1;
            read_message(slot, record);
        }
        let every = HULL_RANGE | HULL_ATTRIBUTES | HULL_NAMES | HULL_WHOLE;
        let used = self
            .segment
            .hulls
            .iter()
            .filter(|hull| hull.state.load(Acquire) == 2);
        used.for_each(|hull| read_hull(hull, every, record));
        record.everything += usize::from(self.all_was_dirty);
        for file in std::mem::take(&mut self.owing).into_values() {
            record.unproved += 1;
            record.file(file).whole = true;
        }
        record.processes.push(self.process);
        record.widened += self.segment.header.widened.load(Relaxed);
        record.stdio_unseen |= self.segment.header.stdio_unseen.load(Relaxed) != 0;
        record.ring_unseen |= self.segment.header.ring_unseen.load(Relaxed) != 0;
    }
}

fn state(control: &AtomicU64) -> u64 {
    control.load(Acquire) & 3
}

/// DONE to TAKEN.
fn take(control: &AtomicU64) -> bool {
    let word = control.load(Acquire);
    word & 3 == DONE
        && control
            .compare_exchange(word, word & !3 | TAKEN, AcqRel, Relaxed)
            .is_ok()
}

/// TAKEN to FREE, one lap on.
fn free(control: &AtomicU64) {
    let word = control.load(Relaxed);
    assert_eq!(word & 3, TAKEN, "only the reader ends TAKEN");
    control.store(((word >> 2) + 1) << 2 | FREE, Release);
}

/// A producer that follows the rules claims in turn: no slot is more than one lap from the head.
fn assert_ring<'a>(head: &AtomicU64, controls: impl Iterator<Item = &'a AtomicU64>, slots: usize) {
    let (head, slots) = (head.load(Acquire), slots as u64);
    for (at, control) in controls.enumerate() {
        let claimed = (head + slots - 1 - at as u64) / slots;
        let lap = control.load(Acquire) >> 2;
        assert!(
            lap == claimed || lap + 1 == claimed,
            "slot {at}: lap {lap}, claimed {claimed}"
        );
    }
}

fn read_range(
    slot: &RangeSlot,
    owing: &mut BTreeMap<u64, FileKey>,
    dead: bool,
    record: &mut Record,
) {
    let file = FileKey {
        inode: Inode {
            device: slot.device.load(Relaxed),
            inode: slot.inode.load(Relaxed),
        },
        birth: slot.birth.load(Relaxed),
    };
    let (offset, length) = (slot.offset.load(Relaxed), slot.length.load(Relaxed));
    let (kind, chain) = (slot.operation.load(Relaxed), slot.chain.load(Relaxed));
    record.slots += 1;
    if kind == operation::RUN {
        assert_ne!(chain, 0, "a run has a chain");
        owing.insert(chain, file);
    } else if chain != 0 {
        owing.remove(&chain);
    }
    let entry = record.file(file);
    match kind {
        operation::RUN if dead => entry.whole = true,
        operation::WRITE | operation::RUN => entry.cover(offset, length),
        operation::APPEND => entry.appended += 1,
        operation::TRUNCATE => {
            entry.truncated += 1;
            entry.cover(offset, u64::MAX);
        }
        operation::WHOLE => entry.whole = true,
        operation::ATTRIBUTES => entry.attributes += 1,
        operation::MAP => {
            entry.mapped += 1;
            entry.cover(offset, length);
        }
        operation::UNMAP => entry.unmapped += 1,
        operation::SYNC => entry.synced += 1,
        unknown => panic!("operation {unknown}"),
    }
}

fn read_message(slot: &MessageSlot, record: &mut Record) {
    let length = slot.length.load(Relaxed) as usize;
    record.messages += 1;
    if length == 0 {
        record.failed += 1;
        return;
    }
    let words = slot
        .body
        .iter()
        .flat_map(|word| word.load(Relaxed).to_le_bytes());
    let bytes: Vec<u8> = words.take(length).collect();
    match decode::<FileModification<'_>>(&bytes).expect("a message of the local language") {
        FileModification::Name {
            directory,
            name,
            change,
        } => {
            record.name(directory, name);
            if change == NameChange::Arrived {
                record.arrivals.insert((directory, name.to_vec()));
            }
        }
        FileModification::Rename {
            old_directory,
            old_name,
            new_directory,
            new_name,
            ..
        } => {
            record.renames += 1;
            record.name(old_directory, old_name);
            record.name(new_directory, new_name);
        }
        FileModification::Anywhere => record.everything += 1,
    }
}

fn read_hull(hull: &Hull, flags: u32, record: &mut Record) {
    if flags == 0 {
        return;
    }
    let inode = Inode {
        device: hull.device.load(Relaxed),
        inode: hull.inode.load(Relaxed),
    };
    let covered = record.hull(inode);
    if flags & HULL_RANGE != 0 {
        let (low, high) = (!hull.low_inverted.load(Relaxed), hull.high.load(Relaxed));
        covered.cover(low, high.saturating_sub(low));
    }
    covered.whole |= flags & HULL_WHOLE != 0;
    covered.attributes += usize::from(flags & HULL_ATTRIBUTES != 0);
    if flags & HULL_NAMES != 0 {
        record.name(inode, b"");
    }
}

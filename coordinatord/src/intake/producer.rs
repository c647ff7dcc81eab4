//! The writer's half of the slot protocol, as
//! [`segment`](everwrite_protocol::local::segment) tells it: an oracle for tests, in safe Rust, that
//! shares no code with the shim.

use std::io::{IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};

use everwrite_protocol::local::segment::{
    ASLEEP, AWAKE, DONE, Doorbell, FREE, HULL_NAMES, HULL_RANGE, INTENT, MESSAGE_SLOTS,
    RANGE_SLOTS, RangeSlot, Segment, control, operation,
};
use everwrite_protocol::local::{
    FileModification, HELLO_BYTES_MAX, Hello, Inode, LOCAL_VERSION, MESSAGE_BYTES_MAX,
    SOCKET_FILE_NAME, Welcome, decode, encode,
};
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags};

use super::memory::Shared;

/// A call as the producer announces it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Call {
    pub(super) file: Inode,
    pub(super) operation: u32,
    pub(super) offset: u64,
    pub(super) length: u64,
    pub(super) chain: u64,
}

impl Call {
    pub(super) fn write(inode: u64, offset: u64, length: u64) -> Self {
        let file = Inode { device: 1, inode };
        Self {
            file,
            operation: operation::WRITE,
            offset,
            length,
            chain: 0,
        }
    }
}

/// Where a call was announced.
#[derive(Clone, Copy, Debug)]
pub(super) enum Announced {
    Slot { shard: usize, position: u64 },
    Hull,
    Everywhere,
}

/// A segment, seen from the writer's side.
pub(super) struct Producer<'a> {
    pub(super) segment: &'a Segment,
    pub(super) thread: u32,
}

impl Producer<'_> {
    /// Claims a slot and says INTENT; widens when there is none.
    pub(super) fn begin(&self, shard: usize, call: Call) -> Announced {
        match self.claim(shard) {
            Some(position) => {
                let slot = self.slot(shard, position);
                self.fill(slot, call);
                slot.control
                    .store(control(position, RANGE_SLOTS as u64, INTENT), Release);
                Announced::Slot { shard, position }
            }
            None => self.widen(call),
        }
    }

    /// Says DONE, or widens once more.
    pub(super) fn end(&self, announced: Announced, call: Call) {
        match announced {
            Announced::Slot { shard, position } => {
                let word = control(position, RANGE_SLOTS as u64, DONE);
                self.slot(shard, position).control.store(word, Release);
            }
            Announced::Hull | Announced::Everywhere => {
                self.widen(call);
            }
        }
    }

    /// Takes a slot that is DONE back to add `more` bytes at its end.
    pub(super) fn coalesce(&self, announced: Announced, more: u64) -> bool {
        let Announced::Slot { shard, position } = announced else {
            return false;
        };
        let slot = self.slot(shard, position);
        let word = |state| control(position, RANGE_SLOTS as u64, state);
        let back = slot
            .control
            .compare_exchange(word(DONE), word(INTENT), AcqRel, Relaxed);
        if back.is_ok() {
            slot.length.store(slot.length.load(Relaxed) + more, Relaxed);
        }
        back.is_ok()
    }

    pub(super) fn claim(&self, shard: usize) -> Option<u64> {
        let head = &self.segment.shards[shard].head;
        loop {
            let position = head.load(Acquire);
            let free = control(position, RANGE_SLOTS as u64, FREE);
            if self.slot(shard, position).control.load(Acquire) != free {
                match head.load(Acquire) == position {
                    true => return None,
                    false => continue,
                }
            }
            if head
                .compare_exchange(position, position + 1, AcqRel, Relaxed)
                .is_ok()
            {
                return Some(position);
            }
        }
    }

    /// Announces a change of names, whole.
    pub(super) fn name(&self, modification: &FileModification<'_>) {
        let messages = &self.segment.messages;
        let position = messages.head.load(Acquire);
        let slot = &messages.slots[(position % MESSAGE_SLOTS as u64) as usize];
        let word = |state| control(position, MESSAGE_SLOTS as u64, state);
        if slot.control.load(Acquire) != word(FREE) {
            let FileModification::Name { directory, .. } = *modification else {
                return self.segment.header.all_dirty.store(1, Release);
            };
            assert!(self.hull(directory, 0, 0, HULL_NAMES));
            return;
        }
        messages.head.store(position + 1, Release);
        let mut bytes = [0u8; MESSAGE_BYTES_MAX];
        let used = encode(modification, &mut bytes).unwrap();
        for (place, word) in slot.body.iter().zip(bytes.as_chunks::<8>().0) {
            place.store(u64::from_le_bytes(*word), Relaxed);
        }
        slot.length.store(used as u32, Relaxed);
        slot.thread.store(self.thread, Relaxed);
        slot.control.store(word(INTENT), Release);
        slot.control.store(word(DONE), Release);
    }

    fn slot(&self, shard: usize, position: u64) -> &RangeSlot {
        &self.segment.shards[shard].slots[(position % RANGE_SLOTS as u64) as usize]
    }

    fn fill(&self, slot: &RangeSlot, call: Call) {
        slot.device.store(call.file.device, Relaxed);
        slot.inode.store(call.file.inode, Relaxed);
        slot.offset.store(call.offset, Relaxed);
        slot.length.store(call.length, Relaxed);
        slot.operation.store(call.operation, Relaxed);
        slot.thread.store(self.thread, Relaxed);
        slot.birth.store(0, Relaxed);
        slot.chain.store(call.chain, Relaxed);
    }

    fn widen(&self, call: Call) -> Announced {
        self.segment.header.widened.fetch_add(1, Relaxed);
        if self.hull(
            call.file,
            call.offset,
            call.offset.saturating_add(call.length),
            HULL_RANGE,
        ) {
            return Announced::Hull;
        }
        self.segment.header.all_dirty.store(1, Release);
        Announced::Everywhere
    }

    pub(super) fn hull(&self, file: Inode, low: u64, high: u64, flag: u32) -> bool {
        self.segment.header.widened.fetch_add(1, Relaxed);
        for hull in &self.segment.hulls {
            if hull.state.compare_exchange(0, 1, AcqRel, Acquire).is_ok() {
                hull.device.store(file.device, Relaxed);
                hull.inode.store(file.inode, Relaxed);
                hull.state.store(2, Release);
            }
            // Another thread is about to say whose it is: as good as taken by somebody else.
            let ours = hull.state.load(Acquire) == 2
                && hull.device.load(Relaxed) == file.device
                && hull.inode.load(Relaxed) == file.inode;
            if ours {
                hull.low_inverted.fetch_max(!low, AcqRel);
                hull.high.fetch_max(high, AcqRel);
                hull.flags.fetch_or(flag, AcqRel);
                return true;
            }
        }
        false
    }
}

/// A program with a segment, as the coordinator sees it.
pub(super) struct Attached {
    pub(super) segment: Shared<Segment>,
    pub(super) doorbell: Shared<Doorbell>,
}

impl Attached {
    /// Rings, as a shim does after DONE.
    pub(super) fn ring(&self) {
        let word = &self.doorbell.reader;
        if word.load(Acquire) == ASLEEP && word.swap(AWAKE, AcqRel) != AWAKE {
            rustix::thread::futex::wake(word, rustix::thread::futex::Flags::empty(), 1).unwrap();
        }
    }
}

/// Says hello at the door; gives the answer, and with a segment what came with it. `None` when the
/// door was closed without an answer.
pub(super) fn knock(run_directory: &Path, hello: &Hello) -> Option<(Welcome, Option<Attached>)> {
    let mut stream = UnixStream::connect(run_directory.join(SOCKET_FILE_NAME)).unwrap();
    let mut bytes = [0u8; HELLO_BYTES_MAX];
    let used = encode(hello, &mut bytes).unwrap();
    let message = [&[used as u8], &bytes[..used]].concat();
    stream.write_all(&message).unwrap();
    let (mut length, mut descriptors) = ([0u8; 1], Vec::<OwnedFd>::new());
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut first = [IoSliceMut::new(&mut length)];
    let received = rustix::net::recvmsg(&stream, &mut first, &mut control, RecvFlags::empty());
    if received.unwrap().bytes == 0 {
        return None;
    }
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(rights) = message {
            descriptors.extend(rights);
        }
    }
    let mut body = vec![0; usize::from(length[0])];
    stream.read_exact(&mut body).unwrap();
    let attached = match descriptors.as_slice() {
        [segment, doorbell] => Some(Attached {
            segment: Shared::map(segment).unwrap(),
            doorbell: Shared::map(doorbell).unwrap(),
        }),
        _ => None,
    };
    Some((decode(&body).unwrap(), attached))
}

/// The hello of a shim in this process.
pub(super) fn hello(epoch: u64) -> Hello {
    Hello {
        version: LOCAL_VERSION,
        epoch,
        pid: std::process::id(),
    }
}

//! What the program in the kernel tells (`bpf/event.h`), decoded. The one place that knows the layout.

/// Bytes of an encoded event.
pub(super) const EVENT_BYTES: usize = 88;

/// Something happened to the content or attributes of a file below a root.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Event {
    /// The file, on the file system of the root.
    pub(super) file: Number,
    /// The number that the root was registered under.
    pub(super) root: u32,
    /// What happened.
    pub(super) change: Change,
    /// Somebody has the file mapped shared, and may store into it.
    pub(super) mapped: bool,
    /// Told before it happens, and it may take a while.
    pub(super) pending: bool,
    /// Told at the end of a system call.
    pub(super) by_call: bool,
    /// When, in nanoseconds of CLOCK_MONOTONIC.
    pub(super) at: u64,
    /// Who did it.
    pub(super) actor: Actor,
}

/// A file by number, as the kernel knows it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) struct Number {
    /// Of the inode.
    pub(super) inode: u64,
    /// Tells a reused number apart.
    pub(super) generation: u32,
    /// btrfs: the subvolume (`objectid` of its tree), whose numbers are its own. 0 elsewhere.
    pub(super) tree: u64,
}

impl Number {
    /// `struct lost_file`, with the number that its root was registered under.
    pub(super) fn decode_lost(bytes: &[u8]) -> Option<(u32, Self)> {
        let bytes: &[u8; 24] = bytes.first_chunk()?;
        let number = Self {
            inode: long(bytes, 0),
            generation: word(bytes, 20),
            tree: long(bytes, 8),
        };
        Some((word(bytes, 16), number))
    }
}

/// What happened to a file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Change {
    /// Bytes were written; the length is `u64::MAX` for "to the end".
    Written { offset: u64, length: u64 },
    /// Clean pages are being stored into through a mapping.
    Stored { offset: u64, length: u64 },
    /// The first use of a file since somebody mapped it, so that it may store into it.
    Touched,
    /// Content changed, no telling where.
    Somewhere,
    /// Size, times or attributes changed.
    Attributes,
    /// Bytes were appended.
    Appended,
    /// No file: from now on the process changes files in ways that calls do not tell.
    Untold,
    /// Nothing: somebody asks for what was written to be on the disk.
    Synced,
}

/// A process, as the kernel knows it.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) struct Actor {
    /// Process id.
    pub(super) process: u32,
    /// Nanoseconds from boot to its start.
    pub(super) started: u64,
    /// Effective user.
    pub(super) user: u32,
    /// Short name, as bytes up to the first zero.
    pub(super) program: [u8; 16],
}

impl Event {
    /// `None` for what a newer program may tell.
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; EVENT_BYTES] = bytes.first_chunk()?;
        let (offset, length) = (long(bytes, 8), long(bytes, 16));
        let change = match short(bytes, 44) {
            1 => Change::Written { offset, length },
            2 => Change::Stored { offset, length },
            3 => Change::Touched,
            4 => Change::Somewhere,
            5 => Change::Attributes,
            6 => Change::Appended,
            7 => Change::Untold,
            8 => Change::Synced,
            _ => return None,
        };
        let flags = short(bytes, 46);
        Some(Self {
            file: Number {
                inode: long(bytes, 0),
                generation: word(bytes, 80),
                tree: long(bytes, 72),
            },
            root: word(bytes, 32),
            change,
            mapped: flags & 1 != 0,
            pending: flags & 2 != 0,
            by_call: flags & 4 != 0,
            at: long(bytes, 64),
            actor: Actor {
                process: word(bytes, 36),
                started: long(bytes, 24),
                user: word(bytes, 40),
                program: array(bytes, 48),
            },
        })
    }
}

/// `struct program`: what a process was when it last called `execve(2)`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct KnownProgram {
    /// Nanoseconds from boot to the start of the process.
    pub(super) started: u64,
    /// Effective user.
    pub(super) user: u32,
    /// Number of its control group in the unified hierarchy.
    pub(super) cgroup: u64,
    /// Short name.
    pub(super) name: [u8; 16],
    /// As it was given to `execve(2)`, up to the first zero.
    pub(super) executable: Vec<u8>,
}

impl KnownProgram {
    /// `None` when the bytes are no such thing.
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let (head, rest) = bytes.split_first_chunk::<40>()?;
        Some(Self {
            started: long(head, 0),
            user: word(head, 8),
            cgroup: long(head, 16),
            name: array(head, 24),
            executable: until_zero(rest).to_vec(),
        })
    }
}

/// The bytes before the first zero.
pub(super) fn until_zero(bytes: &[u8]) -> &[u8] {
    let end = bytes.iter().position(|byte| *byte == 0);
    &bytes[..end.unwrap_or(bytes.len())]
}

fn array<const LENGTH: usize, const N: usize>(bytes: &[u8; LENGTH], at: usize) -> [u8; N] {
    let mut field = [0; N];
    field.copy_from_slice(&bytes[at..at + N]);
    field
}

fn long<const LENGTH: usize>(bytes: &[u8; LENGTH], at: usize) -> u64 {
    u64::from_ne_bytes(array(bytes, at))
}

fn word<const LENGTH: usize>(bytes: &[u8; LENGTH], at: usize) -> u32 {
    u32::from_ne_bytes(array(bytes, at))
}

fn short<const LENGTH: usize>(bytes: &[u8; LENGTH], at: usize) -> u16 {
    u16::from_ne_bytes(array(bytes, at))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(kind: u16, flags: u16) -> Vec<u8> {
        let mut bytes = Vec::new();
        [7u64, 4096, 100, 5_000_000_000]
            .iter()
            .for_each(|long| bytes.extend(long.to_ne_bytes()));
        [3u32, 42, 1000]
            .iter()
            .for_each(|word| bytes.extend(word.to_ne_bytes()));
        [kind, flags]
            .iter()
            .for_each(|short| bytes.extend(short.to_ne_bytes()));
        bytes.extend(*b"busybox\0\0\0\0\0\0\0\0\0");
        [77u64, 5]
            .iter()
            .for_each(|long| bytes.extend(long.to_ne_bytes()));
        [9u32, 0]
            .iter()
            .for_each(|word| bytes.extend(word.to_ne_bytes()));
        bytes
    }

    #[test]
    fn what_the_kernel_tells_is_understood() {
        let event = Event::decode(&encoded(1, 3)).unwrap();
        assert_eq!(encoded(1, 3).len(), EVENT_BYTES);
        assert_eq!((event.root, event.at), (3, 77));
        let file = Number {
            inode: 7,
            generation: 9,
            tree: 5,
        };
        assert_eq!(event.file, file);
        let written = Change::Written {
            offset: 4096,
            length: 100,
        };
        assert_eq!(event.change, written);
        assert!(event.mapped && event.pending && !event.by_call);
        assert!(Event::decode(&encoded(6, 4)).unwrap().by_call);
        let synced = Event::decode(&encoded(8, 4)).unwrap();
        assert_eq!((synced.change, synced.by_call), (Change::Synced, true));
        assert_eq!((event.actor.process, event.actor.user), (42, 1000));
        assert_eq!(event.actor.started, 5_000_000_000);
        assert_eq!(until_zero(&event.actor.program), b"busybox");
    }

    #[test]
    fn what_is_no_event_is_none() {
        assert_eq!(Event::decode(&encoded(99, 0)), None);
        assert_eq!(Event::decode(&encoded(9, 0)), None);
        assert_eq!(Event::decode(&encoded(1, 0)[..71]), None);
        assert_eq!(Event::decode(&[]), None);
        assert!(!Event::decode(&encoded(2, 0)).unwrap().mapped);
    }
}

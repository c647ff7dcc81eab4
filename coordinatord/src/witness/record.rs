//! What fanotify(7) tells, taken apart. Pure: bytes in, records out.

use everwrite_protocol::ids::Name;

/// `fsid` and `struct file_handle` of a file, as one key: what `open_by_handle_at(2)` understands.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) struct Handle {
    /// The file system.
    pub(super) file_system: [u8; 8],
    /// `handle_type`.
    pub(super) kind: i32,
    /// `f_handle`.
    pub(super) bytes: Vec<u8>,
}

/// One record.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Record {
    /// Which events, several of one name may be in one record, in no order.
    pub(super) mask: u64,
    /// Who, 0 when it is not in our pid namespace.
    pub(super) process: u32,
    /// The directory and the name in it. No name: the directory itself.
    pub(super) at: Option<(Handle, Option<Name>)>,
    /// Of a rename: where it was.
    pub(super) old: Option<(Handle, Option<Name>)>,
    /// Of a rename: where it is.
    pub(super) new: Option<(Handle, Option<Name>)>,
    /// The file itself.
    pub(super) target: Option<Handle>,
}

impl Record {
    /// Any of these events?
    pub(super) fn is(&self, events: u64) -> bool {
        self.mask & events != 0
    }
}

/// `struct fanotify_event_metadata`.
const METADATA_BYTES: usize = 24;
/// `struct fanotify_event_info_header`.
const HEADER_BYTES: usize = 4;

/// Takes a buffer apart that was read from a fanotify descriptor. What is not understood is left out,
/// and counted as such: `None` in its place.
pub(super) fn records(mut buffer: &[u8]) -> Vec<Option<Record>> {
    let mut records = Vec::new();
    while buffer.len() >= METADATA_BYTES {
        let length = u32_at(buffer, 0).map_or(0, |length| length as usize);
        if length < METADATA_BYTES || length > buffer.len() {
            records.push(None);
            break;
        }
        let (event, rest) = buffer.split_at(length);
        records.push(record(event));
        buffer = rest;
    }
    records
}

fn record(event: &[u8]) -> Option<Record> {
    let version = *event.get(4)?;
    let metadata = usize::from(u16_at(event, 6)?);
    if version != libc::FANOTIFY_METADATA_VERSION {
        return None;
    }
    let mut record = Record {
        mask: u64::from_ne_bytes(*event.get(8..)?.first_chunk()?),
        process: u32_at(event, 20)?,
        ..Record::default()
    };
    let mut infos = event.get(metadata..)?;
    while infos.len() >= HEADER_BYTES {
        let length = usize::from(u16_at(infos, 2)?);
        if length < HEADER_BYTES || length > infos.len() {
            return None;
        }
        let (info, rest) = infos.split_at(length);
        take_info(&mut record, info[0], &info[HEADER_BYTES..]);
        infos = rest;
    }
    Some(record)
}

fn take_info(record: &mut Record, kind: u8, body: &[u8]) {
    let Some((handle, rest)) = handle(body) else {
        return;
    };
    let place = || Some((handle.clone(), name(rest)));
    match kind {
        libc::FAN_EVENT_INFO_TYPE_FID => record.target = Some(handle),
        libc::FAN_EVENT_INFO_TYPE_DFID | libc::FAN_EVENT_INFO_TYPE_DFID_NAME => record.at = place(),
        libc::FAN_EVENT_INFO_TYPE_OLD_DFID_NAME => record.old = place(),
        libc::FAN_EVENT_INFO_TYPE_NEW_DFID_NAME => record.new = place(),
        _ => {}
    }
}

/// A handle, and what follows it.
fn handle(body: &[u8]) -> Option<(Handle, &[u8])> {
    let (file_system, rest) = body.split_first_chunk::<8>()?;
    let length = u32_at(rest, 0)? as usize;
    let kind = u32_at(rest, 4)?.cast_signed();
    let bytes = rest.get(8..8usize.checked_add(length)?)?;
    let handle = Handle {
        file_system: *file_system,
        kind,
        bytes: bytes.to_vec(),
    };
    Some((handle, &rest[8 + length..]))
}

/// The name up to its zero byte; "." stands for the directory itself.
fn name(bytes: &[u8]) -> Option<Name> {
    let end = bytes.iter().position(|byte| *byte == 0)?;
    Name::new(&bytes[..end]).ok()
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(*bytes.get(at..)?.first_chunk()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info(kind: u8, handle: &[u8], name: &[u8]) -> Vec<u8> {
        let mut body = vec![9; 8];
        body.extend((handle.len() as u32).to_ne_bytes());
        body.extend(1i32.to_ne_bytes());
        body.extend(handle);
        body.extend(name);
        body.resize(body.len().next_multiple_of(4), 0);
        let mut bytes = vec![kind, 0];
        bytes.extend((body.len() as u16 + 4).to_ne_bytes());
        bytes.extend(body);
        bytes
    }

    fn event(mask: u64, infos: &[Vec<u8>]) -> Vec<u8> {
        let body = infos.concat();
        let mut bytes = (24 + body.len() as u32).to_ne_bytes().to_vec();
        bytes.extend([libc::FANOTIFY_METADATA_VERSION, 0]);
        bytes.extend(24u16.to_ne_bytes());
        bytes.extend(mask.to_ne_bytes());
        bytes.extend((-1i32).to_ne_bytes());
        bytes.extend(42u32.to_ne_bytes());
        bytes.extend(body);
        bytes
    }

    fn key(bytes: &[u8]) -> Handle {
        Handle {
            file_system: [9; 8],
            kind: 1,
            bytes: bytes.to_vec(),
        }
    }

    #[test]
    fn names_and_files_are_found() {
        let named = info(libc::FAN_EVENT_INFO_TYPE_DFID_NAME, b"directory", b"a\0");
        let target = info(libc::FAN_EVENT_INFO_TYPE_FID, b"file", b"");
        let old = info(libc::FAN_EVENT_INFO_TYPE_OLD_DFID_NAME, b"one", b"x\0");
        let new = info(libc::FAN_EVENT_INFO_TYPE_NEW_DFID_NAME, b"two", b"y\0");
        let mut bytes = event(libc::FAN_CREATE, &[named, target]);
        bytes.extend(event(libc::FAN_RENAME, &[old, new]));
        let found: Vec<_> = records(&bytes).into_iter().flatten().collect();
        let name = |text: &str| Some(Name::new(text).unwrap());
        assert!(found[0].is(libc::FAN_CREATE) && !found[0].is(libc::FAN_DELETE));
        assert_eq!(found[0].process, 42);
        assert_eq!(found[0].at, Some((key(b"directory"), name("a"))));
        assert_eq!(found[0].target, Some(key(b"file")));
        assert_eq!(found[1].old, Some((key(b"one"), name("x"))));
        assert_eq!(found[1].new, Some((key(b"two"), name("y"))));
    }

    #[test]
    fn a_directory_itself_has_no_name() {
        let own = info(libc::FAN_EVENT_INFO_TYPE_DFID_NAME, b"directory", b".\0");
        let found = records(&event(libc::FAN_ATTRIB, &[own]));
        assert_eq!(
            found[0].clone().unwrap().at,
            Some((key(b"directory"), None))
        );
    }

    #[test]
    fn an_overflow_has_no_places() {
        let found = records(&event(libc::FAN_Q_OVERFLOW, &[]));
        let record = found[0].clone().unwrap();
        assert!(record.is(libc::FAN_Q_OVERFLOW) && record.at.is_none());
    }

    #[test]
    fn whatever_comes_is_survived() {
        let whole = event(
            libc::FAN_CREATE,
            &[info(
                libc::FAN_EVENT_INFO_TYPE_DFID_NAME,
                b"directory",
                b"a\0",
            )],
        );
        for end in 0..whole.len() {
            assert!(records(&whole[..end]).iter().flatten().count() == 0);
        }
        for at in 0..whole.len() {
            for value in [0, 1, 127, 255] {
                let mut bytes = whole.clone();
                bytes[at] = value;
                assert!(records(&bytes).len() <= 2);
            }
        }
    }
}

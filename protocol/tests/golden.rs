//! Golden bytes: every message of every variant, as the first version encoded it.
//!
//! An old coordinator speaks to a new receiver, an old shim to a new coordinator, and a log on a
//! disk outlives them all. So these bytes are never to change, and a message that can't be written
//! so any more needs a new type or version beside the old one (see the modules' documentation).
//!
//! Each `golden/*.bin` holds samples one after the other, each behind its length (u32, little
//! endian). What is new goes to the end of its samples, and to the end of the file when the test is
//! run with `GOLDEN=new`; what is in the file never changes.

mod samples;

use std::fmt::Debug;
use std::path::PathBuf;

use bincode::{BorrowDecode, Decode, Encode};
use everwrite_protocol::wire::frame::{FrameType, HEADER_BYTES, Header};
use everwrite_protocol::{codec, local};

fn path(name: &str) -> PathBuf {
    let file = format!("tests/golden/{name}.bin");
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(file)
}

/// The samples' bytes as they always were.
fn golden(name: &str, now: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let path = path(name);
    let mut golden = split(&std::fs::read(&path).unwrap_or_default());
    if std::env::var_os("GOLDEN").is_some_and(|word| word == "new") {
        golden.extend_from_slice(now.get(golden.len()..).unwrap_or(&[]));
        std::fs::write(&path, join(&golden)).unwrap();
    }
    let (known, all) = (golden.len(), now.len());
    assert_eq!(
        known,
        all,
        "{}: samples; something new? GOLDEN=new",
        path.display()
    );
    golden
}

fn join(samples: &[Vec<u8>]) -> Vec<u8> {
    let with_length =
        |sample: &Vec<u8>| [&(sample.len() as u32).to_le_bytes(), &sample[..]].concat();
    samples.iter().flat_map(with_length).collect()
}

fn split(mut bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut samples = Vec::new();
    while let Some((length, rest)) = bytes.split_first_chunk() {
        let (sample, rest) = rest.split_at(u32::from_le_bytes(*length) as usize);
        samples.push(sample.to_vec());
        bytes = rest;
    }
    samples
}

/// Old bytes mean what they meant, and today's bytes are the same.
fn hold<M: Encode + Decode<()> + PartialEq + Debug>(name: &str, samples: &[M]) {
    let now: Vec<_> = samples
        .iter()
        .map(|sample| codec::encode(sample).unwrap())
        .collect();
    let golden = golden(name, &now);
    let decoded: Vec<M> = golden
        .iter()
        .map(|bytes| codec::decode(bytes).unwrap())
        .collect();
    assert_eq!(
        decoded, samples,
        "{name}: old bytes mean something else now"
    );
    assert_eq!(golden, now, "{name}: encoded otherwise now");
}

fn local_bytes<M: Encode>(message: &M) -> Vec<u8> {
    let mut buffer = [0; local::MESSAGE_BYTES_MAX];
    let used = local::encode(message, &mut buffer).unwrap();
    buffer[..used].to_vec()
}

fn hold_local<M>(name: &str, samples: &[M])
where
    M: Encode + for<'a> BorrowDecode<'a, ()> + PartialEq + Debug,
{
    let now: Vec<_> = samples.iter().map(local_bytes).collect();
    let golden = golden(name, &now);
    let decoded: Vec<M> = golden
        .iter()
        .map(|bytes| local::decode(bytes).unwrap())
        .collect();
    assert_eq!(
        decoded, samples,
        "{name}: old bytes mean something else now"
    );
    assert_eq!(golden, now, "{name}: encoded otherwise now");
}

#[test]
fn beginnings_of_connections() {
    hold("hello", &samples::hellos());
    hold("welcome", &samples::welcomes());
    hold("enrol", &samples::enrols());
    hold("enrolled", &samples::enrolleds());
}

#[test]
fn batches_and_replies() {
    hold("part", &samples::parts());
    hold("cut", &samples::cuts());
    hold("reply", &samples::replies());
}

#[test]
fn questions_and_answers() {
    hold("query", &samples::queries());
    hold("answer", &samples::answers());
}

#[test]
fn local_greetings() {
    hold_local("local_hello", &samples::local::hellos());
    hold_local("local_welcome", &samples::local::welcomes());
}

/// Its names are borrowed from the bytes, so its decoder has a type for each.
#[test]
fn local_modifications() {
    let samples = samples::local::modifications();
    let now: Vec<_> = samples.iter().map(local_bytes).collect();
    let golden = golden("local_modification", &now);
    let decoded: Vec<local::FileModification<'_>> = golden
        .iter()
        .map(|bytes| local::decode(bytes).unwrap())
        .collect();
    assert_eq!(decoded, samples);
    assert_eq!(golden, now);
}

const FRAME_TYPES: [FrameType; 11] = [
    FrameType::Hello,
    FrameType::Welcome,
    FrameType::Enrol,
    FrameType::Enrolled,
    FrameType::Part,
    FrameType::Cut,
    FrameType::Reply,
    FrameType::Ping,
    FrameType::Pong,
    FrameType::Query,
    FrameType::Answer,
];

/// Every type, with and without a body, plain and compressed.
#[test]
fn frames() {
    let (encoded, payload) = (b"encoded part".as_slice(), b"payload".as_slice());
    let headers: Vec<Header> = FRAME_TYPES
        .iter()
        .flat_map(|&frame_type| {
            [
                Header::new(frame_type, &[], &[]),
                Header::new(frame_type, encoded, payload),
                Header::compressed(frame_type, encoded, payload, 4096),
            ]
        })
        .collect();
    let now: Vec<_> = headers
        .iter()
        .map(|header| header.encode().to_vec())
        .collect();
    let golden = golden("frame_header", &now);
    let decode = |bytes: &Vec<u8>| {
        let bytes: [u8; HEADER_BYTES] = bytes.as_slice().try_into().unwrap();
        Header::decode(&bytes).unwrap()
    };
    assert_eq!(golden.iter().map(decode).collect::<Vec<_>>(), headers);
    assert_eq!(golden, now);
    assert!(headers[1].check_body(encoded, payload).is_ok());
    assert!(headers[1].check_body(encoded, b"another").is_err());
}

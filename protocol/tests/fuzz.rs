//! Every decoder of the two languages, fed with mutations of golden samples: no panic, and what is
//! taken says the same when it is said again.

mod fuzzing;
mod samples;

use std::fmt::Debug;

use bincode::{Decode, Encode};
use everwrite_protocol::ids::{Name, SourceId};
use everwrite_protocol::wire::frame::{FrameType, HEADER_BYTES, Header};
use everwrite_protocol::wire::{Answer, Cut, Enrol, Enrolled, Hello, Part, Query, Reply, Welcome};
use everwrite_protocol::{codec, local};

fn fuzz(name: &str, samples: &[Vec<u8>], target: impl Fn(&[u8])) {
    fuzzing::fuzz(env!("CARGO_MANIFEST_DIR"), (name, 1), samples, target);
}

/// A message of the wire.
fn wire<M: Encode + Decode<()> + PartialEq + Debug>(name: &str, samples: Vec<M>) {
    let encoded: Vec<Vec<u8>> = samples.iter().map(|m| codec::encode(m).unwrap()).collect();
    fuzz(name, &encoded, |bytes| {
        if let Ok(message) = codec::decode::<M>(bytes) {
            let again = codec::encode(&message).unwrap();
            assert_eq!(codec::decode::<M>(&again).unwrap(), message);
        }
    });
}

/// A message of the local language.
macro_rules! local {
    ($name:literal, $message:ty, $samples:expr) => {{
        let samples: Vec<Vec<u8>> = $samples.iter().map(|m| codec::encode(m).unwrap()).collect();
        fuzz($name, &samples, |bytes| {
            if let Some(message) = local::decode::<$message>(bytes) {
                let again = codec::encode(&message).unwrap();
                assert_eq!(local::decode::<$message>(&again), Some(message));
            }
        })
    }};
}

/// With its checksum set right, for a wrong one would hide all else.
fn header(bytes: &[u8]) {
    let mut fixed = [0; HEADER_BYTES];
    let length = bytes.len().min(HEADER_BYTES);
    fixed[..length].copy_from_slice(&bytes[..length]);
    let crc = crc_fast::checksum(crc_fast::CrcAlgorithm::Crc32Iscsi, &fixed[..28]) as u32;
    fixed[28..].copy_from_slice(&crc.to_le_bytes());
    if let Ok(header) = Header::decode(&fixed) {
        assert!(header.encoded_bytes + header.payload_bytes <= 2 << 20);
        assert!(header.raw_bytes <= 1 << 20);
        assert_eq!(Header::decode(&header.encode()), Ok(header));
    }
}

fn headers() -> Vec<Vec<u8>> {
    let plain = Header::new(FrameType::Part, b"encoded", b"payload");
    let compressed = Header::compressed(FrameType::Answer, b"encoded", b"payload", 4096);
    [plain, compressed]
        .map(|header| header.encode().to_vec())
        .to_vec()
}

#[test]
fn frame_header() {
    fuzz("header", &headers(), header);
}

#[test]
fn greetings() {
    wire::<Hello>("hello", samples::hellos());
    wire::<Welcome>("welcome", samples::welcomes());
    wire::<Enrol>("enrol", samples::enrols());
    wire::<Enrolled>("enrolled", samples::enrolleds());
}

#[test]
fn batches() {
    wire::<Part>("part", samples::parts());
    wire::<Cut>("cut", samples::cuts());
    wire::<Reply>("reply", samples::replies());
}

#[test]
fn questions_and_answers() {
    wire::<Query>("query", samples::queries());
    wire::<Answer>("answer", samples::answers());
}

#[test]
fn the_local_language() {
    local!("local_hello", local::Hello, samples::local::hellos());
    local!("local_welcome", local::Welcome, samples::local::welcomes());
    local!(
        "local_modification",
        local::FileModification<'_>,
        samples::local::modifications()
    );
}

#[test]
fn names_and_ids() {
    let names = [&b"name"[..], b"..", b"a/b", &[b'x'; 255]].map(<[u8]>::to_vec);
    fuzz("name", &names, |bytes| {
        if let Ok(name) = Name::new(bytes) {
            let path = std::path::Path::new("/top").join(&name);
            assert_eq!(path.parent(), Some("/top".as_ref()));
        }
    });
    let ids = [SourceId([7; 16]).to_string().into_bytes()];
    fuzz("source_id", &ids, |bytes| {
        if let Ok(id) = String::from_utf8_lossy(bytes).parse::<SourceId>() {
            assert_eq!(id.to_string().parse(), Ok(id));
        }
    });
}

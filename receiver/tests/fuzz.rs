//! Everything that the receiver reads and did not just write itself, mutated: frames from the line, the
//! log after a crash, pairing codes, the list of peers, times.

#[path = "../../protocol/tests/fuzzing/mod.rs"]
mod fuzzing;
mod support;

use std::path::Path;

use everwrite_protocol::codec;
use everwrite_protocol::ids::{SequenceNumber, SourceId};
use everwrite_protocol::wire::Part;
use everwrite_protocol::wire::frame::{FrameType, HEADER_BYTES};
use everwrite_receiver::log::{
    LogPosition, Preimages, Recovered, Segments, StoredCut, WindowMark, recover,
};
use everwrite_receiver::mirror::Layout;
use everwrite_receiver::pairing::{PairingCode, Registrar};
use everwrite_receiver::store::StoreError;
use everwrite_receiver::time_expression;
use everwrite_receiver::transport::{Frame, read_frame, write_frame};
use support::{
    SOURCE, catch_up,
    child::{Batches, Manner},
    open, scratch, send,
};

fn fuzz(name: (&str, u64), samples: &[Vec<u8>], target: impl Fn(&[u8])) {
    fuzzing::fuzz(env!("CARGO_MANIFEST_DIR"), name, samples, target);
}

fn texts(texts: &[&str]) -> Vec<Vec<u8>> {
    texts.iter().map(|text| text.as_bytes().to_vec()).collect()
}

fn crc(bytes: &[u8]) -> [u8; 4] {
    let crc = crc_fast::checksum(crc_fast::CrcAlgorithm::Crc32Iscsi, bytes);
    (crc as u32).to_le_bytes()
}

/// Sets both checksums of a frame right, for wrong ones would hide all else.
fn with_checksums(bytes: &[u8]) -> Vec<u8> {
    let mut frame = bytes.to_vec();
    frame.resize(frame.len().max(HEADER_BYTES), 0);
    let length = |at: usize| u32::from_le_bytes(frame[at..at + 4].try_into().unwrap()) as usize;
    let end = HEADER_BYTES
        .saturating_add(length(8))
        .saturating_add(length(12));
    let body = crc(&frame[HEADER_BYTES..end.min(frame.len())]);
    frame[24..28].copy_from_slice(&body);
    let header = crc(&frame[..28]);
    frame[28..32].copy_from_slice(&header);
    frame
}

fn frames() -> Vec<Vec<u8>> {
    let part = Part {
        sequence: SequenceNumber(1),
        part: 0,
        origins: vec![support::origin()],
        commands: Vec::new(),
    };
    let payload = b"payload ".repeat(50);
    let plain = Frame::with_payload(FrameType::Part, &part, payload.clone()).unwrap();
    let packed = Frame {
        payload: zstd::bulk::compress(&payload, 1).unwrap().into(),
        compressed: true,
        ..plain.clone()
    };
    let runtime = runtime();
    let bytes_of = |frame: &Frame<'_>| {
        let mut bytes = Vec::new();
        runtime.block_on(write_frame(&mut bytes, frame)).unwrap();
        bytes
    };
    [plain, packed, Frame::empty(FrameType::Ping)]
        .iter()
        .map(bytes_of)
        .collect()
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap()
}

#[test]
fn frames_from_the_line() {
    let runtime = runtime();
    fuzz(("frame", 1), &frames(), |bytes| {
        let bytes = with_checksums(bytes);
        if let Ok(frame) = runtime.block_on(read_frame(&mut bytes.as_slice())) {
            let raw_bytes = frame.raw_bytes;
            if let Ok(payload) = frame.into_payload() {
                assert_eq!(payload.len(), raw_bytes);
            }
        }
    });
}

#[test]
fn times() {
    let samples = [
        "2026-03-29T14:00:00Z",
        "2026-03-29 14:00:00.5+02:00",
        "-009999-01-01T00:00:00Z",
        "today 14:00",
        "yesterday",
        "1d 3h ago",
        "99999999999 years ago",
        "@17",
        "checkpoint",
    ];
    let zone = jiff::tz::TimeZone::UTC;
    let now = "2026-03-29T02:30:00Z".parse::<jiff::Timestamp>().unwrap();
    let now = now.to_zoned(zone);
    fuzz(("time", 1), &texts(&samples), |bytes| {
        let _ = time_expression::parse(&String::from_utf8_lossy(bytes), &now);
    });
}

#[test]
fn pairing_codes() {
    let fingerprint = "00112233445566778899aabbccddeeff".repeat(2);
    let samples = [
        format!("host:7#{fingerprint}#00112233445566778899aabbccddeeff"),
        "[::1]:65535#MFRGG#AAAA".to_owned(),
    ];
    let samples = samples.map(String::into_bytes);
    fuzz(("pairing_code", 1), &samples, |bytes| {
        if let Ok(code) = String::from_utf8_lossy(bytes).parse::<PairingCode>() {
            assert!(code.to_string().parse::<PairingCode>().is_ok());
        }
    });
}

#[test]
fn the_list_of_peers() {
    let store = scratch();
    let registrar = Registrar::new(store.path());
    let fingerprint = "00112233445566778899aabbccddeeff".repeat(2);
    let source = SourceId([7; 16]);
    let sample = format!(
        "[[peer]]\nsource = \"{source}\"\nfingerprint = \"{fingerprint}\"\nhost = \"h\"\n\
         since = \"2026-01-01T00:00:00Z\"\n"
    );
    fuzz(("peers", 4), &[sample.into_bytes()], |bytes| {
        std::fs::write(store.path().join("peers.toml"), bytes).unwrap();
        let _ = registrar.peer(&[0; 32]);
    });
}

/// A store that took and applied some batches.
fn filled(directory: &Path) -> Layout {
    let store = open(directory);
    let mut batches = Batches::new(Manner::USUAL.content);
    for _ in 0..12 {
        let (sequence, batch) = batches.next();
        send(&store, sequence, &batch);
    }
    catch_up(&store, 12);
    Layout::new(directory, SOURCE)
}

fn recovered(log: &Path) -> Result<Recovered, StoreError> {
    let segments = Segments::new(log.to_owned());
    recover(&segments, LogPosition::START, SequenceNumber(0), true)
}

/// Whatever a segment holds: it is damage, or it is cut off once and then good.
#[test]
fn segments_of_the_log() {
    let (store, log) = (scratch(), scratch());
    let segment = Segments::new(filled(store.path()).log()).path(1);
    let mut sample = std::fs::read(segment).unwrap();
    let used = sample.iter().rposition(|byte| *byte != 0).unwrap() + 8;
    sample.truncate(used.min(40_000));
    let place = Segments::new(log.path().to_owned()).path(1);
    fuzz(("segment", 20), &[sample], |bytes| {
        std::fs::write(&place, bytes).unwrap();
        if let Ok(first) = recovered(log.path()) {
            let again = recovered(log.path()).expect("good after it was cut off");
            assert_eq!((first.end, first.stored), (again.end, again.stored));
        }
    });
}

#[test]
fn records_of_the_log() {
    let cut = StoredCut {
        cut: support::cut(3, 2),
        stored: everwrite_protocol::ids::Timestamp(5),
        durable: LogPosition::START.frame(),
    };
    let cut = codec::encode(&cut).unwrap();
    let window = codec::encode(&WindowMark { preimages: 300 }).unwrap();
    let preimages = codec::encode(&Preimages {
        entries: Vec::new(),
    })
    .unwrap();
    fuzz(("log_record", 1), &[cut, window, preimages], |bytes| {
        let _ = codec::decode::<StoredCut>(bytes);
        let _ = codec::decode::<WindowMark>(bytes);
        let _ = codec::decode::<Preimages>(bytes);
    });
}
